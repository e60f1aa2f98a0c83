from importlib.util import find_spec
from pathlib import Path

import torch

COUNTERPARTS = ("torchvision", "timm")


def define_operators() -> torch.library.Library | None:
    """What torchvision 0.28 describes on import but has only in its C library, which a torch of another build refuses.

    Its networks need neither operator.
    """
    spec = find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


if all(map(find_spec, COUNTERPARTS)):
    OPERATORS = define_operators()  # which go when this name goes
else:
    collect_ignore_glob = ["test_*.py"]
