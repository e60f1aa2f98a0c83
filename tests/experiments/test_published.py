"""Published weights give their published answers: the authors' ResNet-50 against a forward pass in numpy alone.

RESLAB_RESNET50 names the ``model.json`` of Keras' port, RESLAB_DATA a folder that has ``imagewoof-mini``.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reslab.core.imagenet import imagenet_classes

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(1200)]

Array = NDArray[np.float32]
EACH = 5  # pictures of each of ten classes


@pytest.fixture(scope="module")
def model_json() -> Path:
    place = os.environ.get("RESLAB_RESNET50")
    if place is None:
        pytest.skip("RESLAB_RESNET50 does not name the model.json of the authors' ResNet-50")
    return Path(place)


@pytest.fixture(scope="module")
def photos() -> Path:
    folder = Path(os.environ.get("RESLAB_DATA", "")) / "imagewoof-mini"
    if "RESLAB_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("RESLAB_DATA names no folder with imagewoof-mini")
    return folder


@pytest.fixture(scope="module")
def imported(model_json: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "resnet50"
    run("weights", "import", "keras-tfjs", model_json, "--out", out)
    return out


def run(*words: object) -> Any:
    command = [sys.executable, "-m", "reslab", *map(str, words), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def weights_of(model_json: Path) -> dict[str, Array]:
    found = {}
    for group in json.loads(model_json.read_text())["weightsManifest"]:
        data = b"".join((model_json.parent / path).read_bytes() for path in group["paths"])
        start = 0
        for entry in group["weights"]:
            size = math.prod(entry["shape"])
            found[entry["name"]] = np.frombuffer(data, "<f4", size, start).reshape(entry["shape"])
            start += 4 * size
    return found


def convolve(x: Array, kernel: Array, stride: int, pad: int) -> Array:
    """(H, W, C) with a kernel (h, w, C, outputs)."""
    high, wide, _, outputs = kernel.shape
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (high, wide), axis=(0, 1))[::stride, ::stride]
    rows, columns = windows.shape[:2]
    taken = windows.transpose(0, 1, 3, 4, 2).reshape(rows * columns, -1)
    return (taken @ kernel.reshape(-1, outputs)).reshape(rows, columns, outputs)


class Numpy:
    """The authors' ResNet-50: strides in the first 1x1, pooling without padding."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights

    def layer(self, x: Array, name: str, norm: str, stride: int = 1, pad: int = 0) -> Array:
        w = self.weights
        out = convolve(x, w[f"{name}/kernel"], stride, pad) + w[f"{name}/bias"]
        scale = w[f"{norm}/gamma"] / np.sqrt(w[f"{norm}/moving_variance"] + np.float32(1e-5))
        return (out - w[f"{norm}/moving_mean"]) * scale + w[f"{norm}/beta"]

    def block(self, x: Array, place: str, stride: int) -> Array:
        fx = x
        for letter, own, pad in (("a", stride, 0), ("b", 1, 1), ("c", 1, 0)):
            fx = self.layer(fx, f"res{place}_branch2{letter}", f"bn{place}_branch2{letter}", own, pad)
            fx = fx if letter == "c" else fx.clip(min=0)
        carried = x
        if place.endswith("a"):
            carried = self.layer(x, f"res{place}_branch1", f"bn{place}_branch1", stride)
        return (fx + carried).clip(min=0)

    def __call__(self, x: Array) -> Array:
        x = self.layer(x, "conv1", "bn_conv1", 2, 3).clip(min=0)
        x = np.pad(x, ((0, 1), (0, 1), (0, 0)))  # after ReLU a zero never wins: the window that is cut short
        x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max(axis=(3, 4))
        for stage, letters in ((2, "abc"), (3, "abcd"), (4, "abcdef"), (5, "abc")):
            for letter in letters:
                x = self.block(x, f"{stage}{letter}", 2 if stage > 2 and letter == "a" else 1)
        return x.mean(axis=(0, 1)) @ self.weights["fc1000/kernel"] + self.weights["fc1000/bias"]


def prepared(path: Path) -> Array:
    """Shorter side 256, central 224, BGR minus the mean of ImageNet's channels."""
    image = Image.open(path).convert("RGB")
    shorter = min(image.size)
    image = image.resize([256 * side // shorter for side in image.size], Image.Resampling.BILINEAR)
    left, top = (round((side - 224) / 2) for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return pixels[:, :, ::-1] - np.array([103.939, 116.779, 123.68], np.float32)


def test_fifty_pictures_have_the_answers_of_a_forward_pass_in_numpy(
    model_json: Path, imported: Path, photos: Path
) -> None:
    pictures = [path for folder in sorted((photos / "val").iterdir()) for path in sorted(folder.iterdir())[:EACH]]
    assert len(pictures) == 50
    net = Numpy(weights_of(model_json))
    found = run("predict", imported, *pictures, "--top", 1)
    for path, entry in zip(pictures, found, strict=True):
        scores = net(prepared(path))
        (answer,) = entry["answers"]
        assert answer["class"] == imagenet_classes()[int(scores.argmax())].wnid, path
        probability = np.exp(scores.max() - np.logaddexp.reduce(scores))
        assert answer["probability"] == pytest.approx(float(probability), abs=1e-3)


def test_three_hundred_pictures_of_ten_classes_are_tested_among_a_thousand(imported: Path, photos: Path) -> None:
    found = run("evaluate", imported, "--data", photos, "--split", "val")
    assert (found["n"], len(found["by_class"])) == (300, 10)
    assert abs(found["hits"] - 257) <= 1
    assert found["top5_error"] == pytest.approx(100 * 5 / 300, abs=0.4)
