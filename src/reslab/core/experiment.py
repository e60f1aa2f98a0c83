"""One experiment as a frozen value: which network, on which pictures, by which recipe, from which seed."""

import math
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from reslab.core.colour import Colour
from reslab.core.contract import Contract, Positive, Side
from reslab.core.errors import SpecError
from reslab.core.protocol import scaled
from reslab.core.spec import Digest, Spec

ShortcutKind = Literal["none", "A", "B", "C"]
StrideOn = Literal["1x1", "3x3"]
Pool = Literal["pad1", "caffe"]
Precision = Literal["auto", "fp32", "bf16"]
Fan = Literal["fan_out", "fan_in"]
Head = Literal["uniform", "he"]
Decay = Literal["conv_fc_weights", "all"]
DataName = Literal["embedded", "cifar10", "cifar100", "folder"]
Decode = Literal["exact", "fast"]
OnBadPicture = Literal["stop", "replace"]
Stage = Literal["stem", "layer1", "layer2", "layer3", "layer4"]

Fraction = Annotated[float, Field(gt=0, lt=1)]
Part = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Aspect = Annotated[float, Field(ge=0.01, le=100)]  # ours: narrower parts of a picture show nothing

FOR_SMALL = "this recipe is for small pictures; for a folder of photographs take another --recipe"
FOR_PHOTOGRAPHS = "this recipe is for folders of photographs, and the data is"
TRAIN_WINDOW = 50  # batches over which a training error is averaged, everywhere
LOOKS = ("log_every", "evaluate_every")  # of a recipe: how often a run is looked at, which changes no number


class ModelSpec(Spec):
    """A network by its command-line name; ``None`` leaves a choice to the name's default."""

    name: str
    shortcut: ShortcutKind | None = None
    stride_on: StrideOn = "1x1"  # Table 1; "3x3" is known as v1.5
    pool: Pool = "pad1"
    width: Positive | None = (
        None  # filters of the first stage; None: 64 on ImageNet (Table 1), 16 on CIFAR (section 4.2)
    )
    bn_eps: Annotated[float, Field(gt=0, le=1)] = 1e-5  # Caffe's and torch's default; the paper states none


class Optimizer(Spec):
    """Stochastic gradient descent, section 3.4 and 4.2."""

    lr: Annotated[float, Field(gt=0, description="learning rate")] = 0.1  # section 3.4, 4.2
    momentum: Annotated[float, Field(ge=0, lt=1, description="momentum")] = 0.9  # section 3.4, 4.2; not Nesterov
    weight_decay: Annotated[float, Field(ge=0, description="weight decay")] = 1e-4  # section 3.4, 4.2
    decay: Annotated[Decay, Field(description="the parameters that decay")] = (
        "conv_fc_weights"  # the paper does not say; fb.resnet.torch reports that it decays conv weights
    )


class WarmUp(Spec):
    """Section 4.2 for ResNet-110: a lower rate until the training error falls below ``until_error`` percent."""

    lr: Annotated[float, Field(gt=0)] = 0.01
    until_error: Annotated[float, Field(gt=0, lt=100)] = 80.0
    window: Annotated[int, Field(gt=0, le=TRAIN_WINDOW)] = TRAIN_WINDOW  # batches; each whole window decides


class Plateau(Spec):
    """Section 3.4: the rate is divided "when the error plateaus". Which error, and what a plateau is, it does not say.

    Ours: the mean training error of whole windows has not fallen ``by`` points below the best so far for ``patience``
    windows. Training error, because a schedule that heeds the test set has been chosen on it.
    """

    window: Annotated[int, Field(gt=0, multiple_of=TRAIN_WINDOW)] = 5_000  # steps; an epoch of ImageNet is 5,005 of 256
    patience: Positive = 3
    by: Annotated[float, Field(ge=0, lt=100)] = 0.1  # points; ours: twice the standard error of a window of an epoch
    most: Positive = 2  # divisions: as many as Figure 4 shows


