"""Training's rivals, as anybody would write them with torch and numpy: a bare step, and torch's loader before it."""

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, get_worker_info

from reslab.core.experiment import ModelSpec
from reslab.data.pictures import Pictures
from reslab.experiments.bench.asked import Asked
from reslab.experiments.bench.pictures import noise, pictures_for
from reslab.experiments.bench.steps import Update, bare_training, bare_update
from reslab.experiments.bench.timing import Turn, least_for, once, steady, waiting_for
from reslab.experiments.environment import find_device
from reslab.experiments.networks import build

PAD: Final = 4  # zero pixels on each side, section 4.2
SEED: Final = 0
ENDLESS: Final = 10**9  # samples: no epoch ends while it is timed, which is generous to the rival
WORKERS: Final = 2  # of its loader, where none are asked for


def standard_workers(asked: Asked) -> int:
    """Processes of the rival's loader."""
    return WORKERS if asked.workers is None else asked.workers


def rival_sides(asked: Asked, side: int) -> dict[str, Turn]:
    """``eager``, the bare step on a batch that lies ready; on small pictures also ``standard``, its loop with a loader.

    Args:
        asked: network, batch, pictures, workers and device.
        side: pixels of the pictures that the network takes.

    Raises:
        ReslabError: as `pictures_for` does.
    """
    device, pictures = find_device(asked.device), pictures_for(asked)
    update = bare_update(build(ModelSpec(name=asked.model), len(pictures.classes)).to(device))
    labels = torch.randint(len(pictures.classes), (asked.batch,), generator=torch.Generator().manual_seed(SEED))
    ready = bare_training(update, noise(asked.batch, side, device), labels.to(device))
    sides: dict[str, Turn] = {"eager": once(ready, waiting_for(device))}
    if isinstance(pictures, Pictures):
        sides["standard"] = partial(_loop, asked, pictures, device, update)
    return sides


def _loop(asked: Asked, pictures: Pictures, device: torch.device, update: Update) -> float:
    workers = standard_workers(asked)
    with closing(standard_batches(pictures, asked.batch, workers, device)) as stream:
        return steady(stream, workers, partial(train_on, update=update), waiting_for(device), least_for(device))


class Samples(Dataset[tuple[Tensor, int]]):
    """One picture at a time: float32 (3, H, W), less the mean, padded, cropped at random, mirrored half the time."""

    def __init__(self, pictures: Pictures) -> None:
        self.pixels: NDArray[np.uint8] = pictures.pixels.numpy()
        self.labels = pictures.labels.tolist()
        self.mean = self.pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.random = np.random.default_rng(SEED)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.pixels[index].astype(np.float32) - self.mean
        padded = np.pad(image, ((0, 0), (PAD, PAD), (PAD, PAD)))
        top, left = self.random.integers(0, 2 * PAD + 1, 2)
        crop = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
        if self.random.random() < 0.5:
            crop = crop[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(crop)).expand(3, -1, -1), self.labels[index]


def standard_batches(
    pictures: Pictures, batch: int, workers: int, device: torch.device
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Endless shuffled batches on ``device`` from torch's loader; the workers end when the generator is closed.

    Args:
        pictures: those to draw from.
        batch: pictures a batch.
        workers: the loader's processes; 0: none.
        device: where the batches are needed.
    """
    source, samples = torch.Generator().manual_seed(SEED), Samples(pictures)
    loader: DataLoader[Any] = DataLoader(
        samples,
        batch_size=batch,
        sampler=RandomSampler(samples, num_samples=ENDLESS, generator=source),
        num_workers=workers,
        worker_init_fn=_of_its_own,
        pin_memory=device.type == "cuda",
        generator=source,
    )
    for images, labels in loader:
        yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def train_on(stream: Iterator[tuple[Tensor, Tensor]], update: Update) -> None:
    """The loop around the rival's step."""
    for images, labels in stream:
        update(images, labels)


def _of_its_own(_worker: int) -> None:
    """Each worker draws from a generator of its own."""
    info = get_worker_info()
    assert info is not None
    assert isinstance(info.dataset, Samples)
    info.dataset.random = np.random.default_rng(info.seed)
