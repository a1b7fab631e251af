"""The 2D family: the checkerboard holds on the program text, and the disc is where the program says."""

import numpy as np
import pytest

from dataset_builders.two_d import draw_disc, is_trained_cell, sample_two_d_scene
from metrics.scene_program.strict_scores import in_trained_cell
from modeling_igllm import Point2D, format_program, parse_program


def places(split: str, count: int = 400) -> list[Point2D]:
    """Places as the program text has them."""
    scenes = [sample_two_d_scene("two_d", split, 0, index) for index in range(count)]
    return [parse_program(format_program(scene.program)).objects[0] for scene in scenes]  # type: ignore[misc]


@pytest.mark.parametrize("split", ["train", "val_id"])
def test_trained_places_lie_on_the_checkerboard(split: str) -> None:
    found = places(split)
    assert all(int(8 * place.x) % 2 == 0 and int(8 * place.y) % 2 == 0 for place in found)
    assert len({(int(8 * place.x), int(8 * place.y)) for place in found}) == 16


def test_ood_places_fill_the_square() -> None:
    found = places("val_ood")
    share = np.mean([is_trained_cell(place.x, place.y) for place in found])
    assert 0.17 < share < 0.33  # a quarter of the area
    assert len({(int(8 * place.x), int(8 * place.y)) for place in found}) > 60


def test_the_metric_knows_the_trained_cells() -> None:
    """It travels without this package and has a rule of its own; corners of cells are among the points."""
    points = np.stack(np.meshgrid(np.arange(1000), np.arange(1000)), axis=-1).reshape(-1, 2) / 1000
    points = np.concatenate([points[::37], points[(points * 1000 % 125 == 0).all(axis=1)]])
    assert in_trained_cell(points).tolist() == [is_trained_cell(x, y) for x, y in points]


def test_same_index_same_place_and_splits_share_none() -> None:
    assert places("train", 5) == places("train", 5)
    assert not set(places("train", 50)) & set(places("val_id", 50))


def test_disc_has_its_centre_and_its_area() -> None:
    picture = draw_disc(Point2D(0.25, 0.75), 336, 336).astype(float)
    assert (picture[..., 0] == 255).all()
    coverage = 1 - picture[..., 1] / 255
    rows, columns = np.indices(coverage.shape) + 0.5
    assert coverage.sum() == pytest.approx(np.pi * 25, rel=0.02)
    assert (coverage * columns).sum() / coverage.sum() == pytest.approx(0.25 * 336, abs=0.02)
    assert (coverage * rows).sum() / coverage.sum() == pytest.approx(0.75 * 336, abs=0.02)


def test_disc_is_clipped_at_the_border() -> None:
    inside, corner = (1 - draw_disc(Point2D(p, p), 336, 336)[..., 1].astype(float) / 255 for p in (0.5, 0.0))
    assert corner.sum() == pytest.approx(inside.sum() / 4, rel=0.02)


def test_disc_scales_with_the_picture() -> None:
    small = 1 - draw_disc(Point2D(0.5, 0.5), 168, 168)[..., 1].astype(float) / 255
    assert small.sum() == pytest.approx(np.pi * 2.5**2, rel=0.05)
