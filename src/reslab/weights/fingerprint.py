"""What weights say of themselves: whose they are, how their pictures were prepared, which classes they know."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import pydantic

from reslab.core.errors import DataError
from reslab.core.files import canonical_json
from reslab.core.units import counted
from reslab.models.architecture import Architecture


@dataclass(frozen=True)
class Fingerprint:
    """The identity that travels with weights.

    Args:
        architecture: of the network.
        preprocessing: how a picture becomes its input: the preprocessing contract, as checkpoints keep it.
        classes: their names, in the order of the outputs.
    """

    architecture: Architecture
    preprocessing: dict[str, Any]
    classes: tuple[str, ...]

    def to_json(self) -> str:
        """Canonical JSON: equal fingerprints are equal texts."""
        return canonical_json(asdict(self))


_ADAPTER = pydantic.TypeAdapter(Fingerprint)


def parse_fingerprint(text: str, place: object) -> Fingerprint:
    """Read what `Fingerprint.to_json` wrote.

    Args:
        text: from a file that anyone may have written.
        place: its name in messages.

    Raises:
        DataError: it is none.
    """
    try:
        found = _ADAPTER.validate_python(json.loads(text))
    except (ValueError, RecursionError) as error:
        why = (
            error.errors()[0]["msg"].removeprefix("Value error, ")
            if isinstance(error, pydantic.ValidationError)
            else "no JSON"
        )
        raise DataError(f"{place}: its fingerprint is damaged: {why}") from None
    if len(found.classes) != found.architecture.classes:
        outputs, classes = counted(found.architecture.classes, "output"), counted(len(found.classes), "class")
        raise DataError(f"{place}: its fingerprint is damaged: {outputs}, {classes}")
    return found
