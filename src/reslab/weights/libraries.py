"""Whose weights are read, and for whom they are written; without torch."""

from typing import Literal

Library = Literal["torchvision", "timm", "akamaster", "keras-tfjs", "caffe"]
Target = Literal["torchvision", "timm", "safetensors"]
