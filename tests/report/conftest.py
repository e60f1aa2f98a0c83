"""Finished runs made by hand: the report reads files, so files are all it takes."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image

from reslab.core.experiment import Experiment, ModelSpec, Photographs, Recipe
from reslab.core.files import write_bytes, write_json
from reslab.core.intervals import wilson
from reslab.core.rundir import RunDirectory
from reslab.experiments.catalog import TABLE6

Maker = Callable[..., RunDirectory]
PHOTOGRAPHS = Recipe(steps=20, batch=32, bn_group=32, photographs=Photographs(), log_every=10, evaluate_every=20)
RECIPE = Recipe(steps=200, evaluate_every=50, log_every=50)


@pytest.fixture
def make_run(tmp_path: Path) -> Maker:
    """A run whose test and training errors are given in percent, constant but for the early ones."""

    def make(
        model: str,
        test: float,
        train: float,
        *,
        seed: int = 0,
        early: float = 90.0,
        data: Any = "embedded",
        recipe: Recipe = RECIPE,
        n: int = 2000,
        responses: Sequence[float] | None = None,
        **spec: Any,
    ) -> RunDirectory:
        experiment = Experiment(model=ModelSpec(name=model, **spec), data=data, recipe=recipe, seed=seed)
        path = tmp_path / f"{model}-{experiment.digest()[:12]}"
        run = RunDirectory.create(path, experiment)
        for quarter in (1, 2, 3, 4):
            error, step = early if quarter == 1 else test, quarter * recipe.steps // 4
            line = {"step": step, "samples": step * 128, "lr": 0.1, "loss": 1.0, "train_error": train, "train_n": 6400}
            run.append_metrics({**line, "seconds": 1.0, "images_per_second": 1.0, "test_error": error, "test_n": n})
        hits = n - round(n / 100 * test)
        interval = [100 * side for side in wilson(n - hits, n)]
        by_class = {
            "cat": {"n": 1000, "error": test, "interval": interval},
            "dog": {"n": 1000, "error": test, "interval": interval},
        }
        result = {
            "model": model,
            "parameters": 68050,
            "multiply_adds": 7_846_592,
            "input_size": 28,
            "steps": recipe.steps,
            "seed": seed,
        }
        errors = {
            "train_error": train,
            "test_error": test,
            "test_interval": interval,
            "hits": hits,
            "n": n,
            "seconds": 61.0,
        }
        run.write("result.json", {**result, **errors, "by_class": by_class})
        run.write("environment.json", {"reslab": "0", "torch": "2", "processor": "p", "threads": 2})
        assert json.loads((path / "result.json").read_text())["hits"] == hits
        if responses is not None:
            kept_responses(run, responses)
        return run

    return make


@pytest.fixture
def make_published(make_run: Maker) -> Maker:
    """A run that follows section 4.2 to the letter, tested on 10,000 pictures."""

    def make(model: str, test: float, train: float, **choices: Any) -> RunDirectory:
        return make_run(model, test, train, data="cifar10", n=10_000, recipe=TABLE6.how(model), **choices)

    return make


def kept_responses(run: RunDirectory, stds: Sequence[Any], **facts: Any) -> None:
    """Write what a run keeps of its layers' responses."""
    layers = [{"name": f"conv{number}", "std": std} for number, std in enumerate(stds, start=1)]
    known = {"pictures": 10_000, "part": "val", "statistics": "running", "step": run.experiment.recipe.steps}
    run.write("responses.json", {**known, "layers": layers, **facts})


@pytest.fixture
def write_responses() -> Callable[..., None]:
    """Gives a run responses, or others."""
    return kept_responses


def jpeg(side: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (40, 120, 90)).save(stream, "JPEG")
    return stream.getvalue()


def probabilities(answers: Sequence[int], certainty: Sequence[float], classes: int) -> NDArray[np.float32]:
    """Scores (N, classes) whose largest is ``certainty`` at ``answers``; the rest is shared equally."""
    rest = (1 - np.array(certainty)) / max(classes - 1, 1)
    scores = np.repeat(rest[:, None], classes, axis=1)
    scores[np.arange(len(answers)), list(answers)] = certainty
    return scores.astype(np.float32)


def worst(scores: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """What a run keeps of its most certain mistakes."""
    answers = scores.argmax(axis=1)
    wrong = sorted(np.flatnonzero(answers != labels).tolist(), key=lambda i: -scores[i].max())[:24]
    thumbnail = base64.b64encode(jpeg()).decode()
    return [
        {
            "picture": f"val/{classes[labels[i]]}/{i}.jpg",
            "label": classes[labels[i]],
            "answer": classes[answers[i]],
            "probability": float(scores[i].max()),
            "label_probability": float(scores[i, labels[i]]),
            "thumbnail": thumbnail,
        }
        for i in wrong
    ]


@pytest.fixture
def make_photo_run(tmp_path: Path) -> Maker:
    """A finished run on a folder of photographs, with the scores of its test."""

    def make(
        labels: Sequence[int],
        answers: Sequence[int],
        certainty: Sequence[float],
        classes: Sequence[str],
        *,
        name: str = "run",
        model: str = "resnet18",
        data: str = "dogs",
        recipe: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        **spec: Any,
    ) -> RunDirectory:
        experiment = Experiment(
            model=ModelSpec(name=model), data="folder", recipe=PHOTOGRAPHS.but(recipe or {}), **spec
        )
        run = RunDirectory.create(tmp_path / name, experiment)
        truth, scores = np.array(labels, np.int64), probabilities(answers, certainty, len(classes))
        n, hits = len(truth), int((truth == scores.argmax(axis=1)).sum())
        line = {"step": 20, "samples": 640, "lr": 0.1, "loss": 1.0, "train_error": 50.0, "train_n": 640}
        run.append_metrics({**line, "step": 10})
        run.append_metrics({**line, "test_error": 100 * (n - hits) / n, "test_n": n})
        numbers = {"parameters": 11_181_642, "multiply_adds": 1_813_566_464, "input_size": 224, "seconds": 61.0}
        by_class = {}
        for label in sorted(set(labels)):
            wrong, of = int(((truth == label) & (scores.argmax(axis=1) != label)).sum()), int((truth == label).sum())
            interval = [100 * side for side in wilson(wrong, of)]
            by_class[classes[label]] = {"n": of, "error": 100 * wrong / of, "interval": interval}
        tested = {"protocol": "center", "hits": hits, "n": n, "by_class": by_class, "replaced": 0}
        run.write("result.json", {**numbers, **tested, **(result or {})})
        digests = {"name": data, "train": "1" * 64, "val": "2" * 64}
        run.write("environment.json", {"reslab": "0", "torch": "2", "data": digests})
        folder = run.scores / "center-val"
        tensors = {"probabilities": scores, "labels": truth}
        write_bytes(folder / "scores.safetensors", safetensors.numpy.save(tensors))
        facts = {"protocol": "center", "data": {"name": data, "digest": "2" * 64}, "classes": list(classes)}
        write_json(folder / "protocol.json", {**facts, "n": n, "hits": hits})
        write_json(folder / "mistakes.json", {"mistakes": worst(scores, truth, classes)})
        return run

    return make


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that do not look at the figures: drawing them takes most of a report's time."""
    monkeypatch.setattr("reslab.report.drawing.as_svg", lambda _figure: "<svg></svg>")
    monkeypatch.setattr("reslab.report.drawing.as_png", lambda _figure: b"")
