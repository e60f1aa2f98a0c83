"""What a run has to say about single pictures: each thing once, replacements counted."""

from reslab.core.rundir import Record
from reslab.core.text import few, printable
from reslab.data.photographs import Incident, PhotoFolder
from reslab.data.source import Dataset
from reslab.experiments.notify import Notify
from reslab.experiments.world import World


class Notices:
    """Tells ``notify``.

    ``replaced`` has, by path, why a picture was replaced and how many times; ``samples_replaced`` counts the training
    samples that another picture filled, however many had to be tried.
    """

    def __init__(self, notify: Notify) -> None:
        self.notify = notify
        self.replaced: dict[str, Record] = {}
        self.samples_replaced = 0
        self.told_of_enlarged = False

    def note_replaced(self, incident: Incident) -> None:
        """Another picture took this one's place in a batch."""
        path = printable(incident.path)
        self.samples_replaced += incident.first
        if path not in self.replaced:
            self.notify.warned(f"{path} {incident.what}: another picture took its place")
        times = self.replaced.get(path, {"times": 0})["times"] + 1
        self.replaced[path] = {"reason": incident.what, "times": times}

    def note_enlarged(self, incident: Incident) -> None:
        """A picture is smaller than the crop; one warning stands for all such pictures."""
        if not self.told_of_enlarged:
            self.told_of_enlarged = True
            self.notify.warned(f"{printable(incident.path)} {incident.what}; such pictures are enlarged")

    def of_all(self, world: World) -> Record:
        """Replacements in all processes of ``world``, as a checkpoint keeps them."""
        replaced: dict[str, Record] = {}
        samples = 0
        for paths, count in world.gathered((self.replaced, self.samples_replaced)):
            samples += count
            for path, one in paths.items():
                times = replaced.get(path, {"times": 0})["times"] + one["times"]
                replaced[path] = {**one, "times": times}
        return {"replaced": replaced, "samples_replaced": samples}

    def note_passed_over(self, *sets: Dataset) -> None:
        """Files in the class folders that do not look like pictures; and what shards have to say."""
        for note in dict.fromkeys(pictures.store.note for pictures in sets if isinstance(pictures, PhotoFolder)):
            if note:
                self.notify.warned(note)
        indices = [pictures.index for pictures in sets if isinstance(pictures, PhotoFolder)]
        others = sorted({file for index in indices for file in index.others})
        if others:
            self.notify.warned(f"files that are no pictures by name were passed over ({len(others):,}): {few(others)}")
