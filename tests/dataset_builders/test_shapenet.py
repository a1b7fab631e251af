"""The ShapeNet family: what training never sees is never seen, and objects stand apart on the ground."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pyarrow.parquet as pq
import pytest
from mesh_files import TRIANGLE_OBJ, put
from scipy.optimize import linprog

from dataset_builders.build import plan_build
from dataset_builders.families import FAMILIES
from dataset_builders.painters import Picture
from dataset_builders.palette import NUM_TEXTURES
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.sampled_scene import SampledScene
from dataset_builders.schema import scene_row
from dataset_builders.shape_catalog import LIBRARY, ShapeCatalog
from dataset_builders.shape_library import CATEGORIES, VARIANTS, make_shape, shape_names
from dataset_builders.shapenet import (
    SHAPENET_CAMERA,
    UNSEEN_TEXTURES,
    box_distance,
    ground_box,
    sample_shapenet_scene,
)
from dataset_builders.shards import SplitPlan, claim_folder, write_shard
from modeling_igllm import COLORS, PosedObject, format_program, parse_program

SPLITS = ("train", "val_id", "val_ood_texture", "val_ood_shape")
SCENES = 100
Rows = dict[str, list[dict[str, Any]]]


@cache
def scenes(split: str) -> list[SampledScene]:
    return [plan(Path(), split).sample(index) for index in range(SCENES)]


def plan(out: Path, split: str) -> SplitPlan:
    return SplitPlan(out, "shapenet", split, SCENES, seed=0, width=8, height=8, samples=1)


@cache
def posed(scene: SampledScene) -> list[PosedObject]:
    """The objects as the program text gives them."""
    items = parse_program(format_program(scene.program)).objects
    return [item for item in items if isinstance(item, PosedObject)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows of every split as they are on disk, but for their pictures."""
    out, picture = tmp_path_factory.mktemp("built"), Picture(np.zeros((8, 8, 3), np.uint8))
    rows = {}
    for split in SPLITS:
        claim_folder(plan(out, split))
        write_shard(plan(out, split), 0, [scene_row(scene, picture, "4.5") for scene in scenes(split)])
        rows[split] = pq.read_table(plan(out, split).shard_path(0)).to_pylist()
    return rows


def values(rows: Rows, attribute: str, *splits: str) -> set[Any]:
    """All values of an attribute of objects in the column `scene`."""
    return {item[attribute] for split in splits for row in rows[split] for item in row["scene"]["objects"]}


def words(rows: Rows, *splits: str) -> set[str]:
    """All shapes in the column `program`."""
    return {word for split in splits for row in rows[split] for word in re.findall("shape='([^']*)'", row["program"])}


def test_the_family_has_these_splits() -> None:
    assert FAMILIES["shapenet"].splits == SPLITS
    assert FAMILIES["shapenet"].split_size("val_ood_shape") == 1000


def test_unseen_textures_are_disjoint_from_training(built: Rows) -> None:
    trained = values(built, "texture", "train", "val_id")
    assert not trained & values(built, "texture", "val_ood_texture", "val_ood_shape")
    assert len(trained) == 80  # all that there are
    for split in ("val_ood_texture", "val_ood_shape"):
        assert values(built, "texture", split) == set(range(NUM_TEXTURES)) - trained


def test_unseen_shapes_are_disjoint_from_training_and_of_every_category(built: Rows) -> None:
    known = ("train", "val_id", "val_ood_texture")
    unseen, trained = words(built, "val_ood_shape"), words(built, *known)
    assert (unseen, trained) == (values(built, "shape", "val_ood_shape"), values(built, "shape", *known))
    assert not unseen & trained
    assert unseen | trained == set(shape_names())
    for found in (unseen, trained):
        assert {name.partition("_")[0] for name in found} == set(CATEGORIES)


