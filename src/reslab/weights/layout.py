"""The layout that torchvision, timm and reslab share: which network tensors are of, and whether all are there."""

import re
from typing import Final

import torch
from torch import Tensor

from reslab.core.errors import DataError
from reslab.core.text import printable
from reslab.models.architecture import DEPTHS, Architecture, BlockKind, Kind, StrideOn, imagenet
from reslab.models.resnet import blueprint

Tensors = dict[str, Tensor]

COUNTER: Final = "num_batches_tracked"
NAMED: Final = 3  # tensors of each sort in a message
LONGEST: Final = 100  # letters of each
FOREIGN: Final = {  # what gives a network away that has torchvision's names and is none of the paper's
    r"conv1\.0\.": "a stem of three 3x3 convolutions (ResNet-C or D)",
    r"\.se\.": "squeeze-and-excitation",
    r"downsample\.2\.": "average pooling in the shortcuts (ResNet-D)",
    r"(norm|attn|patch_embed|features)": "another kind of network",
}


def identify(tensors: Tensors, place: object, *, stride_on: StrideOn) -> Architecture:
    """The network of Table 1 that tensors with torchvision's names are of, with shortcut B or C.

    Args:
        tensors: by name.
        place: where they are from, for messages.
        stride_on: where bottlenecks stride, which no tensor shows.

    Raises:
        DataError: they are of none.
    """
    for pattern, what in FOREIGN.items():
        if any(re.search(pattern, name) for name in tensors):
            raise DataError(f"{place} has {what}, which no network of the paper has")
    stem, head = tensors.get("conv1.weight"), tensors.get("fc.weight")
    if stem is None or head is None or stem.dim() != 4 or head.dim() != 2:
        known = _first(list(tensors))
        raise DataError(f"{place} has no conv1.weight and fc.weight as torchvision's ResNets have (it has {known})")
    block: BlockKind = "bottleneck" if "layer1.0.conv3.weight" in tensors else "basic"
    depth = _depth(block, _repeats(tensors), place)
    _refuse_wider(tensors, block, stem.shape[0], place)
    return imagenet(
        depth,
        shortcut=_shortcut(tensors),
        stride_on=stride_on,
        pool="pad1",
        width=stem.shape[0],
        classes=head.shape[0],
        bn_eps=1e-5,  # torchvision's and timm's
    )


def fitted(tensors: Tensors, architecture: Architecture, place: object) -> Tensors:
    """Just the tensors that ``architecture`` takes, all of them; counters of batches that are not there are zero.

    Raises:
        DataError: some are missing, left over or of another shape; the first three of each sort are named.
    """
    return fitted_to(blueprint(architecture).state_dict(), tensors, place, architecture.name)


def fitted_to(wanted: Tensors, tensors: Tensors, place: object, network: str) -> Tensors:
    """`fitted`, where ``wanted`` are the tensors of the network that is called ``network``."""
    whole = {name: torch.zeros((), dtype=torch.int64) for name in wanted if name.endswith(COUNTER)} | tensors
    require_same(whole, wanted, place, network)
    for name, tensor in wanted.items():
        if tensor.is_floating_point() and not whole[name].is_floating_point():
            raise DataError(f"{place}: {name} holds {str(whole[name].dtype).removeprefix('torch.')}, not floats")
    return {name: whole[name].long() if name.endswith(COUNTER) else whole[name] for name in wanted}


def require_usable(tensors: Tensors, place: object) -> None:
    """Refuse numbers with which a network can only give none.

    Raises:
        DataError: the first tensor that has a value that is not finite, or a negative variance.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise DataError(f"{place}: {name} has values that are not finite")
        if name.endswith("running_var") and (tensor < 0).any():
            raise DataError(f"{place}: {name} has negative variances")


def require_same(given: Tensors, wanted: Tensors, place: object, network: str) -> None:
    """Compare names and shapes.

    Args:
        given: what is there.
        wanted: what ``network`` takes.
        place: where ``given`` is from.
        network: its name.

    Raises:
        DataError: they differ; one line with the first three tensors of each sort, and the likely cause.
    """
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    other = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    if not (missing or extra or other):
        return
    shapes = [f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}" for name in other]
    found = [("missing", missing), ("left over", extra), ("misshapen", shapes)]
    told = "; ".join(f"{kind}: {_first(names)}" for kind, names in found if names)
    raise DataError(
        f"{place} has the weights of another architecture than {network}: {told}"
        f" (likely cause: {_cause(missing, extra, other)})"
    )


def _first(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(printable(name[:LONGEST]) for name in names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _cause(missing: list[str], extra: list[str], other: list[str]) -> str:
    everything = [*missing, *extra, *other]
    if all(name.startswith("fc.") for name in everything):
        return "another number of classes" if other else "a classifier of another name"
    if all("downsample" in name for name in everything):
        return "another shortcut option"
    if missing and not extra and not other:
        return "a shallower network, or a file that was cut short"
    if extra and not missing and not other:
        return "a deeper network, or one with more parts"
    if other and all(name.startswith("conv1.") for name in other) and not missing:
        return "another stem: ImageNet's is 7x7, CIFAR's 3x3"
    if other and not missing and not extra:
        return "another width"
    return "other blocks, another depth, or another library's names"


def _repeats(tensors: Tensors) -> tuple[int, ...]:
    blocks: dict[int, set[int]] = {}
    for name in tensors:
        if found := re.match(r"layer(\d{1,3})\.(\d{1,4})\.", name):
            blocks.setdefault(int(found[1]), set()).add(int(found[2]))
    return tuple(len(blocks[stage]) for stage in sorted(blocks))


def _depth(block: BlockKind, repeats: tuple[int, ...], place: object) -> int:
    for depth, row in DEPTHS.items():
        if row == (block, repeats):
            return depth
    raise DataError(f"{place} has {list(repeats)} {block} blocks in its stages, as no network of Table 1 has")


def _refuse_wider(tensors: Tensors, block: BlockKind, width: int, place: object) -> None:
    inner = tensors.get("layer1.0.conv2.weight")
    if block != "bottleneck" or inner is None or inner.dim() != 4 or inner.shape[:2] == (width, width):
        return
    grouped = inner.shape[1] < inner.shape[0]
    what = "grouped convolutions (ResNeXt)" if grouped else "wider bottlenecks (Wide ResNet)"
    raise DataError(f"{place} has {what}, which no network of the paper has")


def _shortcut(tensors: Tensors) -> Kind:
    return "C" if any(re.match(r"layer\d+\.1\.downsample", name) for name in tensors) else "B"
