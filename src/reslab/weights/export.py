"""What other libraries can express of a network, and what they cannot, by name."""

from typing import Final

from reslab.core.contract import Contract
from reslab.core.errors import SpecError
from reslab.models.architecture import BN_EPS, Architecture
from reslab.weights.libraries import Target

PLAIN: Final = 64  # filters of the first stage in torchvision's and timm's ResNets


def require_expressible(architecture: Architecture, form: Contract | None, target: Target) -> None:
    """Refuse what ``target`` would load and compute otherwise.

    Args:
        architecture: of the weights.
        form: how photographs are prepared; None: they are small pictures.
        target: torchvision and timm have the same ResNets; reslab's own files express everything.

    Raises:
        SpecError: one line that names all that cannot be expressed.
    """
    if target == "safetensors":
        return
    a = architecture
    lacking = {
        "CIFAR networks": a.family == "cifar",
        "plain networks": a.shortcut == "none",
        f"shortcut {a.shortcut}": a.shortcut in ("A", "C"),
        "a bottleneck's stride on 1x1 (v1)": a.stride_on == "1x1",
        "the pooling rule caffe": a.pool == "caffe",
        f"a width of {a.width}": a.family == "imagenet" and a.width != PLAIN,
        f"a BN eps of {a.bn_eps:g}": a.bn_eps != BN_EPS,
        "BGR pictures": target == "timm" and form is not None and form.order == "BGR",
        "a mean image": target == "timm" and form is not None and form.mean_image is not None,
        "the per-pixel mean of small pictures": target == "timm" and a.family == "imagenet" and form is None,
    }
    named = [what for what, lacks in lacking.items() if lacks]
    if named:
        raise SpecError(f"{target} cannot express {', '.join(named)}, so it would compute something else from {a.name}")
