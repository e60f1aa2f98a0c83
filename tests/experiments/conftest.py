import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.torchrun import Torchrun

from reslab.core.contract import Contract
from reslab.core.experiment import Experiment, ModelSpec, Photographs, Recipe
from reslab.data.parts import Split
from reslab.data.pictures import Pictures
from reslab.data.source import SmallPictures
from reslab.experiments.execute import execute
from reslab.experiments.job import Job, Outcome
from reslab.experiments.networks import build
from reslab.experiments.notify import Notify
from reslab.training import checkpoint

CLASSES = tuple("abcdefghij")
WALL_CLOCK = {"seconds", "images_per_second"}


def noise(split: Split, count: int, seed: int) -> Pictures:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 1, 12, 12), generator=draw, dtype=torch.uint8)
    return Pictures("noise", split, pixels, torch.randint(10, (count,), generator=draw), CLASSES)


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    recipe = Recipe(steps=8, batch=32, bn_group=16, log_every=1, evaluate_every=4, precision="fp32")
    return Experiment(model=ModelSpec(name="cifar-resnet8", width=4), data="embedded", recipe=recipe)


@pytest.fixture(scope="session")
def splits() -> dict[Split, Pictures]:
    """100 pictures to train on, so that 8 batches of 32 cross two epochs' boundaries, and 40 to test on."""
    return {"train": noise("train", 100, 1), "val": noise("val", 40, 2)}


@pytest.fixture(scope="session")
def carry_out(tiny: Experiment, splits: dict[Split, Pictures]) -> Callable[..., Outcome]:
    """Execute an experiment on the tiny pictures, as a new process would begin: global generator at its start."""

    def session(
        out: Path,
        experiment: Experiment = tiny,
        notify: Notify | None = None,
        pictures: dict[Split, Pictures] | None = None,
        **job: Any,
    ) -> Outcome:
        source = SmallPictures("embedded", "embedded", (pictures or splits).__getitem__)
        with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
            torch.manual_seed(0)
            patch.setattr("reslab.experiments.ready.find_data", lambda _: source)
            return execute(experiment, Job(data="embedded", out=out, **job), notify or Notify())

    return session


@pytest.fixture(scope="session")
def tiny_photos(tiny: Experiment) -> Experiment:
    """On crops of 32 pixels; 7 batches of 8 cross two boundaries of epochs of 24 pictures."""
    photographs = Photographs(contract=Contract(shorter_side=32, crop=32), scale=(32, 40))
    recipe = Recipe(
        steps=7, batch=8, bn_group=4, log_every=1, evaluate_every=3, precision="fp32", photographs=photographs
    )
    return Experiment(model=tiny.model, data="folder", recipe=recipe)


@pytest.fixture(scope="session")
def photos(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten pictures, of which eight are trained on; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture(scope="session")
def train_on(tiny_photos: Experiment) -> Callable[..., Outcome]:
    """Execute an experiment on a folder of photographs, as a new process would begin."""

    def session(
        photos: Path, out: Path, experiment: Experiment = tiny_photos, notify: Notify | None = None, **job: Any
    ) -> Outcome:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return execute(
                experiment, Job(**{"data": str(photos), "out": out, "workers": 0, **job}), notify or Notify()
            )

    return session


@pytest.fixture(scope="session")
def numbers_of() -> Callable[[Path], dict[str, Any]]:
    """Every number of a finished run on photographs that comes from no clock, under a name of its own."""

    def read(run: Path) -> dict[str, Any]:
        found = checkpoint.newest(run / "checkpoints", pytest.fail)
        assert found is not None
        numbers: dict[str, Any] = {
            f"{part} {name}": (tensor.dtype, tuple(tensor.shape), tensor.contiguous().numpy().tobytes())
            for part, tensors in found.parts.items()
            for name, tensor in tensors.items()
        }
        for place, line in enumerate((run / "metrics.jsonl").read_text().splitlines()):
            numbers[f"metrics {place}"] = {k: v for k, v in json.loads(line).items() if k not in WALL_CLOCK}
        result = json.loads((run / "result.json").read_text())
        numbers["result"] = {key: value for key, value in result.items() if key not in WALL_CLOCK}
        scores = sorted((run / "scores" / "center-val").iterdir())
        kept = [*scores, *sorted((run / "pictures").iterdir()), run / "replaced_pictures.json"]
        return numbers | {str(file.relative_to(run)): file.read_bytes() for file in kept if file.exists()}

    return read


@pytest.fixture
def own(photos: Path, tmp_path: Path) -> Path:
    """The same pictures, to be changed."""
    shutil.copytree(photos, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture(scope="session")
def finished_on_photos(
    train_on: Callable[..., Outcome], photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An unbroken run on the photographs; nobody may change it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    assert train_on(photos, run).signal is None
    return run


@pytest.fixture(scope="session")
def two_classes(
    train_on: Callable[..., Outcome],
    tiny_photos: Experiment,
    folder_of: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run on two other classes, to begin from; nobody may change it."""
    place = tmp_path_factory.mktemp("source")
    folder_of(place / "photos", ("oak", "yew"), 12, seed=5)
    train_on(place / "photos", place / "run", tiny_photos.but({"seed": 7}))
    return place / "run"


@pytest.fixture(scope="session")
def torchvision_file() -> Callable[[Path, ModelSpec], Path]:
    """Writes weights of a network under torchvision's names, as older files have them: without numbers of batches."""

    def write(place: Path, spec: ModelSpec) -> Path:
        net = build(spec, 1000, torch.Generator().manual_seed(9))
        for name, buffer in net.named_buffers():
            if name.endswith(("mean", "var")):
                buffer.uniform_(0.5, 2, generator=torch.Generator().manual_seed(len(name)))
        tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items() if "num_b" not in name}
        safetensors.torch.save_file(tensors, place)
        return place

    return write


@pytest.fixture
def begun() -> Iterator[list[Torchrun]]:
    """Those that a test begins; none is left running."""
    processes: list[Torchrun] = []
    yield processes
    for process in processes:
        process.end()
