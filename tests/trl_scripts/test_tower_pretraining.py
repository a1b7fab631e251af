"""Promises of the tower's pre-training: every target is learned, and only where it is known."""

import math

import numpy as np
import pytest
import tiny
import torch
from towers import CUBE, DISC, POSED, SPHERE, make_pixels, make_tower, stacked_targets

from modeling_igllm import SceneTowerModel
from trl_scripts.tower_dataset import stack_targets
from trl_scripts.tower_ground_truth import surface_targets
from trl_scripts.tower_pretraining import SceneTowerForPreTraining, center_focal_loss
from trl_scripts.tower_targets import VALUES


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0, 2.0]]])
    heatmap = torch.tensor([[[1.0, 0.5]]])
    high = torch.sigmoid(torch.tensor(2.0)).item()
    expected = -(0.25 * math.log(0.5) + 0.5**4 * high**2 * math.log(1 - high))
    assert center_focal_loss(logits, heatmap).item() == pytest.approx(expected, rel=1e-5)


def every_target(model: SceneTowerForPreTraining) -> dict[str, torch.Tensor]:
    """Two scenes that have all of them between them."""
    targets = stacked_targets(model.config, [CUBE, SPHERE], [POSED, DISC])
    mask = np.zeros((tiny.HEIGHT, tiny.WIDTH), np.uint8)
    mask[8:16, 16:24], mask[8:16, 32:40] = 1, 2
    surface = surface_targets(mask, np.where(mask, 2.0, 5.0), [CUBE, SPHERE], model.config)
    return targets | stack_targets([surface, {}], model.config)


def test_every_loss_falls_on_two_scenes() -> None:
    model = make_tower().train()
    targets = every_target(model)
    assert set(targets) == {"heatmap", "size", "color", "material", "shape", *VALUES}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        output = model(make_pixels(), targets)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append({name: value.item() for name, value in output.losses.items()})
    assert set(losses[0]) == set(targets)
    for name in targets:
        assert losses[-1][name] < 0.7 * losses[0][name], name


@pytest.mark.parametrize("name", ["size", "color", "material", "shape", *VALUES])
def test_a_row_without_a_target_adds_nothing_to_its_loss(name: str) -> None:
    model = make_tower().eval()
    both = every_target(model)
    row = 1 if name == "rotation" else 0
    alone = {name: both[name][row : row + 1]}
    other = stack_targets([{name: both[name][row]}, {}], model.config)
    pixels = make_pixels()
    first = model(pixels[:1], alone).losses[name]
    assert first > 0
    torch.testing.assert_close(model(pixels, other).losses[name], first)
    nothing = {name: other[name][1:]}
    output = model(pixels[1:], nothing)
    assert output.losses[name] == 0
    output.loss.backward()
    assert all(not weights.grad.any() for weights in model.parameters() if weights.grad is not None)


def test_rgb_supervision_never_looks_at_color_names() -> None:
    model = make_tower(color_supervision="rgb").eval()
    targets = stacked_targets(model.config, [CUBE])
    other = {**targets, "color": torch.full_like(targets["color"], 7)}
    first, second = model(make_pixels(1), targets), model(make_pixels(1), other)
    assert "color" not in first.losses
    assert first.loss == second.loss


def loss_of_error_0_2(model: SceneTowerForPreTraining, name: str) -> float:
    """Loss of a target where every prediction is 0.2 too low."""
    targets = stacked_targets(model.config, [CUBE])
    asked = model(make_pixels(1)).predictions[name].detach() + 0.2
    targets[name] = torch.where(targets[name].isnan(), torch.nan, asked)
    return model(make_pixels(1), targets).losses[name].item()


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.5 * 0.2**2), (0.1, 0.2 - 0.1 / 2)])
def test_regression_beta_is_where_an_error_begins_to_count_in_full(beta: float, expected: float) -> None:
    assert loss_of_error_0_2(make_tower(regression_beta=beta), "position") == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("unit", "expected"), [(1.0, 0.5 * 0.2**2), (0.1, 2.0 - 0.5)])
def test_rgb_unit_is_a_difference_of_colors_that_counts_like_a_metre(unit: float, expected: float) -> None:
    assert loss_of_error_0_2(make_tower(rgb_unit=unit), "rgb") == pytest.approx(expected, rel=1e-3)


def test_predicted_colors_are_linear_rgb_in_any_unit() -> None:
    model = make_tower(rgb_unit=0.1).eval()
    tenths = model.heads(model.scene_tower.feature_map(make_pixels())).split(list(model.heads.channels.values()), 1)
    predicted = model(make_pixels()).predictions["rgb"]
    torch.testing.assert_close(predicted, tenths[list(model.heads.channels).index("rgb")] / 10)


def test_image_without_objects_gives_a_finite_loss() -> None:
    model = make_tower().eval()
    assert torch.isfinite(model(make_pixels(1), stacked_targets(model.config, [])).loss)


def test_unknown_targets_are_named() -> None:
    model = make_tower()
    with pytest.raises(ValueError, match="there is no head for mood"):
        model(make_pixels(1), {"mood": torch.zeros(1, 8, 8)})


def test_categories_are_classes() -> None:
    model = make_tower(shapes=["bottle", "car", "chair", "mug", "sofa"])
    assert model(make_pixels(1)).predictions["shape"].shape == (1, 5, 8, 8)


def test_tower_loads_from_a_pretraining_checkpoint(tmp_path) -> None:
    model = make_tower(shapes=["car", "chair"]).eval()
    model.save_pretrained(tmp_path)
    tower = SceneTowerModel.from_pretrained(tmp_path)
    pixels = make_pixels()
    assert torch.equal(tower(pixels).last_hidden_state, model.scene_tower(pixels).last_hidden_state)
    again = SceneTowerForPreTraining.from_pretrained(tmp_path)
    assert list(again.config.shapes) == ["car", "chair"]
    assert torch.equal(again.heads.weight, model.heads.weight)