class Schedule(Spec):
    """The rate: divided at fractions of all steps (32k and 48k of 64k in section 4.2), by cosine, or on plateaus."""

    drops: tuple[Fraction, ...] = (0.5, 0.75)
    divide_by: Annotated[float, Field(gt=1)] = 10.0  # section 3.4, 4.2
    cosine: bool = False  # half a cosine, from the full rate to zero (Loshchilov and Hutter 2016)
    plateau: Plateau | None = None
    ramp: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of all steps in which the rate rises (Goyal et al. 2017)
    warm_up: WarmUp | None = None

    @model_validator(mode="after")
    def _one_way_down(self) -> "Schedule":
        if list(self.drops) != sorted(set(self.drops)):
            raise SpecError(f"schedule.drops must rise, not {list(self.drops)}")
        if bool(self.drops) + self.cosine + (self.plateau is not None) > 1:
            raise SpecError("schedule: drops, cosine and plateau exclude one another; drops = [] makes room")
        return self


class Init(Spec):
    """Initial weights (section 3.4: as He et al. 2015): normal, with std sqrt(2 / n); what is not said is chosen here.

    ``fan``: n of a convolution, k * k times its outputs (``fan_out``, their backward form) or its inputs (``fan_in``,
    their forward form). ``classifier``: ``uniform`` within 1 / sqrt(inputs), or ``he``, normal with n its inputs.
    Biases begin at 0.
    """

    fan: Fan = "fan_out"  # fb.resnet.torch, torchvision; Caffe's msra filler takes fan_in unless told otherwise
    classifier: Head = "uniform"  # as fb.resnet.torch leaves it; "he" is what Caffe's msra filler would draw


class Augmentation(Spec):
    """Section 4.2: ``pad`` zero pixels on each side, a random crop of the picture's size, a random mirror image."""

    pad: Annotated[int, Field(ge=0)] = 4
    flip: bool = True


class RandomArea(Spec):
    """Training on a random part of a picture, resized to the crop: Szegedy et al. 2015 (GoogLeNet), section 6.

    ``share`` of the picture's area, drawn evenly; ``aspect``, width over height, drawn evenly in its logarithm; the
    part lies anywhere. After ten draws that do not fit into the picture its central part is taken, as torchvision does.
    """

    share: tuple[Share, Share] = (0.08, 1.0)  # Szegedy et al. 2015, section 6
    aspect: tuple[Aspect, Aspect] = (3 / 4, 4 / 3)  # Szegedy et al. 2015, section 6

    @model_validator(mode="after")
    def _rises(self) -> "RandomArea":
        for name, (low, high) in (("share", self.share), ("aspect", self.aspect)):
            if low > high:
                raise SpecError(f"area.{name} must rise, not {low:g} to {high:g}")
        return self


class Progressive(Spec):
    """Crops of training that grow, from the first of ``sides`` to the last, in the part ``between`` of all steps.

    The side grows linearly, rounded to the nearest ``multiple`` of pixels. Either of ``sides`` may be smaller or larger
    than the crop of testing, which stays what the contract says.
    """

    sides: tuple[Side, Side]  # pixels
    between: tuple[Part, Part] = (11 / 16, 13 / 16)  # ffcv-imagenet, ResNet-50 in 16 epochs
    multiple: Positive = 32  # ffcv-imagenet; a ResNet of Table 1 shrinks a picture so many times

    @model_validator(mode="after")
    def _holds(self) -> "Progressive":
        (first, last), (begin, end) = self.sides, self.between
        if first > last:
            raise SpecError(f"progressive.sides must rise, not {first} to {last}")
        if odd := [side for side in self.sides if side % self.multiple]:
            raise SpecError(f"progressive.sides must be multiples of {self.multiple}, not {odd[0]}")
        if begin > end:
            raise SpecError(f"progressive.between must rise, not {begin:g} to {end:g}")
        return self

    def side_at(self, step: int, steps: int) -> int:
        """Pixels a side of the crops of update ``step``, counted from 0, of ``steps``."""
        (first, last), (begin, end) = self.sides, self.between
        done = step / steps
        if done < begin or done >= end:
            return first if done < begin else last
        grown = first + (last - first) * (done - begin) / (end - begin)
        return self.multiple * math.floor(grown / self.multiple + 0.5)


