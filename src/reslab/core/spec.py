"""Frozen settings: an unknown key is refused with the nearest name, equal settings have equal digests."""

import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from reslab.core.errors import SpecError, unknown
from reslab.core.files import canonical_json, sha256_text

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # a sha256 in hexadecimal


class Spec(BaseModel):
    """A frozen value of plain data, equal exactly when its canonical JSON is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def canonical_json(self) -> str:
        """Sorted keys, no spaces, every default written out."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """The sha256 of `canonical_json`, in hexadecimal."""
        return sha256_text(self.canonical_json())

    def but(self, changes: Mapping[str, Any]) -> Self:
        """A copy with ``changes`` laid over it, nested mappings key by key.

        Raises:
            SpecError: as `parse` does.
        """
        return self.parse(overlay(self.model_dump(mode="json"), changes))

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str = "the spec") -> Self:
        """Check ``values`` and freeze them.

        Raises:
            SpecError: one line that names ``source``, the key, what is wrong and, for an unknown key, the nearest name.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecError(f"{source}: {_explain(cls, error.errors()[0])}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        SpecError: if the file is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not TOML: {error}") from None


def overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, nested mappings key by key."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = overlay(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def differing(first: Spec, second: Spec) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, by dotted key, with both values as plain JSON; None: it has no such setting."""
    ours, theirs = (flat(spec.model_dump(mode="json")) for spec in (first, second))
    keys = dict.fromkeys((*ours, *theirs))
    return {key: (ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)}


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key, each after ``prefix``."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {prefix + key: item}
    return found


def _explain(spec: type[Spec], detail: ErrorDetails) -> str:
    parents = list(detail["loc"][:-1])
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        prefix = "".join(f"{part}." for part in parents)
        return unknown("key", where, [prefix + name for name in _field_names(spec, parents)])
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return f"{where} is {detail['input']!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _field_names(spec: type[Spec], parents: list[int | str]) -> list[str]:
    for part in parents:
        annotation = spec.model_fields[str(part)].annotation
        options = (annotation, *typing.get_args(annotation))
        spec = next(option for option in options if isinstance(option, type) and issubclass(option, Spec))
    return list(spec.model_fields)
