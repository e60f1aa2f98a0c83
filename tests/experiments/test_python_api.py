from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import reslab
from reslab.core.errors import DataError, SpecError
from reslab.data.parts import Split
from reslab.data.pictures import Pictures
from reslab.training.step import Training

RECIPE = reslab.Recipe(steps=6, batch=20, bn_group=10, precision="fp32", log_every=2, evaluate_every=3)


def striped(split: Split, count: int) -> Pictures:
    """Each class has a bright row of its own."""
    labels = torch.arange(count) % 4
    pixels = torch.zeros(count, 3, 12, 12, dtype=torch.uint8)
    for place, label in enumerate(labels.tolist()):
        pixels[place, :, 3 * label : 3 * label + 3] = 200
    return Pictures("stripes", split, pixels, labels, ("a", "b", "c", "d"))


def network() -> nn.Module:
    return reslab.cifar_resnet(8, width=8, classes=4, generator=torch.Generator().manual_seed(0))


def test_fit_and_evaluate_learn_what_is_easy() -> None:
    recipe = RECIPE.but({"steps": 40, "augment": {"pad": 0, "flip": False}})
    fitted = reslab.fit(network(), striped("train", 60), recipe)
    found = reslab.evaluate(fitted, striped("val", 20))
    assert found.error == 0.0
    assert found.n == 20
    assert list(found.by_class) == ["a", "b", "c", "d"]
    assert fitted.classes == ("a", "b", "c", "d")
    assert fitted.train_error.n == 40 * 20


def test_the_network_is_trained_in_place() -> None:
    net = network()
    before = net.fc.weight.detach().clone()
    fitted = reslab.fit(net, striped("train", 60), RECIPE)
    assert fitted.net is net
    assert not torch.equal(net.fc.weight, before)


def test_any_network_that_returns_logits_can_be_fitted() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
    with torch.no_grad():
        net[1].weight.zero_()
    fitted = reslab.fit(net, striped("train", 60), RECIPE.but({"optim": {"lr": 1e-4}}))
    assert 0 <= reslab.evaluate(fitted, striped("val", 20)).error <= 100
    assert net[1].weight.abs().sum() > 0


def weights_after(seed: int, workers: int = 0) -> list[torch.Tensor]:
    fitted = reslab.fit(network(), striped("train", 60), RECIPE, seed=seed, workers=workers)
    return list(fitted.net.state_dict().values())


def test_the_seed_decides_the_numbers_and_the_global_generator_does_not() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = weights_after(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = weights_after(0), weights_after(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_workers_change_no_number_and_draw_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    gathered = weights_after(0, workers=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(gathered, weights_after(0), strict=True))


def test_a_watch_sees_lines_and_steps() -> None:
    lines: list[dict[str, Any]] = []
    done: list[int] = []
    watch = reslab.Watch(record=lines.append, stepped=done.append)
    reslab.fit(network(), striped("train", 60), RECIPE, watch=watch)
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    assert done == [1, 2, 3, 4, 5, 6]


def test_fewer_pictures_than_a_batch_are_refused() -> None:
    with pytest.raises(DataError, match=r"stripes has 19 .*pictures, fewer than one batch of 20"):
        reslab.fit(network(), striped("train", 19), RECIPE)


def test_pictures_of_another_shape_are_refused() -> None:
    fitted = reslab.fit(network(), striped("train", 60), RECIPE)
    grey = Pictures("grey", "val", torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), ("a",))
    with pytest.raises(DataError, match=r"grey has .*8x8 pixels in 1 channel; .* on 12x12 pixels in 3 channels"):
        reslab.evaluate(fitted, grey)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown device 'tpu'"):
        reslab.fit(network(), striped("train", 60), RECIPE, device="tpu")


def test_an_evaluation_in_bf16_says_so() -> None:
    fitted = reslab.fit(network(), striped("train", 60), RECIPE)
    assert reslab.evaluate(fitted, striped("val", 20), precision="bf16").precision == "bf16"
    assert reslab.evaluate(fitted, striped("val", 20)).precision == "fp32"


def test_an_engine_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(SpecError, match="--engine graph is for one process on a CUDA device"):
        reslab.fit(network(), striped("train", 80), RECIPE, engine="graph", device="cpu")


def test_every_way_of_testing_is_there_from_python() -> None:
    fitted, test = reslab.fit(network(), striped("train", 60), RECIPE), striped("val", 20)
    usual = reslab.evaluate(fitted, test)
    assert (usual.protocol.name, usual.protocol.shorter_sides) == ("single", (12,))
    for name, views in (("single", 1), ("ten-crop", 10), ("multi-scale-mirror", 10)):
        found = reslab.evaluate(fitted, test, protocol=name)
        assert (found.protocol.name, found.n) == (name, 20)
        assert len(found.protocol.groups) * found.protocol.views == views
    with pytest.raises(SpecError, match=r"unknown protocol 'ten'"):
        reslab.evaluate(fitted, test, protocol="ten")


def test_networks_that_are_not_reslabs_can_be_tested_densely_where_they_pool() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    fitted = reslab.fit(net, striped("train", 60), RECIPE)
    assert reslab.evaluate(fitted, striped("val", 20), protocol="multi-scale").n == 20


def test_a_network_that_is_not_reslabs_is_not_classified_at_each_place(tmp_path: Path) -> None:
    file = tmp_path / "places.toml"
    file.write_text('dense = "classify-then-average"\nshorter_sides = [16]')
    fitted = reslab.fit(nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 4)), striped("train", 60), RECIPE)
    with pytest.raises(SpecError, match=r"dense 'classify-then-average' is for reslab's networks"):
        reslab.evaluate(fitted, striped("val", 20), protocol=str(file))


def averaging_fit(watch: reslab.Watch | None = None) -> nn.Module:
    recipe = RECIPE.but({"bn_average": 30})
    return reslab.fit(network(), striped("train", 60), recipe, watch=watch).net


def test_batch_statistics_are_recomputed_where_the_recipe_says_so() -> None:
    plain = reslab.fit(network(), striped("train", 60), RECIPE).net.state_dict()
    saved: list[tuple[int, torch.Tensor]] = []

    def save(training: Training) -> None:
        saved.append((training.step, training.net.state_dict()["bn1.running_mean"].clone()))

    found = averaging_fit(reslab.Watch(save=save)).state_dict()
    for name, value in plain.items():
        assert torch.equal(value, found[name]) is ("running" not in name and "num_batches" not in name), name
    assert int(found["bn1.num_batches_tracked"]) == 4  # 40 pictures in groups of 10
    assert [step for step, _ in saved] == [6, 6]
    assert [torch.equal(mean, found["bn1.running_mean"]) for _, mean in saved] == [False, True]
    assert torch.equal(saved[0][1], plain["bn1.running_mean"])


def test_a_stop_while_they_are_recomputed_leaves_the_moving_averages() -> None:
    asked: list[int] = []

    def stop() -> int | None:
        asked.append(0)
        return 15 if len(asked) > 6 else None

    found = averaging_fit(reslab.Watch(stop=stop)).state_dict()
    plain = reslab.fit(network(), striped("train", 60), RECIPE).net.state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in found.items())
    assert len(asked) == 7


def test_a_network_without_batch_normalisation_has_none_to_recompute() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
    with pytest.raises(SpecError, match=r"bn_average has no effect: this network has no batch normalisation"):
        reslab.fit(net, striped("train", 60), RECIPE.but({"bn_average": 30}))
