"""What ``reslab evaluate`` says of several networks together."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from reslab.cli.output import print_table, stdout
from reslab.core.errors import SpecError
from reslab.core.files import require_file
from reslab.core.units import counted

if TYPE_CHECKING:
    from reslab.core.intervals import Count
    from reslab.evaluation.scores import Scores
    from reslab.experiments.stored import Mix, Mixed, Stored


@Parameter(name="*")
@dataclass(kw_only=True)
class EnsembleFlags:
    """Several networks together.

    Args:
        member_weights: how much each network's scores count; by default all the same.
        ensemble: six or cifar-six: take these networks of those given; ours, the paper does not publish its six.
        pairs: how often every two networks agree, and what averaging them gains.
        greedy: choose networks on one half of the pictures, and judge the choice on the other.
        server_file: write five answers a picture as ILSVRC's test server takes them; pictures need no labels then.
        server_classes: for that, a file with a wnid a line in the order of the server's class numbers.
    """

    member_weights: list[float] | None = None
    ensemble: str | None = None
    pairs: bool = False
    greedy: bool = False
    server_file: Path | None = None
    server_classes: Path | None = None

    def check(self, networks: int) -> None:
        """Find out, before anything is tested, whether so many networks can be treated as asked.

        Raises:
            SpecError: they cannot, or the flags do not go together.
            DataError: the server's classes cannot be read.
        """
        from reslab.evaluation.ensembles import shares_of
        from reslab.experiments.ensembles import require_preset, server_order

        if (self.server_file is None) != (self.server_classes is None):
            raise SpecError("--server-file and --server-classes go together: the server numbers classes its own way")
        if (self.pairs or self.greedy) and networks < 2:
            raise SpecError("--pairs and --greedy are about several networks")
        if (self.pairs or self.greedy) and self.member_weights:
            raise SpecError("--pairs and --greedy count all networks the same: leave --member-weights out")
        if self.ensemble is not None:
            require_preset(self.ensemble)
        elif self.member_weights and len(self.member_weights) != networks:
            raise SpecError(f"{counted(len(self.member_weights), 'weight')} for {counted(networks, 'network')}")
        if self.ensemble is None:
            shares_of(networks, self.member_weights)
        if self.server_file is not None:
            require_file(self.server_file)
        if self.server_classes is not None:
            server_order(self.server_classes)

    @property
    def server(self) -> tuple[Path, Path] | None:
        """The file of answers, and that of the server's classes."""
        return (
            None if self.server_file is None or self.server_classes is None else (self.server_file, self.server_classes)
        )

    def of(self, stored: "list[Stored]") -> "list[Stored]":
        """The members among ``stored``.

        Raises:
            SpecError: one is missing.
        """
        from reslab.experiments.ensembles import chosen

        return stored if self.ensemble is None else chosen(stored, self.ensemble)

    def carry_out(self, found: "Mixed", *, quiet: bool) -> dict[str, Any]:
        """Do what is asked, print it unless ``quiet``, and return it for ``--json``.

        Raises:
            DataError: the server's classes cannot be read.
            SpecError: they are not the network's, or there are too few pictures.
            StorageError: the server's file cannot be written.
        """
        from reslab.experiments.ensembles import greedy_json, greedy_of, pairs_json, pairs_of
        from reslab.experiments.stored import titles

        names = titles([one.stored for one in found.members])
        said: dict[str, Any] = {}
        if self.pairs:
            pairs = pairs_of(found.members)
            said["pairs"] = pairs_json(pairs)
            rows = [
                (names[one.first], names[one.second], f"{one.agreement:.2f}", f"{one.error:.2f}", f"{one.gain:+.2f}")
                for one in pairs
            ]
            if not quiet:
                print_table(("network", "and", "agree %", "error of both %", "gain, points"), rows, f"n={pairs[0].n:,}")
                stdout().print()
        if self.greedy:
            choice = greedy_of(found.members)
            said["greedy"] = greedy_json(choice)
            if not quiet:
                _print_greedy([names[number] for number in choice.chosen], choice.chosen_on, choice.judged_on)
                _print_others(choice.all_members, choice.best_single)
        served = self.serve([one.stored for one in found.members], found.scores)
        if served and not quiet:
            stdout().print(f"answers: {self.server_file}", soft_wrap=True)
        return {**said, **served}

    def answer(self, stored: "list[Stored]", how: "Mix", *, quiet: bool) -> dict[str, Any]:
        """Write the server's file of pictures without labels, say so unless ``quiet``, and describe it for ``--json``.

        Raises:
            SpecError: something is asked that needs labels, or the classes are not the network's.
            DataError: the server's classes cannot be read, or the scores are not of the same pictures.
            StorageError: the server's file cannot be written.
        """
        from reslab.experiments.stored import blend, titles

        if self.pairs or self.greedy:
            raise SpecError("--pairs and --greedy count right answers; these pictures have no labels")
        whole = blend(stored, how)
        said = self.serve(stored, whole.scores)
        if not quiet:
            names = " + ".join(titles(stored))
            stdout().print(f"{names}, {whole.protocol.name}, {whole.precision}: n={len(whole.scores):,} without labels")
            stdout().print(f"  views: {whole.protocol.sentence}\n  answers: {self.server_file}", soft_wrap=True)
        return {
            "protocol": whole.protocol.name,
            "views": whole.protocol.sentence,
            "average": whole.protocol.average,
            "precision": whole.precision,
            "n": len(whole.scores),
            **said,
            "members": [one.provenance() for one in stored],
        }

    def serve(self, stored: "list[Stored]", scores: "Scores") -> dict[str, Any]:
        """Write the file for the test server, if it is asked for.

        Raises:
            DataError: the server's classes cannot be read, or the scores are not of photographs.
            SpecError: the classes are not the network's.
            StorageError: the file cannot be written.
        """
        from reslab.experiments.ensembles import server_order, write_for_server

        if self.server is None:
            return {}
        file, classes = self.server
        write_for_server(stored[0], scores, server_order(classes), file)
        return {"server_file": str(file)}


def _print_greedy(chosen: list[str], chosen_on: "Count", judged_on: "Count") -> None:
    stdout().print(f"greedy choice: {', '.join(chosen)}")
    stdout().print(f"  {chosen_on.error:.2f} % on the n={chosen_on.n:,} that it was chosen on")
    stdout().print(f"  {_text(judged_on)} on the others")


def _print_others(everyone: "Count", single: "Count") -> None:
    stdout().print(f"  there, all networks together: {_text(everyone)}; the best one alone: {_text(single)}\n")


def _text(count: "Count") -> str:
    low, high = count.interval
    return f"{count.error:.2f} % (95 % interval {low:.2f} to {high:.2f}, n={count.n:,})"
