"""The flags of ``reslab train`` in groups, each group one part of the experiment."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reslab.core.colour import Colour, ColourScale
from reslab.core.contract import Resample, named_contract
from reslab.core.errors import SpecError
from reslab.core.experiment import Decode, OnBadPicture, Pool, Precision, ShortcutKind, Stage, StrideOn
from reslab.core.statistics import read_statistics

if TYPE_CHECKING:
    from reslab.experiments.weights import Weights


@Parameter(name="*")
@dataclass(kw_only=True)
class NetworkFlags:
    """Which network.

    Args:
        model: as `reslab list models` has it; cifar- networks in any depth 6n+2 (of bottlenecks 9n+2).
        shortcut: A, B or C (none makes the plain network).
        stride_on: the bottleneck's convolution that strides.
        pool: pad1, or caffe as in the authors' released networks.
        width: filters of the first stage.
    """

    model: str | None = None
    shortcut: ShortcutKind | None = None
    stride_on: StrideOn | None = None
    pool: Pool | None = None
    width: int | None = None

    def given(self) -> dict[str, Any]:
        """The settings that were given, by their names in the spec."""
        named = {"name" if key == "model" else key: value for key, value in given(self).items()}
        return {"model": named}


@Parameter(name="*")
@dataclass(kw_only=True)
class RecipeFlags:
    """How it is trained.

    Args:
        steps: updates.
        batch: pictures an update.
        bn_group: pictures that share batch statistics; divides the batch.
        bn_average: training pictures over whose groups batch statistics are averaged after the last step, for the
            tests; rounded up to whole batches. 0: the moving averages stay.
        validation: training pictures set aside to validate on, such as 5000 of CIFAR-10's; small pictures only.
        log_every: steps between lines of metrics.
        evaluate_every: steps between tests on the way.
        precision: auto takes bf16 where the processor computes in it natively.
    """

    steps: int | None = None
    batch: int | None = None
    bn_group: int | None = None
    bn_average: int | None = None
    validation: int | None = None
    log_every: int | None = None
    evaluate_every: int | None = None
    precision: Precision | None = None

    def given(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """The settings that were given; a batch below the recipe's group is a group of its own."""
        settings = given(self)
        if self.batch is not None and self.bn_group is None:
            settings["bn_group"] = min(self.batch, recipe["bn_group"])
        return {"recipe": settings}


@Parameter(name="*")
@dataclass(kw_only=True)
class PhotoFlags:
    """How photographs in folders are read.

    Args:
        scale: the shorter side in training, drawn between these two.
        area: in the place of the scale, a random part of the picture is resized to the crop: two shares of its area,
            such as 0.08 1, between which one is drawn; or off.
        progressive: two sides in pixels, such as 128 224, from the first to the second of which the crops of training
            grow; or off.
        crop: pixels a side of what the network sees.
        shorter_side: the shorter side in testing.
        resample: how pictures are resized, in training and testing; always antialiased.
        held_out: the share of each class that is kept for testing, where the folder has no val/.
        decode: of training pictures; fast decodes a large JPEG at a half, quarter or eighth. Testing is always exact.
        on_bad_picture: in training: stop, or replace by another, counted and listed in the run. Testing always stops,
            the tests on the way too.
        preprocessing: paper, torchvision or caffe: mean, scale and order of channels, all of them resized bilinearly;
            by default that of the weights.
        mean_image: a FILE.safetensors of `reslab data stats`: subtracted from each crop instead of the mean.
        colour: AlexNet's colour augmentation: off; published, along ImageNet's colours; or along those in a FILE.json
            of `reslab data stats`.
        colour_scale: draws multiply each eigenvalue, or its root (sqrt).
    """

    scale: tuple[int, int] | None = None
    area: list[str] | None = None
    progressive: list[str] | None = None
    crop: int | None = None
    shorter_side: int | None = None
    resample: Resample | None = None
    held_out: float | None = None
    decode: Decode | None = None
    on_bad_picture: OnBadPicture | None = None
    preprocessing: str | None = None
    mean_image: Path | None = None
    colour: str | None = None
    colour_scale: ColourScale | None = None

    def given(self) -> dict[str, Any]:
        """The settings that were given, by their names in the spec; a mean image is none before it is read.

        Raises:
            DataError: the file of the colours cannot be read.
            SpecError: there is no such preprocessing, or a setting has no effect.
        """
        settings = {key: value for key, value in given(self).items() if key not in ("mean_image", "colour_scale")}
        settings |= self._colour()
        settings |= {} if self.area is None else {"area": _pair("area", self.area, "share", float)}
        if self.progressive is not None:
            settings["progressive"] = _pair("progressive", self.progressive, "sides", int)
        named = settings.pop("preprocessing", None)
        contract = {} if named is None else named_contract(named).preparation()
        contract |= {key: settings.pop(key) for key in ("crop", "shorter_side", "resample") if key in settings}
        return {**settings, **({"contract": contract} if contract else {})}

    def _colour(self) -> dict[str, Any]:
        scale = {} if self.colour_scale is None else {"scale": self.colour_scale}
        if self.colour == "off" and scale:
            raise SpecError("--colour-scale has no effect with --colour off")
        if self.colour is None:
            return {"colour": scale} if scale else {}
        if self.colour == "off":
            return {"colour": None}
        return {"colour": {**_colour(self.colour).model_dump(mode="json"), **scale}}


