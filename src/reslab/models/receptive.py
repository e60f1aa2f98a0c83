"""How much of the picture one place of a map sees."""

from collections.abc import Sequence

from reslab.models.trace import Step


def receptive_fields(steps: Sequence[Step]) -> list[int]:
    """Pixels a side of the input that one place of each step's output sees, along the longest path.

    A kernel of k places widens the field by k - 1 steps of what comes in, and one such step is as many pixels as all
    strides before it multiply to. The longest path is F of every block: a shortcut of the same stride has kernels of
    1x1. Where the field is larger than the picture, what lies outside is padding.

    Args:
        steps: of a whole network, as `trace` finds them.
    """
    field = apart = 1
    fields = []
    for step in steps:
        if not step.in_shortcut:
            field += (step.kernel - 1) * apart
            apart *= step.stride
        fields.append(field)
    return fields
