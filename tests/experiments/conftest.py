from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reslab.core.experiment import Experiment, ModelSpec, Recipe
from reslab.data.pictures import Pictures, Split
from reslab.data.source import SmallPictures
from reslab.experiments.execute import Job, Outcome, execute
from reslab.experiments.notify import Notify

CLASSES = tuple("abcdefghij")


def noise(split: Split, count: int, seed: int) -> Pictures:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 1, 12, 12), generator=draw, dtype=torch.uint8)
    return Pictures("noise", split, pixels, torch.randint(10, (count,), generator=draw), CLASSES)


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    recipe = Recipe(steps=8, batch=32, bn_group=16, log_every=1, evaluate_every=4, precision="fp32")
    return Experiment(model=ModelSpec(name="cifar-resnet8", width=4), data="embedded", recipe=recipe)


@pytest.fixture(scope="session")
def splits() -> dict[Split, Pictures]:
    """100 pictures to train on, so that 8 batches of 32 cross two epochs' boundaries, and 40 to test on."""
    return {"train": noise("train", 100, 1), "val": noise("val", 40, 2)}


@pytest.fixture(scope="session")
def carry_out(tiny: Experiment, splits: dict[Split, Pictures]) -> Callable[..., Outcome]:
    """Execute an experiment on the tiny pictures, as a new process would begin: global generator at its start."""

    def session(
        out: Path,
        experiment: Experiment = tiny,
        notify: Notify | None = None,
        pictures: dict[Split, Pictures] | None = None,
        **job: Any,
    ) -> Outcome:
        source = SmallPictures("embedded", "embedded", (pictures or splits).__getitem__)
        with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
            torch.manual_seed(0)
            patch.setattr("reslab.experiments.execute.find_data", lambda _: source)
            return execute(experiment, Job(data="embedded", out=out, **job), notify or Notify())

    return session
