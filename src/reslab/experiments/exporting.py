"""Weights to other libraries."""

from pathlib import Path

import safetensors.torch

from reslab.core.files import whole_folder, write_json, write_synced
from reslab.experiments.weights import Complete, Weights, complete, fingerprint, require_absent, store_weights
from reslab.training import checkpoint
from reslab.weights.export import require_expressible
from reslab.weights.layout import fitted
from reslab.weights.libraries import Target
from reslab.weights.timm import CONFIG, WEIGHTS, timm_config


def export_weights(weights: Weights, target: Target, out: Path) -> list[Path]:
    """Write weights for another library, or as reslab's own.

    Args:
        weights: of a run, an import or a file, that say what they are of.
        target: ``torchvision``: ``model.safetensors`` with its names; ``timm``: ``config.json`` too, a folder that
            ``timm.create_model("local-dir:FOLDER", pretrained=True)`` reads; ``safetensors``: reslab's own folder,
            whose ``model.safetensors`` says in its header what it is of.
        out: the folder to make; it must not be there.

    Returns:
        The files written.

    Raises:
        DataError: the weights do not say what they are of.
        SpecError: ``target`` cannot express the network.
        RunError: ``out`` is there.
        StorageError: ``out`` cannot be written.
    """
    architecture, inputs, classes, tensors = complete(weights)
    contract = weights.photographs.contract if weights.photographs else None
    require_expressible(architecture, contract, target)
    require_absent(out)
    tensors = fitted(tensors, architecture, weights.place)
    if target == "safetensors":
        store_weights(Complete(architecture, inputs, classes, tensors), out, {"step": weights.step})
        return sorted(out.iterdir())
    said = fingerprint(architecture, inputs, classes)
    with whole_folder(out) as partial:
        if target == "timm":
            assert contract is not None
            write_json(partial / CONFIG, timm_config(architecture, contract, classes))
        write_synced(partial / WEIGHTS[0], safetensors.torch.save(tensors, {checkpoint.HEADER: said}))
    return sorted(out.iterdir())
