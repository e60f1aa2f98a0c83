"""The authors' released networks, as Caffe and Keras have them."""

import re

import torch

from reslab.models.architecture import Architecture, imagenet
from reslab.weights.layout import Tensors


def released(depth: int, classes: int = 10) -> Architecture:
    return imagenet(depth, shortcut="B", stride_on="1x1", pool="caffe", width=64, classes=classes, bn_eps=1e-5)


def their_layer(module: str, depth: int) -> str:
    """The authors' name for our convolution, normalisation or classifier: ``layer3.4.bn2`` is ``bn4e_branch2b``."""
    if module in ("conv1", "bn1", "fc"):
        return {"conv1": "conv1", "bn1": "bn_conv1", "fc": "fc1000"}[module]
    stage, block, inner = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", module).groups()  # type: ignore[union-attr]
    numbered = depth > 50 and stage in "23" and block != "0"
    name = f"{int(stage) + 1}{f'b{block}' if numbered else chr(ord('a') + int(block))}"
    if inner.startswith("downsample"):
        return f"{'res' if inner.endswith('0') else 'bn'}{name}_branch1"
    return f"{'res' if inner.startswith('conv') else 'bn'}{name}_branch2{'abc'[int(inner[-1]) - 1]}"


def counted(tensors: Tensors) -> Tensors:
    """Caffe counts no batches."""
    return {name: torch.tensor(0) if name.endswith("tracked") else tensor for name, tensor in tensors.items()}
