"""The embedded pictures: the first 1,200 training and 200 test pictures of each class of Fashion-MNIST.

12,000 + 2,000 grey pictures of 28x28 pixels, built by ``tools/build_embedded.py``; copyright Zalando SE, licensed as
``LICENSE`` beside this file says.
"""

import hashlib
import io
import struct
import zipfile
from importlib import resources

import torch
from torch import Tensor

from reslab.core.errors import DataError
from reslab.data.parts import Split
from reslab.data.pictures import Pictures

NAME = "Fashion-MNIST (12,000 + 2,000)"
SHA256 = "140418e10fed3c109dbab7ebc05d8cbeeca352774f6646bcfd2bad1a7ded3f6d"  # of fashion-mnist.zip
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MEMBERS: dict[Split, str] = {"train": "train", "val": "t10k"}


def embedded(split: Split) -> Pictures:
    """The embedded pictures of ``split``.

    Raises:
        DataError: the installed file is damaged.
    """
    file = resources.files(__name__).joinpath("fashion-mnist.zip")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise DataError(f"{file} is damaged: its sha256 differs; install reslab again")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pixels = _idx(archive.read(f"{MEMBERS[split]}-images-idx3-ubyte"))
        labels = _idx(archive.read(f"{MEMBERS[split]}-labels-idx1-ubyte"))
    return Pictures(NAME, split, pixels[:, None], labels.long(), CLASSES)


def _idx(data: bytes) -> Tensor:
    dimensions = data[3]
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return torch.frombuffer(bytearray(data[4 + 4 * dimensions :]), dtype=torch.uint8).reshape(shape)
