"""What a command wants to hear while a run goes on."""

from typing import Any


class Notify:
    """Hears everything and says nothing; the command line overrides what it shows."""

    def begun(self, title: str, step: int, steps: int) -> None:
        """A run starts, or goes on after ``step`` of ``steps``."""

    def stepped(self, step: int) -> None:
        """One more step is done."""

    def recorded(self, line: dict[str, Any]) -> None:
        """A line was added to ``metrics.jsonl``."""

    def ended(self) -> None:
        """The run is over, or stopped."""

    def scored(self, views: int, of: int) -> None:
        """A test has scored so many views of all that it scores."""

    def averaged(self, pictures: int, of: int) -> None:
        """Batch normalisation's statistics have been recomputed over so many pictures of all that they shall be."""

    def warned(self, text: str) -> None:
        """Something that the user should know."""

    def found(self, pictures: int) -> None:
        """A search of a folder has found so many pictures."""
