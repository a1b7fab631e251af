"""Mirror images of scenes: every label must be true of the flipped picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, load_dataset

from dataset_builders.build import build_family
from dataset_builders.camera import CLEVR_CAMERA_LOCATION, Camera
from modeling_igllm import ClevrObject, parse_program
from trl_scripts.errors import CommandError
from trl_scripts.mirrored_rows import REFLECTION, mirror_program, mirror_row, with_mirrored

CLEVR = "\n".join(
    [
        "add(size='large', color='red', material='metal', shape='sphere', loc=(-2.000, -1.000, 0.700))",
        "add(size='small', color='blue', material='rubber', shape='cube', loc=(1.000, 2.000, 0.350), rotation=0.400)",
    ]
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("data")
    build_family(
        "clevr", out, splits=("train",), num_scenes=2, resolution=(96, 72), samples=1, ground_truth=True, workers=1
    )
    return load_dataset(str(out), "clevr", split="train")


def corners(row: dict[str, Any], index: int) -> np.ndarray:
    """Where the corners of a cube around an object are seen, by the row's labels alone: (8, 2) pixels."""
    cube = row["scene"]["objects"][index]
    offsets = 0.5 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    points = offsets @ np.array(cube["rotation"]).T + cube["loc"]
    world_to_camera = np.array(row["scene"]["camera"]["world_to_camera"])
    seen = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    pixels = seen @ np.array(row["scene"]["camera"]["intrinsics"]).T
    return pixels[:, :2] / pixels[:, 2:]


def test_the_reflected_labels_project_to_the_flipped_pixels(rows: Dataset) -> None:
    places = [
        (row, index) for row in rows for index, item in enumerate(row["scene"]["objects"]) if item["shape"] == "cube"
    ]
    assert places, "no scene with a cube: choose another seed"
    for row, index in places:
        expected = corners(row, index) * [-1, 1] + [row["image"].width, 0]
        seen = corners(mirror_row(row), -1 - index)
        # Which corner is which may change, the set of them may not.
        distances = np.linalg.norm(expected[:, None] - seen[None], axis=-1)
        assert distances.min(axis=0).max() < 1e-4 and distances.min(axis=1).max() < 1e-4


def test_pictures_masks_and_depth_are_flipped_with_the_objects_they_show(rows: Dataset) -> None:
    row, mirrored = rows[0], mirror_row(rows[0])
    assert np.array_equal(np.asarray(mirrored["image"]), np.asarray(row["image"])[:, ::-1])
    assert mirrored["depth"] == [line[::-1] for line in row["depth"]]
    mask, flipped = (np.asarray(one["instance_mask"])[:, ::step] for one, step in ((row, 1), (mirrored, -1)))
    count = len(row["scene"]["objects"])
    for index in range(count):
        assert np.array_equal(mask == index + 1, flipped == count - index)
        same, other = row["scene"]["objects"][index], mirrored["scene"]["objects"][count - 1 - index]
        assert (same["color"], same["shape"], same["size"]) == (other["color"], other["shape"], other["size"])
    assert np.array_equal(mask == 0, flipped == 0)


def test_the_program_says_what_the_mirrored_scene_says(rows: Dataset) -> None:
    for row in map(mirror_row, rows):
        for item, labels in zip(parse_program(row["program"]).objects, row["scene"]["objects"], strict=True):
            assert isinstance(item, ClevrObject)
            assert item.loc == pytest.approx(labels["loc"], abs=2e-3)
            assert (item.color, item.shape) == (labels["color"], labels["shape"])
            # 0 and a quarter turn are the same.
            difference = 0.0 if item.rotation is None else item.rotation - labels["yaw"]
            assert min(abs(difference), np.pi / 2 - abs(difference)) < 2e-3


def test_objects_stay_ordered_from_left_to_right(rows: Dataset) -> None:
    columns = [item["pixel_coords"][0] for item in mirror_row(rows[0])["scene"]["objects"]]
    assert columns == sorted(columns)


def test_the_mirror_holds_the_camera_without_jitter_and_undoes_itself() -> None:
    assert pytest.approx(CLEVR_CAMERA_LOCATION) == REFLECTION @ CLEVR_CAMERA_LOCATION
    point = np.array([[1.0, 2.0, 0.5]])
    (x, y, depth), (mirrored_x, mirrored_y, mirrored_depth) = (
        Camera().project(one, 160, 120)[0] for one in (point, point @ REFLECTION.T)
    )
    assert (mirrored_x, mirrored_y, mirrored_depth) == pytest.approx((160 - x, y, depth))
    program = parse_program(CLEVR)
    twice = mirror_program(mirror_program(program))
    for item, same in zip(program.objects, twice.objects, strict=True):
        assert isinstance(item, ClevrObject) and isinstance(same, ClevrObject)
        assert item.loc == pytest.approx(same.loc)
        assert item.rotation == pytest.approx(same.rotation)


def test_every_row_is_there_once_as_it_is_and_once_mirrored(rows: Dataset) -> None:
    both = with_mirrored(rows.select_columns(["image", "program"]))
    assert both["program"][:2] == rows["program"][:]
    assert both["program"][2:] == [mirror_row(row)["program"] for row in rows]


def test_other_scenes_are_refused(tmp_path: Path) -> None:
    build_family("two_d", tmp_path, splits=("train",), num_scenes=1, workers=1)
    row = load_dataset(str(tmp_path), "two_d", split="train")[0]
    with pytest.raises(CommandError, match="a Point2D cannot be mirrored, only CLEVR's objects: leave out --mirror"):
        mirror_row({"image": row["image"], "program": row["program"]})
    with pytest.raises(CommandError, match="scenes of 'two_d' cannot be mirrored"):
        mirror_row({name: row[name] for name in ("image", "scene")})
