from collections.abc import Callable
from typing import Any

import pytest

from reslab.core.errors import RunError
from reslab.core.rundir import RunDirectory
from reslab.report.finished import finished
from reslab.report.responses import Responses

Maker = Callable[..., RunDirectory]
STDS = [2.0 - i / 20 for i in range(19)]


def test_responses_are_read_in_the_layers_order(make_run: Maker) -> None:
    (run,) = finished([make_run("cifar-plain20", 9, 1, responses=STDS)])
    assert run.responses == tuple(STDS)
    assert run.measured == Responses(tuple(STDS), 10_000, "val", "running")


def test_a_run_without_them_has_none(make_run: Maker) -> None:
    (run,) = finished([make_run("cifar-plain20", 9, 1)])
    assert run.responses is None


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"layers": []}, "it holds 0 layers, not 19"),
        ({"layers": [{"name": "conv1", "std": 1.0}]}, "it holds 1 layer, not 19"),
        ({"layers": None}, "layers is None"),
        ({"layers": [{"std": 1.0}] * 18 + [{"std": "2"}]}, "layer 19 is {'std': '2'}"),
        ({"layers": [{"std": -1}] + [{"std": 1}] * 18}, "layer 1 is {'std': -1}"),
        ({"layers": [{"std": True}] + [{"std": 1}] * 18}, "layer 1 is {'std': True}"),
        ({"layers": [{"name": "conv1"}] + [{"std": 1}] * 18}, "layer 1 is {'name': 'conv1'}"),
        ({"layers": [1.0] * 19}, "layer 1 is 1.0"),
        ({"pictures": "many"}, "pictures is 'many'"),
        ({"pictures": 0}, "pictures is 0"),
        ({"part": None}, "part is None"),
        ({"statistics": 1}, "statistics is 1"),
        ({"step": 50}, "it is of step 50, not of the last, 200"),
        ({"step": None}, "it is of step None, not of the last, 200"),
    ],
)
def test_what_is_damaged_is_named_in_one_line(
    make_run: Maker, write_responses: Maker, facts: dict[str, Any], says: str
) -> None:
    run = make_run("cifar-plain20", 9, 1)
    write_responses(run, STDS, **facts)
    with pytest.raises(RunError) as caught:
        finished([run])
    assert str(caught.value) == f"{run.path / 'responses.json'} is damaged: {says}"


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"layers": [}'])
def test_what_is_no_record_is_refused(make_run: Maker, text: str) -> None:
    run = make_run("cifar-plain20", 9, 1)
    (run.path / "responses.json").write_text(text)
    with pytest.raises(RunError, match=r"responses\.json"):
        finished([run])


def test_a_number_that_is_not_finite_is_refused(make_run: Maker) -> None:
    run = make_run("cifar-plain20", 9, 1, responses=STDS)
    file = run.path / "responses.json"
    file.write_text(file.read_text().replace("2.0", "NaN", 1))
    with pytest.raises(RunError, match=r"layer 1 is .*nan"):
        finished([run])
