"""SGD as the paper has it: momentum, not Nesterov; weight decay added to the gradient."""

from torch import Tensor, nn, optim

from reslab.core.experiment import Optimizer


def make_optimizer(net: nn.Module, spec: Optimizer) -> optim.SGD:
    """SGD over two groups, with and without weight decay (sections 3.4, 4.2).

    Parameters are grouped by the type of the module that owns them, never by name: with ``conv_fc_weights`` the
    weights of convolutions and of the classifier decay; biases and batch normalisation do not.
    """
    decayed, free = decay_groups(net, spec)
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return optim.SGD(
        [group for group in groups if group["params"]], lr=spec.lr, momentum=spec.momentum, nesterov=False, fused=True
    )


def decay_groups(net: nn.Module, spec: Optimizer) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that decay and those that do not; together every parameter once."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            weight = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight"
            (decayed if weight or spec.decay == "all" else free).append(parameter)
    return decayed, free


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Use ``rate`` in the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate
