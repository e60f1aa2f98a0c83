"""The paper's own numbers, as data."""

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def published(name: str) -> dict[str, Any]:
    """One of the files of the paper's numbers.

    Args:
        name: ``results`` (every published table), ``sizes`` (parameters and multiply-adds of every network) or
            ``figures`` (read off the printed figures, so not published numbers).
    """
    text = resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def cifar10_test_error(model: str) -> float | None:
    """Table 6's test error in percent for ``cifar-resnetN``; ``None`` where the table has no such row."""
    row = published("results")["table6_cifar10_test"].get(model.replace("cifar-resnet", "ResNet-"))
    return None if row is None else float(row["err"])
