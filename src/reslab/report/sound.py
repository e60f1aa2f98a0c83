"""What a report relies on in a finished run's ``result.json`` and ``metrics.jsonl``, checked before all else."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reslab.core.errors import RunError
from reslab.core.rundir import Record, RunDirectory

Natural = Annotated[int, Field(gt=0)]
Percent = Annotated[float, Field(ge=0, le=100)]


class _Kept(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Class(_Kept):
    n: Natural
    error: Percent
    interval: list[float] = Field(min_length=2, max_length=2)


class _Paired(_Kept):
    difference: float
    interval: list[float] = Field(min_length=2, max_length=2)
    p_value: Annotated[float, Field(ge=0, le=1)]


class _Averaged(_Kept):
    pictures: Natural
    hits_before: Annotated[int, Field(ge=0)]
    n: Natural
    paired: _Paired


class _Result(_Kept):
    parameters: Natural
    multiply_adds: Natural
    input_size: Natural
    hits: Annotated[int, Field(ge=0)]
    n: Natural
    seconds: Annotated[float, Field(ge=0)]
    by_class: dict[str, _Class] = Field(min_length=1)
    replaced: Annotated[int, Field(ge=0)] = 0
    bn_average: _Averaged | None = None


class _Line(_Kept):
    step: Natural
    loss: float
    train_error: Percent
    train_n: Natural


class _Tested(_Line):
    test_error: Percent
    test_n: Natural


def require_sound(run: RunDirectory, result: Record, metrics: list[Record]) -> None:
    """Refuse what a report would stumble over.

    Args:
        run: where they come from.
        result: of a finished run.
        metrics: its lines.

    Raises:
        RunError: one of them lacks something, or holds what cannot be.
    """
    lines = [("metrics.jsonl", line, _Tested if "test_error" in line else _Line) for line in metrics]
    for name, kept, form in [("result.json", result, _Result), *lines]:
        try:
            form.model_validate(kept)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise RunError(f"{run.path / name} is damaged: {where}: {fault['msg'].lower()}") from None
