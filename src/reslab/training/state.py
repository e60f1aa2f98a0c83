"""Between a `Training` and a checkpoint's parts: everything, by name, bit for bit."""

from dataclasses import asdict
from typing import Any

import torch

from reslab.core.errors import CheckpointError
from reslab.training.checkpoint import Checkpoint, Parts
from reslab.training.optimizer import MOMENTUM
from reslab.training.schedule import Progress
from reslab.training.step import Training


def parts_of(training: Training) -> Parts:
    """Weights and statistics, momentum by parameter name, and the window."""
    state = training.optimizer.state
    named = training.net.named_parameters()
    momentum = {name: state[p][MOMENTUM] for name, p in named if state.get(p, {}).get(MOMENTUM) is not None}
    return {"model": dict(training.net.state_dict()), "momentum": momentum, "window": training.window.tensors()}


def facts_of(training: Training) -> dict[str, Any]:
    """The plain part of the state."""
    return {
        "step": training.step,
        "warm_up_ended": training.warm_up_ended,
        "plateau": asdict(training.plateau),
        "seconds": training.seconds,
    }


def restore(training: Training, checkpoint: Checkpoint) -> None:
    """Put ``training`` into the state that ``checkpoint`` holds.

    Raises:
        CheckpointError: the checkpoint is of another network.
    """
    try:
        training.net.load_state_dict(checkpoint.parts["model"])
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{checkpoint.path} is of another network: {why}") from None
    parameters = dict(training.net.named_parameters())
    for name, stored in checkpoint.parts["momentum"].items():
        parameter = parameters[name]
        training.optimizer.state[parameter][MOMENTUM] = torch.empty_like(parameter).copy_(stored)
    for name, tensor in training.window.tensors().items():
        tensor.copy_(checkpoint.parts["window"][name])
    training.step = checkpoint.facts["step"]
    training.warm_up_ended = checkpoint.facts["warm_up_ended"]
    training.plateau = Progress(**checkpoint.facts.get("plateau", {}))  # earlier versions heeded none
    training.seconds = checkpoint.facts["seconds"]
