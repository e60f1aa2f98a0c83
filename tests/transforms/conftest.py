import pytest
from PIL import Image

from reslab.transforms.photographs import Size


@pytest.fixture
def resizes(monkeypatch: pytest.MonkeyPatch) -> list[Size]:
    """The sizes that pictures are resized to."""
    made: list[Size] = []
    resize = Image.Image.resize

    def spy(self: Image.Image, to: Size, *options: object, **more: object) -> Image.Image:
        made.append(to)
        return resize(self, to, *options, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", spy)
    return made
