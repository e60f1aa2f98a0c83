"""Weights to other libraries."""

from pathlib import Path

import safetensors.torch

from reslab.core.errors import RunError
from reslab.core.files import whole_folder, write_json, write_synced
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.weights import Weights, complete, facts_of_weights, fingerprint
from reslab.training import checkpoint
from reslab.weights.export import Target, require_expressible
from reslab.weights.layout import fitted
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
    architecture, inputs = complete(weights)
    assert weights.tensors is not None
    assert weights.classes is not None
    contract = inputs.settings.contract if isinstance(inputs, PhotoInputs) else None
    require_expressible(architecture, contract, target)
    if out.exists() or out.is_symlink():
        raise RunError(f"{out} is there already; take another --out")
    said = fingerprint(architecture, inputs, weights.classes)
    tensors = fitted(weights.tensors, architecture, weights.place)
    if target == "safetensors":
        facts = {**facts_of_weights(architecture, inputs, weights.classes), "step": weights.step}
        checkpoint.write(out, {checkpoint.MODEL: tensors, checkpoint.FORM: inputs.tensors()}, facts, said)
        return sorted(out.iterdir())
    with whole_folder(out) as partial:
        if target == "timm":
            assert contract is not None
            write_json(partial / CONFIG, timm_config(architecture, contract, weights.classes))
        write_synced(partial / WEIGHTS[0], safetensors.torch.save(tensors, {checkpoint.HEADER: said}))
    return sorted(out.iterdir())
