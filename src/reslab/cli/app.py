"""The verbs, and what becomes of their mistakes. Nothing heavy is imported before a verb runs."""

import itertools
import os
import re
import sys

from cyclopts import App, CycloptsError, Parameter

from reslab._version import __version__
from reslab.core.errors import ReslabError, SpecError, one_line, ran_out
from reslab.core.listening import heard_by

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
HERE = ("--out", "--train-archive", "--val-archive", "--devkit")  # as paths, URLs would be folders of such names

app = App(
    name="reslab",
    help="A laboratory for residual learning, after He, Zhang, Ren and Sun (2015).",
    version=__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=(), consume_multiple=True),
)
VERBS = {
    "list": ("show:list_names", "Name what there is: models, experiments, claims, data, recipes."),
    "show": ("show:show", "Show a model as Table 1 does, or an experiment as it would run."),
    "reproduce": ("reproduce:reproduce", "Carry out one experiment of the paper and report it beside the paper."),
    "train": ("train:train", "Train one network, exactly resumable."),
    "evaluate": ("evaluate:evaluate", "Test a trained network on every picture."),
    "compare": ("compare:compare", "Say which of two networks is better, by how much, and how sure that is."),
    "predict": ("predict:predict", "Say what is on pictures."),
    "claims": ("report:claims", "Judge the paper's claims on finished runs."),
    "report": ("report:report", "Write a page with table, figure and verdicts of finished runs."),
    "bench": ("bench:bench", "Measure speed here against rivals, and say which settings are best."),
}
GROUPS = {
    "data": (
        "Look after data sets.",
        {
            "prepare": ("prepare:prepare", "Make folders or shards from a data set's official archives."),
            "pack": ("pack:pack", "Pack a folder of photographs into shards."),
            "verify": ("data:verify", "Read every picture: what is wrong, what unusual."),
            "stats": ("stats:stats", "Measure the pixels: mean, deviation, principal colours, mean image."),
        },
    ),
    "recipes": (
        "Look into recipes.",
        {
            "show": ("recipes:show", "Say what a recipe is for, gives and costs, and its settings; or those of a run."),
            "diff": ("recipes:diff", "Say in which settings two recipes differ."),
        },
    ),
    "weights": (
        "Bring in other libraries' weights, and write them for others.",
        {
            "import": ("weights:import_", "Bring in another library's weights."),
            "inspect": ("weights:inspect", "Say what weights are."),
            "export": ("weights:export", "Write trained weights for another library."),
        },
    ),
}
for verb, (place, purpose) in VERBS.items():
    app.command(f"reslab.cli.{place}", name=verb, help=purpose)
for group, (about, verbs) in GROUPS.items():
    inner = App(name=group, help=about, help_format="markdown")
    for verb, (place, purpose) in verbs.items():
        inner.command(f"reslab.cli.{place}", name=verb, help=purpose)
    app.command(inner)


def run(arguments: list[str]) -> int:
    """Carry out one command line.

    Returns:
        0; 1 for a failure; 2 for a user's mistake; 128 + number where a signal stopped it.
    """
    try:
        with heard_by(lambda text: print(f"reslab: warning: {text}", file=sys.stderr, flush=True)):
            _refuse_urls(arguments)
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (CycloptsError, ReslabError) as error:
        print(f"reslab: {one_line(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, ReslabError) else 2
    except KeyboardInterrupt:
        print("reslab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"reslab: {one_line(error)}", file=sys.stderr)
        return 1
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        print(f"reslab: memory ran out: {one_line(error) or 'this process may have no more'}", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0


def _refuse_urls(arguments: list[str]) -> None:
    words = [word for argument in arguments for word in argument.split("=", 1)]
    for flag, value in itertools.pairwise(words):
        if flag in HERE and re.match(r"[a-z][a-z0-9+.-]*://", value):
            raise SpecError(f"{flag} takes a path of this machine, and {value} is a URL")