@pytest.mark.parametrize("split", SPLITS)
def test_programs_of_rows_are_canonical_and_rebuild_their_scenes(built: Rows, split: str) -> None:
    for scene, row in zip(scenes(split), built[split], strict=True):
        assert scene.program is not None
        assert parse_program(row["program"]) == scene.program.rounded(3)
        assert format_program(parse_program(row["program"])) == row["program"]
        for line in row["program"].splitlines():  # no texture
            assert re.findall(r"(\w+)=", line) == ["color", "shape", "loc", "rotation"]


def test_the_lists_are_fixed() -> None:
    """They belong to the identity of published scenes, whatever the seed of a dataset."""
    assert LIBRARY.unseen[0] == ("airplane_01", "airplane_02", "airplane_04", "airplane_21", "airplane_22")
    assert [len(names) for names in LIBRARY.trained] == [VARIANTS - 5] * len(CATEGORIES)
    other = [sample_shapenet_scene("shapenet", "train", 1, index) for index in range(40)]
    assert not {item.shape for scene in other for item in posed(scene)} & set(sum(LIBRARY.unseen, ()))
    assert not {texture for scene in other for texture in scene.textures} & set(UNSEEN_TEXTURES)


@pytest.mark.parametrize("split", SPLITS)
def test_boxes_are_apart_on_the_ground(split: str) -> None:
    for scene in scenes(split):
        boxes = [ground_box(item, LIBRARY.size(item.shape)) for item in posed(scene)]
        for number, box in enumerate(boxes):
            assert all(box_distance(box, other) >= 0.1 for other in boxes[:number])
    for item in (item for scene in scenes(split) for item in posed(scene)):
        assert max(abs(item.loc[0]), abs(item.loc[1])) <= 2
        assert item.rotation.matrix[2] == pytest.approx([0, 0, 1])  # a yaw


def test_distance_of_boxes_agrees_with_two_other_ways() -> None:
    """They overlap exactly if a point is in both; else the widest gap over all directions is their distance."""
    rng = np.random.default_rng(0)
    overlapping = 0
    for _ in range(30):
        first, second = (_random_rectangle(rng) for _ in range(2))
        distance = box_distance(first, second)
        assert distance == pytest.approx(box_distance(second, first), abs=1e-9)
        assert distance == pytest.approx(_support_distance(first, second), abs=2e-3)
        overlapping += distance == 0
        # Points of both as convex combinations of their corners, equal to each other.
        weights = np.block([[first.T, -second.T], [np.ones(4), np.zeros(4)], [np.zeros(4), np.ones(4)]])
        is_feasible = linprog(np.zeros(8), A_eq=weights, b_eq=[0, 0, 1, 1]).success
        assert is_feasible == (distance == 0)
    assert 3 < overlapping < 27


def _random_rectangle(rng: np.random.Generator) -> np.ndarray:
    angle, (width, height) = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (width / 2, height / 2) @ turn.T + rng.uniform(
        -0.6, 0.6, 2
    )


