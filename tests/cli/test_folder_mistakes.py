"""What cannot be done with a folder of photographs: one line, and nothing left behind."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.said import one_line

pytestmark = pytest.mark.usefixtures("quick_disk")

Command = Callable[..., subprocess.CompletedProcess[str]]
FolderOf = Callable[..., Path]

SMALL = ("--model", "cifar-resnet8", "--width", 4, "--crop", 32, "--shorter-side", 32, "--scale", 32, 40)
TINY = (*SMALL, "--steps", 4, "--batch", 8, "--evaluate-every", 2, "--log-every", 2, "--workers", 0)


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten pictures; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture(scope="module")
def trained(reslab: Command, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    done = reslab("train", "--data", photos, *TINY, "--out", run)
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--crop", 64), "a crop of 64 does not fit a shorter side of 32"),
        (("--crop", 0), "crop is 0"),
        (("--scale", 40, 36), "scale must rise, not 40 to 36"),
        (("--scale", 30, 36), "a crop of 32 does not fit a shorter side of 30: raise the scale"),
        (("--scale", 36), "--scale requires 2 positional arguments"),
        (("--shorter-side", 31), "a crop of 32 does not fit a shorter side of 31"),
        (("--held-out", 0), "held_out is 0.0"),
        (("--held-out", 1), "held_out is 1.0"),
        (("--decode", "slow"), 'Invalid value "slow" for --decode'),
        (("--on-bad-picture", "skip"), 'Invalid value "skip" for --on-bad-picture'),
        (("--preprocessing", "imagenet"), "unknown preprocessing 'imagenet' (choose from: paper, torchvision, caffe)"),
        (("--preprocessing", "cafe"), "did you mean 'caffe'?"),
        (("--workers", -1), "--workers must be 0 or more, not -1"),
        (("--batch", 25), "trees has 24 pictures, fewer than one batch of 25"),
        (("--epochs", 0), "epochs, pictures and batch must be positive"),
        (("--epochs", "nan"), "epochs"),
        (("--epochs", "inf"), "epochs"),
        (("--steps", 3, "--epochs", 1), "give one"),
        (("--recipe", "photograph"), "did you mean 'photographs'?"),
        (
            ("--freeze", "stem"),
            "--freeze, --body-rate and --force are for training that begins from weights: give --from",
        ),
        (("--body-rate", 0.5), "give --from"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    words: tuple[object, ...], message: str, reslab: Command, photos: Path, tmp_path: Path
) -> None:
    usual: dict[object, tuple[object, ...]] = {"--model": ("cifar-resnet8",), "--crop": (32,), "--shorter-side": (32,)}
    usual |= {"--scale": (32, 40)}
    rest = [word for flag, values in usual.items() if flag not in words for word in (flag, *values)]
    done = reslab("train", "--data", photos, *rest, *words, "--out", tmp_path / "r")
    assert message in one_line(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", ["cifar-paper", "cifar-paper-warm-up", "short"])
@pytest.mark.parametrize("flags", [(), SMALL], ids=["alone", "with settings of photographs"])
def test_a_recipe_for_small_pictures_is_refused_for_photographs(
    recipe: str, flags: tuple[object, ...], reslab: Command, photos: Path, tmp_path: Path
) -> None:
    words = flags or ("--model", "cifar-resnet8")
    done = reslab("train", "--data", photos, *words, "--recipe", recipe, "--out", tmp_path / "r", "--dry-run")
    assert "this recipe is for small pictures; for a folder of photographs take another --recipe" in one_line(done)


@pytest.mark.parametrize("recipe", ["paper", "photographs", "fine-tune"])
def test_a_recipe_for_photographs_is_refused_for_small_pictures(recipe: str, reslab: Command, tmp_path: Path) -> None:
    words = ("--model", "cifar-resnet8", "--recipe", recipe, "--out", tmp_path / "r")
    done = reslab("train", "--data", "embedded", *words)
    assert "this recipe is for folders of photographs, and the data is embedded" in one_line(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flag",
    [
        *(("--scale", 32, 40), ("--crop", 32), ("--shorter-side", 32), ("--held-out", 0.3), ("--decode", "exact")),
        *(("--on-bad-picture", "replace"), ("--preprocessing", "paper"), ("--colour", "published")),
    ],
)
def test_settings_of_photographs_are_refused_for_small_pictures(
    flag: tuple[object, ...], reslab: Command, tmp_path: Path
) -> None:
    done = reslab("train", "--data", "embedded", "--model", "cifar-resnet8", *flag, "--out", tmp_path / "r")
    line = one_line(done)
    assert "have no effect on embedded" in line
    assert str(flag[0]).removeprefix("--").replace("-", "_") in line.replace("-", "_")
    assert list(tmp_path.iterdir()) == []


def make_small_maps_of_one(reslab: Command, photos: Path, out: Path, group: int) -> subprocess.CompletedProcess[str]:
    sizes = ("--crop", 32, "--shorter-side", 32, "--scale", 32, 40)
    words = ("--model", "resnet18", "--width", 8, *sizes, "--batch", 4, "--steps", 1, "--bn-group", group)
    return reslab("train", "--data", photos, *words, "--workers", 0, "--out", out)


def test_batch_statistics_of_a_single_number_are_refused(reslab: Command, photos: Path, tmp_path: Path) -> None:
    """A crop of 32 is one pixel in resnet18's last stage: a group of one picture has no variance."""
    assert make_small_maps_of_one(reslab, photos, tmp_path / "pairs", 2).returncode == 0
    assert "bn_group" in one_line(make_small_maps_of_one(reslab, photos, tmp_path / "single", 1))
    assert not (tmp_path / "single").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--data", "embedded"),
            "has classes that the network does not know (10 of 10): T-shirt/top, Trouser",
        ),
        (("--data", "nowhere"), "nowhere does not exist; --data takes 'embedded', a folder of photographs"),
        (("--protocol", "10-crop"), "unknown protocol '10-crop'; did you mean 'ten-crop'? (choose from: single"),
        (("--split", "test"), 'Invalid value "test" for --split'),
        (("--workers", -1), "--workers must be 0 or more, not -1"),
        (("--device", "tpu"), "unknown device 'tpu'"),
        ((), "--data says which pictures to test on"),
    ],
)
def test_a_test_that_cannot_be_made_is_one_line(
    words: tuple[object, ...], message: str, reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    data = () if "--data" in words or not words else ("--data", photos)
    done = reslab("evaluate", trained, *data, *words, "--out", tmp_path / "scores")
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "scores").exists()


def test_other_classes_are_refused_in_one_line(
    reslab: Command, trained: Path, folder_of: FolderOf, tmp_path: Path
) -> None:
    other = folder_of(tmp_path / "other", ("ash", "birch", "oak"), 2)
    line = one_line(reslab("evaluate", trained, "--data", other))
    assert (
        "other has classes that the network does not know (1 of 3): oak; it knows 3 classes: ash, birch, cedar" in line
    )


def test_convolutions_that_crash_torch_are_refused_with_what_to_take_instead(
    reslab: Command, photos: Path, tmp_path: Path
) -> None:
    words = ("train", "--model", "resnet18", "--width", 8, "--data", photos, "--out", tmp_path / "run")
    done = reslab(*words, "--steps", 1, "--batch", 4)
    assert done.returncode == 2
    assert "fewer than 16 channels crash torch on a CPU with crops of 224; take --width 16 or more" in done.stderr
    assert not (tmp_path / "run").exists()
    few = ("--steps", 1, "--batch", 4, "--workers", 0, "--precision", "fp32", "--crop", 64, "--scale", 64, 70)
    assert reslab(*words, *few).returncode == 0
