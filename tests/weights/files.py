"""Small files of other libraries, and what the command line says of them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from tests.weights.networks import photo_net, small_net, stirred

Command = Callable[..., subprocess.CompletedProcess[str]]
CLASSES: Final = ("ash", "birch", "cedar")
SIDES: Final = ("--shorter-side", 36, "--crop", 32)


def write_files(place: Path) -> None:
    """Weights of other libraries, narrow, and names of classes."""
    tensors = stirred(photo_net(classes=3))
    torch.save(tensors, place / "resnet18.pth")
    theirs = {name.replace("fc.", "linear."): tensor for name, tensor in stirred(small_net()).items()}
    torch.save({"state_dict": {f"module.{name}": t for name, t in theirs.items()}}, place / "resnet8.th")
    (place / "timm").mkdir()
    safetensors.torch.save_file(tensors, place / "timm" / "model.safetensors")
    prepared = {"input_size": [3, 32, 32], "crop_pct": 1, "interpolation": "bicubic"}
    prepared |= {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (place / "timm" / "config.json").write_text(json.dumps({"pretrained_cfg": prepared, "label_names": CLASSES}))
    (place / "classes.txt").write_text("\n".join(CLASSES) + "\n\n")


def bring_in(reslab: Command, place: Path) -> Path:
    """The torchvision file of `write_files` as our own folder."""
    source = ("torchvision", place / "resnet18.pth", "--classes", place / "classes.txt")
    done = reslab("weights", "import", *source, *SIDES, "--out", place / "ours")
    assert done.returncode == 0, done.stderr
    return place / "ours"


def refused(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line of a mistake."""
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("reslab: ")
    assert line.isprintable()
    return line


def said(reslab: Command, *words: object) -> dict[str, Any]:
    done = reslab("weights", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
