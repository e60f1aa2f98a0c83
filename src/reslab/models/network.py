"""The body that all of the paper's networks share: a stem, stages of blocks, a classifier."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import Init
from reslab.models.architecture import Architecture, Kind, StrideOn
from reslab.models.blocks import Block
from reslab.models.init import USUAL, initialise
from reslab.models.recompute import recomputed

Stem = OrderedDict[str, nn.Module]
STEM: Final = "stem"  # what a user calls the first convolution with its batch normalisation


class Stage(nn.Sequential):
    """Blocks of one map size; with `activation_checkpointing` each keeps its input alone for the backward pass."""

    activation_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the last block's output."""
        again = self.activation_checkpointing and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        for block in self:
            x = recomputed(block, x) if again else block(x)
        return x


class ResNet(nn.Sequential):
    """A stem, stages of blocks, global average pooling and a classifier; fully convolutional up to the pooling.

    Made by `resnet`, `cifar_resnet` or `build`, which know its ``architecture``.

    Args:
        stem: named layers in front of the first stage, ending in ``width`` channels.
        block: `BasicBlock` or `Bottleneck`.
        repeats: blocks of each stage; every stage but the first halves the map and doubles the filters.
        width: filters of the first stage.
        classes: outputs of the classifier.
        shortcut: ``none`` makes the plain network.
        stride_on: see `Bottleneck`.
    """

    architecture: Architecture | None = None
    frozen: tuple[str, ...] = ()

    def __init__(
        self,
        stem: Stem,
        block: type[Block],
        repeats: Sequence[int],
        width: int,
        classes: int,
        shortcut: Kind,
        stride_on: StrideOn = "1x1",
    ) -> None:
        layers = OrderedDict(stem)
        inputs = width
        for stage, count in enumerate(repeats):
            filters, stride = width * 2**stage, 1 if stage == 0 else 2
            blocks = []
            for _ in range(count):
                blocks.append(block(inputs, filters, stride, shortcut, stride_on))
                inputs, stride = filters * block.expansion, 1
            layers[f"layer{stage + 1}"] = Stage(*blocks)
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(inputs, classes)
        super().__init__(layers)
        self.smallest_input = (4 if "maxpool" in stem else 1) * 2 ** (len(repeats) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), any H and W from ``smallest_input`` up, to logits (N, classes).

        Raises:
            SpecError: the pictures are smaller than one place of the last map stands for.
        """
        require_size(x, self.smallest_input)
        for layer in self:
            x = layer(x)
        return x

    def score_map(self, x: Tensor, window: int) -> Tensor:
        """Logits at every place where ``window`` by ``window`` places of the last map are pooled (stride 1).

        Args:
            x: as for `forward`.
            window: the sides of the last map at the size that the network was trained with: 7 on ImageNet, 8 on CIFAR.

        Returns:
            (N, classes, h, w); of a map of just the window's size 1x1, with the logits that `forward` gives.

        Raises:
            SpecError: the pictures are too small.
        """
        last = list(self.features(x).values())[-1]
        fc = self.get_submodule("fc")
        pooled = F.avg_pool2d(last, window, stride=1)
        logits: Tensor = fc(pooled.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return logits

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The output of each stage, ``conv2_x`` to ``conv5_x`` (Table 1), ``layer1`` to ``layer3`` on CIFAR.

        Args:
            x: as for `forward`.

        Returns:
            (N, C, H, W) each; the last has a 32nd of the picture's sides (CIFAR: a quarter), as a rule rounded up.

        Raises:
            SpecError: the pictures are too small.
        """
        require_size(x, self.smallest_input)
        titles = {module: title for title, module in self.stages().items()}
        found: dict[str, Tensor] = {}
        for layer in self:
            if len(found) == len(titles):
                break
            x = layer(x)
            if layer in titles:
                found[titles[layer]] = x
        return found

    def stages(self) -> dict[str, Stage]:
        """The stages by name: Table 1's for ImageNet's networks, the modules' for CIFAR's."""
        children = dict(self.named_children())
        found = {title: children[name] for title, name in stage_titles(self).items()}
        return {title: stage for title, stage in found.items() if isinstance(stage, Stage)}

    def freeze(self, *parts: str) -> Self:
        """Let parts of the network learn nothing more: neither weights nor batch statistics; returns the network.

        Args:
            parts: of ``stem``, ``layer1``, ``layer2``, ...; any that were frozen before stay so.

        Raises:
            SpecError: the network has no such part.
        """
        known = self._parts()
        for part in parts:
            if part not in known:
                raise SpecError(unknown("part of this network", part, known))
        self.frozen = tuple(name for name in known if name in {*self.frozen, *parts})
        for module in self._frozen_modules():
            module.requires_grad_(requires_grad=False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 torch's own signature
        """Training or evaluation mode; frozen parts stay in evaluation."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def replace_head(self, classes: int, generator: torch.Generator | None = None, init: Init = USUAL) -> Self:
        """Put a new classifier in the place of the old one, initialised; returns the network.

        Args:
            classes: its outputs.
            generator: as for `resnet`.
            init: as for `resnet`.

        Raises:
            SpecError: no outputs.
        """
        if classes < 1:
            raise SpecError(f"classes must be positive, not {classes}")
        old = self.get_submodule("fc")
        assert isinstance(old, nn.Linear)
        with torch.device("meta"):
            new = nn.Linear(old.in_features, classes)
        if not old.weight.is_meta:
            with torch.device("cpu"):
                new = initialise(new, generator, init).to(old.weight.device, old.weight.dtype)
        self.add_module("fc", new)
        if self.architecture is not None:
            self.architecture = replace(self.architecture, classes=classes)
        return self

    def checkpoint_activations(self, *, on: bool = True) -> Self:
        """Keep one tensor a block for the backward pass and compute the rest again: memory for time, no bit changed.

        Under torch.compile, which chooses itself what to keep, it has no effect.
        """
        for stage in self.stages().values():
            stage.activation_checkpointing = on
        return self

    def _parts(self) -> dict[str, tuple[str, ...]]:
        return {
            STEM: ("conv1", "bn1"),
            **{name: (name,) for name, child in self.named_children() if isinstance(child, Stage)},
        }

    def _frozen_modules(self) -> list[nn.Module]:
        parts = self._parts() if self.frozen else {}
        return [self.get_submodule(name) for part in self.frozen for name in parts[part]]


def stage_titles(net: nn.Module) -> dict[str, str]:
    """Which child each stage is, by its title: Table 1's for ImageNet's networks, the child's own name for CIFAR's."""
    children = [name for name, _ in net.named_children()]
    stages = [name for name in children if name.startswith("layer")]
    if "maxpool" not in children:
        return {name: name for name in stages}
    return {f"conv{number}_x": name for number, name in enumerate(stages, start=2)}


def require_size(x: Tensor, smallest: int) -> None:
    """Refuse pictures that are smaller than ``smallest`` pixels a side.

    Raises:
        SpecError: they are.
    """
    height, width = x.shape[-2:]
    if min(height, width) < smallest:
        raise SpecError(f"{width}x{height} pixels are too few for this network: it takes {smallest}x{smallest} or more")


torch.fx.wrap("require_size")  # a traced network checks sizes too
