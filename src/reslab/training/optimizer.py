"""SGD as the paper has it: momentum, not Nesterov; weight decay added to the gradient."""

import torch
from torch import Tensor, nn, optim

from reslab.core.experiment import Optimizer

MOMENTUM = "momentum_buffer"  # torch's name for it


def make_optimizer(net: nn.Module, spec: Optimizer, head: nn.Module | None = None, body_rate: float = 1.0) -> optim.SGD:
    """SGD over groups with and without weight decay (sections 3.4, 4.2); frozen parameters are in none.

    Parameters are grouped by the type of the module that owns them, never by name: with ``conv_fc_weights`` the
    weights of convolutions and of the classifier decay; biases and batch normalisation do not.

    Args:
        net: the network.
        spec: rate, momentum, decay.
        head: the part that learns at the full rate; None: all of it.
        body_rate: the rate of the rest, as a part of the full rate.
    """
    decayed, free = decay_groups(net, spec)
    full = set(net.parameters() if head is None else head.parameters())
    groups = [
        {"params": [p for p in chosen if (p in full) == at_full], "weight_decay": decay, "scale": scale}
        for at_full, scale in ((True, 1.0), (False, body_rate))
        for chosen, decay in ((decayed, spec.weight_decay), (free, 0.0))
    ]
    return optim.SGD(
        [group for group in groups if group["params"]], lr=spec.lr, momentum=spec.momentum, nesterov=False, fused=True
    )


def decay_groups(net: nn.Module, spec: Optimizer) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that decay and those that do not; together every parameter that is not frozen, once."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            weight = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight"
            if parameter.requires_grad:
                (decayed if weight or spec.decay == "all" else free).append(parameter)
    return decayed, free


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Use ``rate`` in the next update, scaled as each group asks."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * group["scale"])
        else:
            group["lr"] = rate * group["scale"]


def keep_on_device(optimizer: optim.SGD) -> None:
    """Hold rates and momentum in tensors that stay where they are, so that an update can be recorded and replayed.

    A momentum of zeros gives the same first update as none.
    """
    for group in optimizer.param_groups:
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=group["params"][0].device)
        for parameter in group["params"]:
            if optimizer.state[parameter].get(MOMENTUM) is None:
                optimizer.state[parameter][MOMENTUM] = torch.zeros_like(parameter)