def _pair(flag: str, words: list[str], key: str, number: type[int] | type[float]) -> dict[str, Any] | None:
    """The setting ``key`` of two numbers; None where the flag says off."""
    if words == ["off"]:
        return None
    try:
        first, second = map(number, words)
    except ValueError:
        kind = "whole numbers" if number is int else "numbers"
        raise SpecError(f"--{flag} is off, or two {kind}, not {' '.join(words)!r}") from None
    return {key: (first, second)}


def _colour(asked: str) -> Colour:
    if asked == "published":
        return Colour()
    if not Path(asked).is_file():
        raise SpecError(f"--colour is off, published, or a file of `reslab data stats --out`, not {asked!r}")
    return read_statistics(Path(asked)).colour(asked)


@Parameter(name="*")
@dataclass(kw_only=True)
class StartFlags:
    """Trained weights to begin from.

    Args:
        begin: a run, imported weights, or a safetensors file with torchvision's names; the classifier is replaced.
        freeze: stages that keep their weights: stem, layer1 ... layer4.
        body_rate: the rate of everything but the classifier, as a part of its rate.
        force: begin from them although they say that they are of another network or of pictures prepared otherwise.
    """

    begin: Annotated[Path | None, Parameter(name="--from")] = None
    freeze: list[Stage] | None = None
    body_rate: float | None = None
    force: bool = False

    def given(self) -> dict[str, Any]:
        """The settings that were given, by their names in the spec."""
        return {key: value for key, value in given(self).items() if key != "begin" and value is not False}


@Parameter(name="*")
@dataclass(kw_only=True)
class HeldFlags:
    """What the weights are held to be; where they say otherwise that is refused.

    Args:
        shortcut: none, A, B or C.
        stride_on: the bottleneck's convolution that strides.
        pool: pad1 or caffe.
        preprocessing: paper, torchvision or caffe.
        force: use them so all the same; the scores say it.
    """

    shortcut: ShortcutKind | None = None
    stride_on: StrideOn | None = None
    pool: Pool | None = None
    preprocessing: str | None = None
    force: bool = False

    def held(self, weights: "Weights") -> "Weights":
        """The weights as what they are held to be.

        Raises:
            DataError: they say otherwise, and it is not forced.
            SpecError: there is no such preprocessing.
        """
        from reslab.experiments.weights import Held, hold

        network = {key: value for key, value in given(self).items() if key not in ("preprocessing", "force")}
        contract = None if self.preprocessing is None else named_contract(self.preprocessing)
        if not network and contract is None:
            if self.force:
                raise SpecError("--force has no effect here: nothing says what the weights are held to be")
            return weights
        words = [(f"--{key.replace('_', '-')}", str(value)) for key, value in given(self).items() if key != "force"]
        flags = (*(word for pair in words for word in pair), *(("--force",) if self.force else ()))
        return replace(hold(weights, Held(network, contract, self.force)), held=flags)


@Parameter(name="*")
@dataclass(kw_only=True)
class JobFlags:
    """How the run is carried out; none of it changes a number.

    Args:
        out: the run directory.
        resume: go on where the run stopped; afresh where there is nothing yet.
        strict: refuse to resume on other threads, another processor, or with other code or versions.
        device: auto, cpu or cuda.
        workers: processes that read ahead; by default one a core for photographs, none for small pictures.
        engine: auto, eager, or graph: updates recorded once and replayed, on a CUDA device; auto does it for small
            pictures.
        compiled: let torch.compile make the passes through the network; changes the last bits.
        activation_checkpointing: keep one tensor a block for the backward pass and compute the rest again: less memory.
        timeout: of several processes, seconds without a step after which each says where it is, and ends.
        checkpoint_every: steps between checkpoints.
    """

    out: Path
    resume: bool = False
    strict: bool = False
    device: str = "auto"
    workers: int | None = None
    engine: str = "auto"
    compiled: Annotated[bool, Parameter(name="--compile")] = False
    activation_checkpointing: bool = False
    timeout: float = 600
    checkpoint_every: int = 500


def given(flags: Any) -> dict[str, Any]:
    """A group's settings that are not None."""
    settings = {field.name: getattr(flags, field.name) for field in fields(flags)}
    return {key: value for key, value in settings.items() if value is not None}
