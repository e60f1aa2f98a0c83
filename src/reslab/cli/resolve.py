"""From what a user asked of ``reslab train`` to one frozen experiment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.cli.flags import NetworkFlags, PhotoFlags, RecipeFlags, StartFlags, given
from reslab.core.errors import SpecError
from reslab.core.experiment import FOR_SMALL, Experiment, Optimizer
from reslab.core.spec import overlay, read_toml
from reslab.core.units import epochs_to_steps
from reslab.experiments.names import parse_name
from reslab.experiments.recipes import named_recipe, usual_recipe, with_optimizer

if TYPE_CHECKING:
    from reslab.data.source import Source
    from reslab.experiments.weights import Weights
    from reslab.transforms.mean_image import MeanImage


@dataclass(frozen=True)
class Asked:
    """What decides the experiment among the flags of ``train``.

    ``going_on``: the run that is resumed, if any; ``mean_image``: the one that the flags name, read.
    """

    recipe: str | None
    spec: Path | None
    network: NetworkFlags
    settings: RecipeFlags
    photographs: PhotoFlags
    start: StartFlags
    optim: Optimizer | None
    epochs: float | None
    seed: int | None
    longer: float = 1
    going_on: Experiment | None = None
    mean_image: "MeanImage | None" = None


def resolve(asked: Asked, source: "Source", weights: "Weights | None") -> Experiment:
    """Recipe, then what the weights bring, then the file, then the flags; each on top of the one before.

    Raises:
        SpecError: something is missing, unknown, contradictory or without effect.
    """
    from reslab.data.source import PictureFolder

    base = _base(asked, source, weights)
    if asked.start.begin is None and asked.start.given():
        raise SpecError("--freeze, --body-rate and --force are for training that begins from weights: give --from")
    photographs = asked.photographs.given()
    if "held_out" in photographs and isinstance(source, PictureFolder) and source.halved:
        raise SpecError("--held-out has no effect on a folder that has train/ and val/")
    _refuse_without_effect(given(asked.photographs), source, base["recipe"]["photographs"])
    flags = overlay(asked.network.given(), asked.settings.given(base["recipe"]))
    flags = overlay(flags, {"recipe": {"photographs": photographs}} if photographs else {})
    flags = overlay(flags, {"start": asked.start.given()} if weights else {})
    flags = overlay(flags, {} if asked.seed is None else {"seed": asked.seed})
    merged = overlay(base, flags)
    if not merged["model"].get("name"):
        raise SpecError("which network? --model NAME, as `reslab list models` has it")
    experiment = Experiment.parse(merged, str(asked.spec or "the flags"))
    if "scale" in photographs and experiment.recipe.photographs and experiment.recipe.photographs.area:
        raise SpecError("--scale has no effect where training takes parts of a random area: no --scale, or --area off")
    parse_name(experiment.model.name).shortcut(experiment.model.shortcut)
    if asked.mean_image is not None and experiment.recipe.photographs is not None:
        contract = asked.mean_image.subtracted_by(experiment.recipe.photographs.contract)
        experiment = experiment.but({"recipe": {"photographs": {"contract": contract.model_dump(mode="json")}}})
    if asked.optim is not None:
        optim = with_optimizer(experiment.recipe, asked.optim).model_dump(mode="json")
        experiment = experiment.but({"recipe": optim})
    if experiment.start is not None and weights is None:
        raise SpecError("the spec begins from trained weights: give them with --from")
    return _in_steps(experiment, asked, source)


def _refuse_without_effect(flags: Mapping[str, Any], source: "Source", photographs: Mapping[str, Any] | None) -> None:
    if flags and source.name != "folder":
        raise SpecError(f"settings of photographs ({', '.join(flags)}) have no effect on {source.name}")
    if flags and photographs is None:
        raise SpecError(FOR_SMALL)
    if "colour_scale" in flags and "colour" not in flags and photographs is not None and not photographs["colour"]:
        raise SpecError("--colour-scale has no effect without colours: give --colour published or a file")


def _base(asked: Asked, source: "Source", weights: "Weights | None") -> dict[str, Any]:
    values = {} if asked.spec is None else read_toml(asked.spec)
    base: dict[str, Any] = {"model": {}, "data": source.name}
    base["recipe"] = named_recipe(asked.recipe or _usual(asked, source, weights, values)).model_dump(mode="json")
    if weights is not None:
        base = overlay(base, _from_weights(weights, base))
    if values.get("data", source.name) != source.name:
        raise SpecError(f"{asked.spec} is about {values['data']} and --data is {source.name}")
    if weights is not None:
        _refuse_what_is_not_said(asked, source, weights, values)
    return overlay(base, values)


def _usual(asked: Asked, source: "Source", weights: "Weights | None", values: Mapping[str, Any]) -> str:
    if weights is not None:
        return "fine-tune" if source.name == "folder" else usual_recipe(source.name, None)
    stated = values.get("model")
    return usual_recipe(source.name, asked.network.model or (stated.get("name") if isinstance(stated, dict) else None))


def _from_weights(weights: "Weights", base: Mapping[str, Any]) -> dict[str, Any]:
    brought: dict[str, Any] = {"start": {"weights": weights.digest}}
    if weights.model is not None:
        brought["model"] = weights.model.model_dump(mode="json")
    if weights.photographs is not None and base["recipe"]["photographs"] is not None:
        kept = weights.photographs.model_dump(mode="json", include={"contract", "scale", "held_out", "area"})
        if kept["area"] is None:  # a recipe's area takes the place of any scale
            del kept["area"]
        brought["recipe"] = {"photographs": kept}
    return brought


def _refuse_what_is_not_said(asked: Asked, source: "Source", weights: "Weights", stated: Mapping[str, Any]) -> None:
    contract = stated.get("recipe", {}).get("photographs", {}).get("contract")
    silent = weights.inputs is None and asked.photographs.preprocessing is None and not contract
    if source.name == "folder" and silent:
        raise SpecError(
            f"{weights.place} does not say how its pictures were prepared: --preprocessing paper, torchvision or caffe"
        )


def _in_steps(experiment: Experiment, asked: Asked, source: "Source") -> Experiment:
    if not 0 < asked.longer < math.inf:
        raise SpecError(f"--longer must be positive, not {asked.longer}")
    if asked.epochs is None:
        return _longer(experiment, experiment.recipe.steps, asked)
    if asked.settings.steps is not None:
        raise SpecError("--steps and --epochs say the same thing; give one")
    if asked.going_on is not None:  # the folder may have grown since
        return experiment.but({"recipe": {"steps": asked.going_on.recipe.steps}})
    from reslab.data.source import Reading

    photographs = experiment.recipe.photographs
    reading = Reading(photographs.held_out) if photographs else Reading()
    pictures = len(source.read("train", reading)) - experiment.recipe.validation
    return _longer(experiment, epochs_to_steps(asked.epochs, pictures, experiment.recipe.batch), asked)


def _longer(experiment: Experiment, steps: int, asked: Asked) -> Experiment:
    return experiment.but({"recipe": {"steps": max(1, round(steps * asked.longer))}})
