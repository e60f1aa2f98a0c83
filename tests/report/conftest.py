"""Finished runs made by hand: the report reads files, so files are all it takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reslab.core.experiment import Experiment, ModelSpec, Recipe
from reslab.core.intervals import wilson
from reslab.core.rundir import RunDirectory

Maker = Callable[..., RunDirectory]
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
        **spec: Any,
    ) -> RunDirectory:
        experiment = Experiment(model=ModelSpec(name=model, **spec), data=data, recipe=RECIPE, seed=seed)
        path = tmp_path / f"{model}-{seed}-{len(spec)}-{data}"
        run = RunDirectory.create(path, experiment)
        for step in (50, 100, 150, 200):
            error = early if step == 50 else test
            line = {"step": step, "samples": step * 128, "lr": 0.1, "loss": 1.0, "train_error": train, "train_n": 6400}
            run.append_metrics({**line, "seconds": 1.0, "images_per_second": 1.0, "test_error": error, "test_n": 2000})
        hits = 2000 - round(20 * test)
        interval = [100 * side for side in wilson(2000 - hits, 2000)]
        by_class = {
            "cat": {"n": 1000, "error": test, "interval": interval},
            "dog": {"n": 1000, "error": test, "interval": interval},
        }
        result = {
            "model": model,
            "parameters": 68050,
            "multiply_adds": 7_846_592,
            "input_size": 28,
            "steps": 200,
            "seed": seed,
        }
        errors = {
            "train_error": train,
            "test_error": test,
            "test_interval": interval,
            "hits": hits,
            "n": 2000,
            "seconds": 61.0,
        }
        run.write("result.json", {**result, **errors, "by_class": by_class})
        run.write("environment.json", {"reslab": "0", "torch": "2", "processor": "p", "threads": 2})
        assert json.loads((path / "result.json").read_text())["hits"] == hits
        return run

    return make
