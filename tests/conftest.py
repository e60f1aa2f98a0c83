import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

if TYPE_CHECKING:
    from tests.imagenet_archives import Archives


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small are slower on several threads; and what a session's fixtures train has the bits of one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def quick_disk() -> Iterator[None]:
    """For tests of many runs: nobody waits until the disk holds what is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _handle: None)
        yield


@pytest.fixture(scope="session")
def _synsets() -> dict[bytes, Any]:
    return {}


@pytest.fixture
def quick_meta(_synsets: dict[bytes, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are not about ``meta.mat``: equal files are read once, and nobody waits for the disk."""
    from reslab.data import devkit

    read = devkit.read_synsets

    def remembered(data: bytes, title: str) -> Any:
        if data not in _synsets:
            _synsets[data] = read(data, title)
        return _synsets[data]

    monkeypatch.setattr(devkit, "read_synsets", remembered)
    monkeypatch.setattr("os.fsync", lambda _handle: None)
    monkeypatch.setattr("os.sync", lambda: None)


@pytest.fixture
def archives(tmp_path: Path) -> "Archives":
    """ImageNet's three archives, small, to be changed."""
    from tests.imagenet_archives import write_archives  # scipy comes with it

    (tmp_path / "archives").mkdir()
    return write_archives(tmp_path / "archives")


@pytest.fixture(scope="session")
def real_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder around CIFAR-10 in the official binary layout; who changes it puts it back."""
    place = os.environ.get("RESLAB_DATA")
    if not place:
        pytest.skip("RESLAB_DATA names no folder with cifar10/unpack.py")
    target = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(Path(place) / "cifar10" / "unpack.py"), str(target)], check=True)
    return target


@pytest.fixture(scope="session")
def folder_of() -> Callable[..., Path]:
    """Writes class folders of coloured noise, 40 to 90 pixels a side; the same arguments give the same pictures."""

    def write(
        root: Path,
        classes: Sequence[str] = ("ash", "birch", "cedar"),
        pictures: int = 10,
        suffix: str = ".jpg",
        seed: int = 0,
    ) -> Path:
        draw = np.random.default_rng(seed)
        for label, name in enumerate(classes):
            (root / name).mkdir(parents=True)
            for number in range(pictures):
                width, height = draw.integers(40, 91, 2)
                pixels = draw.integers(0, 120, (height, width, 3))
                pixels[..., label % 3] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:03}{suffix}")
        return root

    return write
