"""The layer names of the authors' released networks (ResNet-50, 101 and 152), and which of our modules each one is."""

from collections.abc import Iterator
from typing import Final

from reslab.models.architecture import DEPTHS

RELEASED: Final = (50, 101, 152)
LETTERED: Final = {50: (2, 3, 4, 5), 101: (2, 5), 152: (2, 5)}  # stages whose blocks are a, b, c; else a, b1, b2


def caffe_layer_names(depth: int) -> dict[str, str]:
    """The authors' name of each convolution, batch normalisation and classifier, by our module's path.

    ``layer1.0.conv1`` is ``res2a_branch2a``, ``layer1.0.downsample.0`` is ``res2a_branch1``, ``fc`` is ``fc1000``; a
    batch normalisation is named as its convolution with ``bn`` for ``res``, and its scale and shift with ``scale``.

    Args:
        depth: 50, 101 or 152.
    """
    names = {"conv1": "conv1", "bn1": "bn_conv1", "fc": "fc1000"}
    for stage, count in enumerate(DEPTHS[depth][1], start=2):
        for block in range(count):
            theirs = f"{stage}{_block_name(block, lettered=stage in LETTERED[depth])}"
            for convolution, normalisation, branch in _layers(block):
                ours = f"layer{stage - 1}.{block}"
                names[f"{ours}.{convolution}"] = f"res{theirs}_{branch}"
                names[f"{ours}.{normalisation}"] = f"bn{theirs}_{branch}"
    return names


def _block_name(block: int, *, lettered: bool) -> str:
    return "abcdefgh"[block] if lettered or block == 0 else f"b{block}"


def _layers(block: int) -> Iterator[tuple[str, str, str]]:
    if block == 0:
        yield "downsample.0", "downsample.1", "branch1"
    for number, letter in enumerate("abc", start=1):
        yield f"conv{number}", f"bn{number}", f"branch2{letter}"
