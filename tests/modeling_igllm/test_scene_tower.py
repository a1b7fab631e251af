"""Promises of the scene tower."""

import pytest
import tiny
import torch

from modeling_igllm import SceneTowerConfig, SceneTowerModel


def make_pixels(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, tiny.HEIGHT, tiny.WIDTH, generator=torch.Generator().manual_seed(0))


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
