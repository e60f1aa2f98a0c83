"""A network of ours as the list of Caffe's layers that compute the same, from its trace."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.fx import Graph, GraphModule, Node, symbolic_trace
from torch.fx.passes.shape_prop import ShapeProp

from reslab.models.network import ResNet

Layer = dict[str, str]


def caffe_layers(net: ResNet, names: dict[str, str], side: int = 224) -> list[Layer]:
    """For one square picture.

    Args:
        net: on the meta device.
        names: Caffe's layer of each module with weights.
        side: pixels of the picture.
    """
    traced = symbolic_trace(net)
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.empty(1, 3, side, side, device="meta"))
    return list(Caffe(traced, names).layers())


class Caffe:
    """A traced network in Caffe's terms: normalisation in two layers, and those that keep the shape in place.

    ``blobs`` has the name of what each node gives out; an identity passes on what came in.
    """

    def __init__(self, traced: GraphModule, names: dict[str, str]) -> None:
        self.traced, self.names = traced, names
        self.blobs: dict[Node, str] = {}

    def layers(self) -> Iterator[Layer]:
        for node in in_file_order(self.traced.graph):
            bottoms = [self.blobs[source] for source in shortcut_first(node)]
            for layer in self.of(node, bottoms):
                yield {key: written(value) for key, value in layer.items()}
                bottoms = [str(layer["top"])]
            self.blobs[node] = bottoms[0] if bottoms else "data"

    def of(self, node: Node, bottoms: list[str]) -> list[dict[str, object]]:
        if node.op == "output":  # of logits; the authors' file goes on to the scores
            return [{"name": "prob", "type": "Softmax", "bottom": bottoms, "top": "prob"}]
        if node.op != "call_module":
            return [self.eltwise(node, bottoms)] if len(bottoms) == 2 else []
        module, path = self.traced.get_submodule(str(node.target)), str(node.target)
        if isinstance(module, nn.ReLU):
            assert module.inplace
            return [{"name": f"{bottoms[0]}_relu", "type": "ReLU", "bottom": bottoms, "top": bottoms[0]}]
        if isinstance(module, nn.BatchNorm2d):
            return normalisation(self.names[path], module, bottoms)
        if isinstance(module, nn.Identity | nn.Flatten):
            return []
        name = {"maxpool": "pool1", "avgpool": "pool5"}.get(path) or self.names[path]
        shapes = {"in_shape": shape(node.all_input_nodes[0]), "out_shape": shape(node)}
        return [{"name": name, "bottom": bottoms, "top": name, **fields(module, *shapes.values()), **shapes}]

    def eltwise(self, node: Node, bottoms: list[str]) -> dict[str, object]:
        name = bottoms[1].partition("_branch")[0]
        return {"name": name, "type": "Eltwise", "bottom": bottoms, "top": name, "out_shape": shape(node)}


def in_file_order(graph: Graph) -> list[Node]:
    """A projection before the branch that it goes around, everything after what it needs."""
    done: dict[Node, None] = {}
    waiting = [node for node in graph.nodes if node.op == "output"]
    while waiting:
        missing = [source for source in shortcut_first(waiting[-1]) if source not in done]
        if missing:
            waiting.append(missing[0])
        else:
            done[waiting.pop()] = None
    return list(done)


def shortcut_first(node: Node) -> list[Node]:
    return sorted(node.all_input_nodes, key=lambda source: "downsample" not in str(source.target))


def normalisation(name: str, module: nn.BatchNorm2d, bottoms: list[str]) -> list[dict[str, object]]:
    assert module.affine
    frozen = module.track_running_stats and not module.training
    layers = (
        {"name": name, "type": "BatchNorm", "use_global_stats": frozen},
        {"name": name.replace("bn", "scale", 1), "type": "Scale", "bias": module.bias is not None},
    )
    return [{**layer, "bottom": bottoms, "top": bottoms[0]} for layer in layers]


def fields(module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> dict[str, object]:
    match module:
        case nn.Conv2d():
            assert (module.dilation, module.groups, module.padding_mode) == ((1, 1), 1, "zeros")
            window = {"kernel": module.kernel_size, "stride": module.stride, "pad": module.padding}
            return {"type": "Convolution", **window, "outputs": module.out_channels, "bias": module.bias is not None}
        case nn.MaxPool2d():
            window = {"kernel": module.kernel_size, "stride": module.stride, "pad": module.padding}
            return {"type": "Pooling", **window, "pool": "MAX"}
        case nn.AdaptiveAvgPool2d():
            assert outputs[1:] == (1, 1)
            return {"type": "Pooling", "kernel": inputs[1:], "stride": 1, "pad": 0, "pool": "AVE"}
        case nn.Linear():
            return {"type": "InnerProduct", "outputs": module.out_features, "bias": module.bias is not None}
    raise AssertionError(module)


def shape(node: Node) -> tuple[int, ...]:
    """Of one picture: channels, height and width; a vector's are 1."""
    return (*node.meta["tensor_meta"].shape[1:], 1, 1)[:3]


def written(value: object) -> str:
    """As in the golden files: one number for a square, three for a shape."""
    if isinstance(value, tuple):
        assert len(value) == 3 or len(set(value)) == 1
        return "x".join(map(str, value)) if len(value) == 3 else str(value[0])
    return ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