class Photographs(Spec):
    """How photographs in folders are read: scale jitter, crop and mirror image in training (section 3.4)."""

    contract: Contract = Contract()
    scale: tuple[Positive, Positive] = (256, 480)  # section 3.4: the shorter side, both ends included; not with an area
    area: RandomArea | None = None  # None: the scale jitter of section 3.4
    progressive: Progressive | None = None  # None: crops of the contract's size throughout (section 3.4)
    flip: bool = True  # section 3.4
    colour: Colour | None = None  # section 3.4 has it; None: colours stay as they are
    decode: Decode = "fast"  # in training; testing is always exact
    on_bad_picture: OnBadPicture = "stop"  # in training; testing always stops
    held_out: Fraction = 0.2  # ours: of each class, where the folder has no val/; the embedded set holds out 1 in 7

    @model_validator(mode="after")
    def _crops_fit(self) -> "Photographs":
        low, high = self.scale
        if self.area is not None:
            return self
        if low > high:
            raise SpecError(f"scale must rise, not {low} to {high}")
        if low < self.contract.crop:
            raise SpecError(f"a crop of {self.contract.crop} does not fit a shorter side of {low}: raise the scale")
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """Pixels a side of the smallest and of the largest crops of training."""
        return (self.contract.crop,) * 2 if self.progressive is None else self.progressive.sides

    def side_at(self, step: int, steps: int) -> int:
        """Pixels a side of the crops of training in update ``step``, counted from 0, of ``steps``."""
        return self.contract.crop if self.progressive is None else self.progressive.side_at(step, steps)

    def scale_for(self, side: int) -> tuple[int, int]:
        """``scale`` for crops of ``side``, which so show the same share of a picture as those of the contract's."""
        low, high = (scaled(shorter, side, self.contract.crop) for shorter in self.scale)
        return low, high


class Recipe(Spec):
    """How a network is trained and how often it is looked at. Section 4.2 gives the defaults."""

    steps: Positive = 64_000
    batch: Positive = 128
    bn_group: Positive = 64  # pictures that share batch statistics: 128 on two GPUs
    bn_average: Annotated[int, Field(ge=0)] = (
        0  # training pictures that statistics are averaged over after the last step; 0: the moving averages stay
    )
    optim: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # section 3.4 has none (Szegedy et al. 2015)
    init: Init = Init()
    augment: Augmentation = Augmentation()
    photographs: Photographs | None = None  # for folders of photographs, and only for them
    validation: Annotated[int, Field(ge=0)] = (
        0  # training pictures set aside to validate on; section 4.2 chose its schedule on a 45k/5k split
    )
    precision: Precision = "auto"
    log_every: Positive = TRAIN_WINDOW
    evaluate_every: Positive = 1_000  # a point every 1k iterations in Figure 6

    @model_validator(mode="after")
    def _groups_form(self) -> "Recipe":
        if self.batch % self.bn_group:
            raise SpecError(
                f"bn_group {self.bn_group} does not divide batch {self.batch}: no whole groups can be formed"
            )
        return self

    def drop_steps(self) -> tuple[int, ...]:
        """The steps before which the rate drops."""
        return tuple(round(fraction * self.steps) for fraction in self.schedule.drops)


def _in_order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    return tuple(stage for stage in get_args(Stage) if stage in stages)


class Start(Spec):
    """Trained weights to begin from, all but the classifier: fine-tuning."""

    weights: Digest  # sha256 of the tensors' file
    freeze: Annotated[tuple[Stage, ...], AfterValidator(_in_order)] = ()  # keep their weights and batch statistics
    body_rate: Annotated[float, Field(gt=0, le=1)] = 0.1  # ours: the body's rate, as a part of the classifier's
    force: bool = False  # although the weights say that they are of another network, or of pictures prepared otherwise


class Experiment(Spec):
    """Everything that decides a run's numbers on one machine; where its files lie is not part of it."""

    model: ModelSpec
    data: DataName
    recipe: Recipe = Recipe()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    start: Start | None = None

    @model_validator(mode="after")
    def _form_fits_the_data(self) -> "Experiment":
        if self.data == "folder" and self.recipe.photographs is None:
            raise SpecError(FOR_SMALL)
        if self.data != "folder" and self.recipe.photographs is not None:
            raise SpecError(f"{FOR_PHOTOGRAPHS} {self.data}")
        if self.data == "folder" and self.recipe.augment != Augmentation():
            raise SpecError("recipe.augment is for small pictures; photographs have recipe.photographs")
        if self.data == "folder" and self.recipe.validation:
            raise SpecError("recipe.validation is for small pictures; photographs have photographs.held_out")
        return self