def _support_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The widest gap between the two over all directions, or 0."""
    angles = np.linspace(0, 2 * np.pi, 4000)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    return max(0.0, float(((first @ directions).min(axis=0) - (second @ directions).max(axis=0)).max()))


def test_every_object_rests_on_the_ground() -> None:
    scene = max(scenes("val_ood_shape"), key=lambda scene: len(scene.objects))
    session = RenderSession(RenderQuality(16, 16, 1))
    session.place(scene.objects, SHAPENET_CAMERA, scene.lights, scene.textures)
    bpy.context.view_layer.update()
    for item, placed in zip(posed(scene), session._placed, strict=True):
        points = np.array([placed.matrix_world @ vertex.co for vertex in placed.data.vertices])
        assert points[:, 2].min() == pytest.approx(0, abs=1e-6)
        assert np.ptp(make_shape(item.shape).vertices, axis=0).max() == pytest.approx(1)
        box = ground_box(item, LIBRARY.size(item.shape))
        assert (points[:, :2].min(axis=0) >= box.min(axis=0) - 2e-3).all()
        assert (points[:, :2].max(axis=0) <= box.max(axis=0) + 2e-3).all()


def test_all_of_every_object_is_in_the_picture() -> None:
    """In a square picture and in one of 4:3."""
    for scene in scenes("train"):
        for item in posed(scene):
            box = ground_box(item, LIBRARY.size(item.shape))
            corners = [(x, y, z) for x, y in box for z in (0, 2 * item.loc[2])]
            seen = SHAPENET_CAMERA.project(np.array(corners), 320, 320)[:, :2]
            assert seen.min() > 0 and seen.max() < 320
            assert seen[:, 1].min() > 40 and seen[:, 1].max() < 280


def test_objects_are_counted_mixed_and_ordered_as_promised() -> None:
    counts = Counter(len(scene.objects) for scene in scenes("train"))
    assert set(counts) == {3, 4, 5}
    assert min(counts.values()) > 20
    for scene in scenes("train"):
        items = posed(scene)
        assert len({item.category for item in items}) > 1
        assert len(scene.textures) == len(items)
        seen = SHAPENET_CAMERA.project(np.array([item.loc for item in scene.objects]), 256, 256)  # type: ignore[union-attr]
        assert (np.diff(seen[:, 0]) >= 0).all()
    assert {item.color for scene in scenes("train") for item in posed(scene)} == set(COLORS)


def test_yaw_is_uniform() -> None:
    matrices = [item.rotation.matrix for scene in scenes("train") for item in posed(scene)]
    yaw = np.array([np.arctan2(matrix[1, 0], matrix[0, 0]) for matrix in matrices])
    counts, _ = np.histogram(yaw, 4, (-np.pi, np.pi))
    assert counts.min() > 0.2 * len(yaw)


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_are_pure_functions_of_their_number(split: str) -> None:
    assert sample_shapenet_scene("shapenet", split, 0, 9) == scenes(split)[9]
    assert sample_shapenet_scene("shapenet", split, 1, 9) != scenes(split)[9]


def test_splits_share_no_scene() -> None:
    places = [item.loc for split in SPLITS for scene in scenes(split) for item in posed(scene)]
    assert len(set(places)) == len(places)


def catalog(*names: str) -> ShapeCatalog:
    return ShapeCatalog(names, lambda name: (1.0, 0.5, 0.25))


def test_a_users_catalog_is_split_category_by_category() -> None:
    names = [f"{category}_{number}" for category in ("dog", "cat") for number in range(10)]
    own = catalog(*names, "bird_only")
    assert [len(found) for found in own.trained] == [8, 8, 1]
    assert [len(found) for found in own.unseen] == [2, 2]
    assert not set(sum(own.trained, ())) & set(sum(own.unseen, ()))
    scene = sample_shapenet_scene("shapenet", "val_ood_shape", 0, 0, own)
    assert {item.shape for item in posed(scene)} <= set(sum(own.unseen, ()))
    assert {item.loc[2] for item in posed(scene)} == {0.125}


def test_one_category_is_enough() -> None:
    scene = sample_shapenet_scene("shapenet", "train", 0, 0, catalog("dog_a", "dog_b"))
    assert {item.category for item in posed(scene)} == {"dog"}


def test_a_catalog_without_two_of_a_category_has_no_unseen_shapes() -> None:
    with pytest.raises(ValueError, match="no category has two shapes"):
        sample_shapenet_scene("shapenet", "val_ood_shape", 0, 0, catalog("dog_a", "cat_a"))


def test_a_users_folder_without_two_of_a_category_is_refused_before_anything_is_rendered(tmp_path: Path) -> None:
    for place in ("dog/a/a.obj", "cat/a/a.obj"):
        put(tmp_path / "meshes", place, TRIANGLE_OBJ)
    with pytest.raises(ValueError, match="val_ood_shape: add some, or build the other splits alone"):
        plan_build("shapenet", tmp_path / "out", meshes=tmp_path / "meshes")
    assert plan_build("shapenet", tmp_path / "out", splits=("train",), meshes=tmp_path / "meshes")
