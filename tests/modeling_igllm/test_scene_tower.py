"""Promises of the scene tower, its targets and its pre-training."""

import math

import pytest
import tiny
import torch

from modeling_igllm import SceneTowerConfig, SceneTowerForPreTraining, SceneTowerModel
from modeling_igllm.pretraining_scene_tower import center_focal_loss
from modeling_igllm.scene_tower_targets import TowerObject, scene_tower_targets

CUBE = TowerObject((20.0, 12.0), "small", "red", "metal", "cube", (1.0, 0.0, 0.0), (1.0, 2.0, 3.0), 0.3)
SPHERE = TowerObject((36.0, 12.0), "large", "blue", "rubber", "sphere", (0.0, 0.0, 1.0), (4.0, 5.0, 6.0))


def make_pixels(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, tiny.HEIGHT, tiny.WIDTH, generator=torch.Generator().manual_seed(0))


def stacked_targets(config: SceneTowerConfig, *images: list[TowerObject]) -> dict[str, torch.Tensor]:
    targets = [scene_tower_targets(objects, config) for objects in images]
    return {name: torch.stack([target[name] for target in targets]) for name in targets[0]}


def test_default_tower_stays_within_its_parameter_budget() -> None:
    with torch.device("meta"):
        tower = SceneTowerModel(SceneTowerConfig())
    assert sum(parameter.numel() for parameter in tower.parameters()) <= 2_100_000


def test_tokens_are_two_by_two_cells_row_by_row() -> None:
    tower = SceneTowerModel(tiny.tower_config()).eval()
    pixels = make_pixels()
    feature_map, tokens = tower.feature_map(pixels), tower(pixels).last_hidden_state
    assert (feature_map.shape, tokens.shape) == ((2, 8, 8, 8), (2, 16, 40))
    # The token of row 1, column 2 holds the cells of rows 2-3 and columns 4-5, channel by channel.
    torch.testing.assert_close(tokens[:, 1 * 4 + 2, :32], feature_map[:, :, 2:4, 4:6].flatten(1))


def test_every_token_has_position_features_of_its_own() -> None:
    positions = SceneTowerModel(tiny.tower_config()).eval()(make_pixels(1)).last_hidden_state[0, :, 32:]
    assert torch.cdist(positions, positions).add(torch.eye(16)).min() > 1e-2


def test_other_image_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="64 x 64"):
        SceneTowerModel(tiny.tower_config())(torch.zeros(1, 3, 64, 64))


def test_frozen_tower_keeps_its_batch_statistics_in_training() -> None:
    tower = SceneTowerModel(tiny.tower_config()).requires_grad_(False)
    before = tower.stem[1].running_mean.clone()
    tower.train()(make_pixels())
    assert torch.equal(tower.stem[1].running_mean, before)
    tower.requires_grad_(True).train()(make_pixels())
    assert not torch.equal(tower.stem[1].running_mean, before)


def test_targets_place_objects_at_their_cells() -> None:
    config = tiny.tower_config()
    targets = scene_tower_targets([CUBE, SPHERE], config)
    # x = 20 px, y = 12 px is column 2, row 1 of the stride-8 map.
    assert targets["heatmap"][1, 2] == targets["heatmap"][1, 4] == 1
    assert targets["heatmap"][1, 1] == pytest.approx(math.exp(-0.5))
    assert targets["shape"][0:3, 1:7].tolist() == 3 * [[0, 0, 0, 1, 1, -100]]
    assert targets["position"][:, 1, 2].tolist() == [1, 2, 3]
    assert targets["yaw"][:, 1, 2].tolist() == pytest.approx([math.sin(1.2), math.cos(1.2)])
    assert targets["yaw"][:, 1, 4].isnan().all()
    assert targets["offset"][:, 1, 2].tolist() == [0.0, 0.0]
    assert targets["offset"][:, 2, 1].tolist() == [1.0, -1.0]


def test_close_centers_keep_their_own_cells() -> None:
    # The middle of the first cell is nearer to the second centre than to its own.
    corner, other = TowerObject((0.5, 0.5), shape="cube"), TowerObject((8.1, 4.0), shape="sphere")
    shapes = scene_tower_targets([corner, other], tiny.tower_config())["shape"]
    assert shapes[0, :3].tolist() == [0, 1, 1]


def test_center_outside_the_map_has_no_targets() -> None:
    targets = scene_tower_targets([TowerObject((-1.0, 5.0), "small")], tiny.tower_config())
    assert targets["heatmap"].max() == 0
    assert (targets["size"] == -100).all()


def test_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="'orange'"):
        scene_tower_targets([TowerObject((5.0, 5.0), color="orange")], tiny.tower_config())


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0, 2.0]]])
    heatmap = torch.tensor([[[1.0, 0.5]]])
    high = torch.sigmoid(torch.tensor(2.0)).item()
    expected = -(0.25 * math.log(0.5) + 0.5**4 * high**2 * math.log(1 - high))
    assert center_focal_loss(logits, heatmap).item() == pytest.approx(expected, rel=1e-5)


def test_pretraining_learns_one_scene() -> None:
    torch.manual_seed(0)
    model = SceneTowerForPreTraining(tiny.tower_config()).train()
    targets = stacked_targets(model.config, [CUBE, SPHERE], [])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        output = model(make_pixels(), **targets)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_rgb_supervision_never_looks_at_color_names() -> None:
    torch.manual_seed(0)
    model = SceneTowerForPreTraining(tiny.tower_config(color_supervision="rgb")).eval()
    targets = stacked_targets(model.config, [CUBE])
    other = {**targets, "color": torch.full_like(targets["color"], 7)}
    first, second = model(make_pixels(1), **targets), model(make_pixels(1), **other)
    assert "color" not in first.losses
    assert first.loss == second.loss


def test_image_without_objects_gives_a_finite_loss() -> None:
    model = SceneTowerForPreTraining(tiny.tower_config()).eval()
    assert torch.isfinite(model(make_pixels(1), **stacked_targets(model.config, [])).loss)


def test_missing_targets_are_named() -> None:
    model = SceneTowerForPreTraining(tiny.tower_config())
    targets = stacked_targets(model.config, [CUBE])
    del targets["yaw"]
    with pytest.raises(ValueError, match="yaw"):
        model(make_pixels(1), **targets)


def test_tower_loads_from_a_pretraining_checkpoint(tmp_path) -> None:
    torch.manual_seed(0)
    model = SceneTowerForPreTraining(tiny.tower_config()).eval()
    model.save_pretrained(tmp_path)
    tower = SceneTowerModel.from_pretrained(tmp_path)
    pixels = make_pixels()
    assert torch.equal(tower(pixels).last_hidden_state, model.scene_tower(pixels).last_hidden_state)
