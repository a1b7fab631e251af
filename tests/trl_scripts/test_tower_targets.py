"""Objects become dense maps, and maps exist only of what the objects have."""

import math

import numpy as np
import pytest
import torch
from towers import CUBE, DISC, POSED, SPHERE, stacked_targets, tower_config

from modeling_igllm import SHAPES
from trl_scripts.tower_ground_truth import surface_targets
from trl_scripts.tower_targets import TowerObject, object_targets


def test_targets_place_objects_at_their_cells() -> None:
    targets = object_targets([CUBE, SPHERE], tower_config(), SHAPES)
    # x = 20 px, y = 12 px is column 2, row 1 of the stride-8 map.
    assert targets["heatmap"][1, 2] == targets["heatmap"][1, 4] == 1
    assert targets["heatmap"][1, 1] == pytest.approx(math.exp(-0.5))
    assert targets["shape"][0:3, 1:7].tolist() == 3 * [[0, 0, 0, 1, 1, -100]]
    assert targets["position"][:, 1, 2].tolist() == [1, 2, 3]
    assert targets["yaw"][:, 1, 2].tolist() == pytest.approx([math.sin(1.2), math.cos(1.2)])
    assert targets["yaw"][:, 1, 4].isnan().all()
    assert targets["offset"][:, 1, 2].tolist() == [0.0, 0.0]
    assert targets["offset"][:, 2, 1].tolist() == [1.0, -1.0]


def test_yaw_is_the_same_after_a_quarter_turn() -> None:
    first, second = (
        object_targets([TowerObject((4.0, 4.0), yaw=yaw)], tower_config(), SHAPES)["yaw"][:, 0, 0]
        for yaw in (0.2, 0.2 + math.pi / 2)
    )
    torch.testing.assert_close(first, second)


def test_close_centers_keep_their_own_cells() -> None:
    # The middle of the first cell is nearer to the second centre than to its own.
    corner, other = TowerObject((0.5, 0.5), shape="cube"), TowerObject((8.1, 4.0), shape="sphere")
    assert object_targets([corner, other], tower_config(), SHAPES)["shape"][0, :3].tolist() == [0, 1, 1]


def test_center_outside_the_map_has_no_targets() -> None:
    targets = object_targets([TowerObject((-1.0, 5.0), "small")], tower_config(), SHAPES)
    assert targets["heatmap"].max() == 0
    assert set(targets) == {"heatmap"}


@pytest.mark.parametrize(
    ("item", "names"),
    [
        (DISC, {"rgb"}),
        (SPHERE, {"size", "color", "material", "shape", "rgb", "position"}),
        (POSED, {"color", "shape", "rotation"}),
    ],
)
def test_there_are_maps_of_what_an_object_has_alone(item: TowerObject, names: set[str]) -> None:
    assert set(object_targets([item], tower_config(), SHAPES)) == {"heatmap", "offset"} | names


def test_a_batch_ignores_what_an_image_does_not_have() -> None:
    targets = stacked_targets(tower_config(), [CUBE], [DISC])
    assert (targets["size"][1] == -100).all() and (targets["size"][0] != -100).any()
    assert targets["position"][1].isnan().all() and not targets["position"][0].isnan().all()
    assert not targets["rgb"][1].isnan().all()


@pytest.mark.parametrize(("item", "word"), [({"color": "orange"}, "orange"), ({"shape": "teapot"}, "teapot")])
def test_unknown_word_is_refused(item: dict[str, str], word: str) -> None:
    with pytest.raises(ValueError, match=f"cube|gray.*{word}"):
        object_targets([TowerObject((5.0, 5.0), **item)], tower_config(), SHAPES)


def make_truth(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Object 1 in the left quarter of the picture, and above it nothing at all."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 4] = 1
    depth = np.full((height, width), 5.0, np.float32)
    depth[:, : width // 4] = 2.0
    depth[: height // 5] = np.inf
    return mask, depth


def test_silhouette_and_depth_are_read_where_they_are_seen() -> None:
    targets = surface_targets(*make_truth(80, 128), [CUBE], tower_config())  # twice the tower's 40 x 64
    silhouette, depth, votes = targets["silhouette"], targets["depth"], targets["to_center"]
    assert silhouette.shape == depth.shape == (16, 8, 8)
    assert (silhouette[:, :5, :2] == 1).all() and (silhouette[:, :5, 2:] == 0).all()
    torch.testing.assert_close(depth[:, 1:5, :2], torch.full((16, 4, 2), math.log(2.0)))
    torch.testing.assert_close(depth[:, 1:5, 2:], torch.full((16, 4, 6), math.log(5.0)))
    assert depth[:, 0].isnan().all()  # nothing is seen there
    # The tower pads its 40 rows to 64.
    assert silhouette[:, 5:].isnan().all() and depth[:, 5:].isnan().all() and votes[:, 5:].isnan().all()
    # From the middle of row 0, column 0 to (20, 12) px.
    assert votes[:, 0, 0].tolist() == [2.0, 1.0]
    assert votes[:, :5, 2:].isnan().all()


def test_points_of_a_cell_come_row_by_row() -> None:
    mask, depth = make_truth(40, 64)
    mask[:] = 0
    mask[2:4, 4:6] = 1  # second row, third column of the points of the first cell
    silhouette = surface_targets(mask, depth, [CUBE], tower_config())["silhouette"]
    assert silhouette[:, 0, 0].nonzero().flatten().tolist() == [1 * 4 + 2]
    assert silhouette.nansum() == 1


def test_padding_of_the_picture_is_not_asked() -> None:
    # 64 x 20 pixels lie in the middle of the tower's 64 x 40.
    silhouette = surface_targets(*make_truth(20, 64), [CUBE], tower_config())["silhouette"]
    asked = ~torch.pixel_shuffle(silhouette[None], 4)[0, 0].isnan()
    assert asked[:, 0].nonzero().flatten().tolist() == list(range(5, 15))  # one point every two pixels
