"""Single samples, and torch's loader over them: how anybody feeds a network."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, get_worker_info

from reslab.data.pictures import Pictures
from reslab.experiments.bench.steps import Update

PAD: Final = 4  # zero pixels on each side, section 4.2
SEED: Final = 0
ENDLESS: Final = 10**9  # samples: no epoch ends while it is timed, which is generous to the rival


class Samples(Dataset[tuple[Tensor, int]], ABC):
    """One picture at a time, drawn anew each time: float32 (3, H, W), and its label."""

    def __init__(self, labels: Sequence[int]) -> None:
        self.labels = labels
        self.random = np.random.default_rng(SEED)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.image(index), self.labels[index]

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """Picture ``index`` as the network takes it."""


class SmallSamples(Samples):
    """Small pictures less their mean, padded, cropped at random, mirrored half the time (section 4.2)."""

    def __init__(self, pictures: Pictures) -> None:
        super().__init__(pictures.labels.tolist())
        self.pixels: NDArray[np.uint8] = pictures.pixels.numpy()
        self.mean = self.pixels.mean(axis=0, dtype=np.float64).astype(np.float32)

    def image(self, index: int) -> Tensor:
        """Picture ``index``, its size kept."""
        image = self.pixels[index].astype(np.float32) - self.mean
        padded = np.pad(image, ((0, 0), (PAD, PAD), (PAD, PAD)))
        top, left = self.random.integers(0, 2 * PAD + 1, 2)
        crop = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
        if self.random.random() < 0.5:
            crop = crop[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(crop)).expand(3, -1, -1)


def standard_batches(
    samples: Samples, batch: int, workers: int, device: torch.device
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Endless shuffled batches on ``device`` from torch's loader; the workers end when the generator is closed.

    Args:
        samples: those to draw from.
        batch: pictures a batch.
        workers: the loader's processes; 0: none.
        device: where the batches are needed.
    """
    source = torch.Generator().manual_seed(SEED)
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
