"""What tells apart what would be called the same: the settings that differ."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reslab.core.text import few
from reslab.report.departures import word

MOST: Final = 3  # settings that are named where fewer would do
GROUPS: Final = frozenset(("recipe", "photographs", "contract", "model", "optim", "schedule", "augment", "init"))

Settings = Mapping[str, Any]  # by dotted key, as `reslab.core.spec.flat` has them


def told_apart(names: Sequence[str], settings: Sequence[Settings]) -> list[str]:
    """What each name lacks: nothing, or ``crop 192`` where others of this name have other settings.

    Those of equal names and settings stay alike.

    Args:
        names: of things.
        settings: of each.
    """
    alike: dict[str, list[Settings]] = {}
    for name, own in zip(names, settings, strict=True):
        alike.setdefault(name, []).append(own)
    keys = {name: _differing(group) for name, group in alike.items()}
    return [_said(own, *keys[name]) for name, own in zip(names, settings, strict=True)]


def _differing(group: Sequence[Settings]) -> tuple[list[str], int]:
    """The settings that differ, those first that tell all apart; and how many of them are to be named."""
    words = {key: [_word(own, key) for own in group] for key in dict.fromkeys(key for own in group for key in own)}
    keys = [key for key, said in words.items() if len(set(said) - {""}) > 1]
    needed: list[str] = []
    parts = 1
    for key in keys:
        told = len(set(zip(*(words[one] for one in (*needed, key)), strict=True)))
        if told > parts:
            needed, parts = [*needed, key], told
    return [*needed, *(key for key in keys if key not in needed)], max(MOST, len(needed))


def _said(own: Settings, keys: Sequence[str], most: int) -> str:
    return few([f"{_title(key)} {text}" for key in keys if (text := _word(own, key))], most)


def _word(own: Settings, key: str) -> str:
    """The setting in a word; nothing where what it belongs to is none."""
    if key in own:
        return word(own[key])
    return "set" if any(one.startswith(f"{key}.") for one in own) else ""


def _title(key: str) -> str:
    """``area share`` for ``recipe.photographs.area.share``."""
    *above, last = key.split(".")
    return " ".join([*(one for one in above if one not in GROUPS), last]).replace("_", " ")
