"""``reslab predict``."""

import json as json_text
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.flags import HeldFlags
from reslab.cli.output import print_table, say, stdout
from reslab.cli.progress import progress
from reslab.core.errors import SpecError
from reslab.core.imagenet import title_of
from reslab.core.text import printable
from reslab.core.units import counted

if TYPE_CHECKING:
    from reslab.experiments.predict import Prediction


def predict(
    weights: Path,
    /,
    *pictures: Path,
    top: int = 5,
    figure: Path | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str = "auto",
    workers: int | None = None,
    held: HeldFlags | None = None,
    json: bool = False,
) -> int:
    """Say what is on pictures: the most probable classes, with probabilities.

    A picture that cannot be used is named with the reason, the others are answered, and the exit code is 1.

    Args:
        weights: a run, whose newest whole checkpoint answers; or weights that `reslab weights import` made.
        pictures: files, or folders of them; one that does not exist stops before anything is answered.
        top: answers a picture.
        figure: a contact sheet (PNG) of the pictures with their answers.
        precision: of the forward pass.
        device: auto, cpu or cuda.
        workers: processes that decode; by default one a core where there are many pictures.
        held: what the weights are held to be.
        json: print one JSON document.
    """
    if not pictures:
        raise SpecError("which pictures? give files, or folders of them")
    if figure is not None and figure.suffix.lower() != ".png":
        raise SpecError(f"--figure writes a PNG: give it a name that ends in .png, not {figure.name}")
    from reslab.experiments.predict import find_pictures
    from reslab.experiments.predict import predict as answer
    from reslab.experiments.weights import read_weights

    paths = find_pictures(pictures)
    taken = (held or HeldFlags()).held(read_weights(weights, progress().warned))
    for conflict in taken.forced:
        say(f"reslab: forced: {printable(str(weights))} has {conflict}")
    answered = answer(taken, paths, top=top, precision=precision, device=device, workers=workers, notify=progress())
    kept: list[Prediction] = []
    bad = 0
    for prediction in (_print_json if json else _print)(answered, len(paths)):
        bad += prediction.error is not None
        if figure is not None and _fits(len(kept)):
            kept.append(prediction)
    if figure is not None:
        _draw(kept, len(paths), figure)
    if bad:
        say(f"reslab: {bad:,} of {counted(len(paths), 'picture')} could not be used")
    return 1 if bad else 0


def _print_json(predictions: "Iterable[Prediction]", _total: int) -> "Iterator[Prediction]":
    """One document, an entry at a time: thousands of pictures need no memory."""
    separator = "["
    try:
        for prediction in predictions:
            entry = {
                "picture": prediction.picture,
                "answers": [
                    {"class": printable(name), "title": printable(title_of(name)), "probability": probability}
                    for name, probability in prediction.answers
                ],
                "error": prediction.error,
            }
            print(f"{separator}\n {json_text.dumps(entry)}", end="", flush=True)
            separator = ","
            yield prediction
    finally:
        if separator == ",":
            print("\n]")


def _print(predictions: "Iterable[Prediction]", total: int) -> "Iterator[Prediction]":
    """A table for one picture, a line each for several."""
    for prediction in predictions:
        if prediction.error is not None:
            stdout().print(f"{prediction.picture}: cannot be used: it {prediction.error}", soft_wrap=True)
        elif total == 1:
            rows = [(printable(title_of(name)), f"{100 * probability:.2f}") for name, probability in prediction.answers]
            stdout().print(prediction.picture, soft_wrap=True)
            print_table(("class", "probability %"), rows)
        else:
            answers = "  ".join(
                f"{printable(title_of(name))} {100 * probability:.1f} %" for name, probability in prediction.answers
            )
            stdout().print(f"{prediction.picture}: {answers}", soft_wrap=True)
        yield prediction


def _fits(kept: int) -> bool:
    """Whether one more picture finds room on the contact sheet."""
    from reslab.report.contact import MOST

    return kept < MOST


def _draw(predictions: "list[Prediction]", total: int, figure: Path) -> None:
    from reslab.experiments.predict import picture_thumbnail
    from reslab.report.contact import Shown, contact_sheet

    entries = [
        Shown(
            prediction.picture,
            picture_thumbnail(prediction.path),
            tuple((title_of(name), probability) for name, probability in prediction.answers),
            prediction.error,
        )
        for prediction in predictions
    ]
    contact_sheet(entries, figure, total)
    say(f"written: {figure}")
