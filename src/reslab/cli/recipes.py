"""``reslab recipes``."""

import json as json_text
from dataclasses import asdict
from pathlib import Path

from reslab.cli.output import print_json, print_table, stdout
from reslab.core.experiment import Recipe
from reslab.core.rundir import RunDirectory
from reslab.core.spec import differing, flat
from reslab.core.text import printable
from reslab.experiments.recipes import RECIPES, about_recipe, named_recipe


def show(name: str, /, *, json: bool = False) -> None:
    """Say what a recipe is for, what it is expected to give, what it costs, how it is run, and all its settings.

    Of a run, the settings that its recipe has.

    Args:
        name: a recipe as `reslab list recipes` has it, or a run.
        json: print one JSON document.
    """
    settings = _recipe(name).model_dump(mode="json")
    about = about_recipe(name) if name in RECIPES else None
    if json:
        known = {"recipe": name, **asdict(about)} if about else {"run": name}
        print_json({**known, "settings": settings})
        return
    stdout().print(about.text if about else f"The recipe of the run {printable(name)}.", end="\n\n")
    print_table(("setting", "value"), [(key, json_text.dumps(value)) for key, value in flat(settings).items()])


def diff(first: str, second: str, /, *, json: bool = False) -> None:
    """Say in which settings two recipes differ, each with both values.

    Args:
        first: a recipe as `reslab list recipes` has it, or a run, whose recipe it stands for.
        second: another.
        json: print one JSON document.
    """
    found = differing(_recipe(first), _recipe(second))
    if json:
        print_json({key: list(both) for key, both in found.items()})
    elif found:
        rows = [(key, *map(json_text.dumps, both)) for key, both in found.items()]
        print_table(("setting", printable(first), printable(second)), rows)
    else:
        stdout().print("no setting differs")


def _recipe(name: str) -> Recipe:
    """A recipe's name comes before a folder's."""
    place = Path(name)
    is_run = name not in RECIPES and (place.is_dir() or len(place.parts) > 1)
    return RunDirectory.open(place).experiment.recipe if is_run else named_recipe(name)
