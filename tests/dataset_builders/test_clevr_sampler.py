"""The rules of the CLEVR generator (BENCHMARKS), recomputed from the scenes that come out."""

import itertools
import math

import numpy as np
import pytest

from dataset_builders.clevr_sampler import PALETTES, sample_clevr_scene
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.sampled_scene import SampledScene
from dataset_builders.visibility import count_visible_pixels
from modeling_igllm import COLORS, ClevrObject, format_program

SCENES_PER_SPLIT = 12
RADIUS = {"large": 0.7, "small": 0.35}
HALF_A, HALF_B = {"gray", "blue", "brown", "yellow"}, {"red", "green", "purple", "cyan"}


@pytest.fixture(scope="module")
def by_split() -> dict[tuple[str, str], list[SampledScene]]:
    return {
        (family, split): [sample_clevr_scene(family, split, 0, index) for index in range(SCENES_PER_SPLIT)]
        for family, split in PALETTES
    }


@pytest.fixture(scope="module")
def scenes(by_split: dict[tuple[str, str], list[SampledScene]]) -> list[SampledScene]:
    return list(itertools.chain.from_iterable(by_split.values()))


def pairs(scene: SampledScene) -> list[tuple[ClevrObject, ClevrObject]]:
    return list(itertools.combinations(scene.objects, 2))


def colors_of(scenes: list[SampledScene], shape: str) -> set[str]:
    return {item.color for scene in scenes for item in scene.objects if item.shape == shape}


def test_a_published_scene_stays_what_it_is() -> None:
    scene = sample_clevr_scene("clevr_cogent", "val_ood", 3, 5)
    assert format_program(scene.program).splitlines() == [
        "add(size='small', color='gray', material='rubber', shape='sphere', loc=(-2.490, -1.435, 0.350))",
        "add(size='small', color='brown', material='rubber', shape='cylinder', loc=(-2.504, 1.020, 0.350))",
        "add(size='large', color='blue', material='rubber', shape='cylinder', loc=(0.902, 0.439, 0.700))",
        "add(size='small', color='gray', material='metal', shape='cylinder', loc=(0.239, 2.751, 0.350))",
    ]
    assert scene.camera.location == pytest.approx((7.825468020586794, -6.88939928513727, 4.921210184661009))
    assert scene.visible_pixels == (322, 387, 2515, 397)


def test_same_seed_gives_the_same_scene(by_split: dict[tuple[str, str], list[SampledScene]]) -> None:
    for (family, split), scenes in by_split.items():
        again = sample_clevr_scene(family, split, 0, SCENES_PER_SPLIT - 1)  # alone, without those before it
        assert again == scenes[-1]
        assert again.program.to_json() == scenes[-1].program.to_json()


def test_another_seed_gives_another_scene(scenes: list[SampledScene]) -> None:
    first = scenes[0]
    assert sample_clevr_scene(first.family, first.split, 1, first.index).objects != first.objects


def test_no_scene_is_shared_between_splits_or_indices(scenes: list[SampledScene]) -> None:
    assert len({scene.objects for scene in scenes}) == len(scenes)
    assert len({scene.camera for scene in scenes}) == len(scenes)


def test_unrestricted_scenes_mix_the_two_palettes(by_split: dict[tuple[str, str], list[SampledScene]]) -> None:
    for split in ("train", "val_id"):
        for shape in ("cube", "cylinder"):
            found = colors_of(by_split["clevr", split], shape)
            assert found & HALF_A
            assert found & HALF_B


@pytest.mark.parametrize(
    ("split", "cubes", "cylinders"),
    [("train", HALF_A, HALF_B), ("val_id", HALF_A, HALF_B), ("val_ood", HALF_B, HALF_A)],
)
def test_cogent_palettes(
    by_split: dict[tuple[str, str], list[SampledScene]], split: str, cubes: set[str], cylinders: set[str]
) -> None:
    scenes = by_split["clevr_cogent", split]
    assert colors_of(scenes, "cube") == cubes
    assert colors_of(scenes, "cylinder") == cylinders
    assert colors_of(scenes, "sphere") & HALF_A
    assert colors_of(scenes, "sphere") & HALF_B


def test_every_word_occurs(scenes: list[SampledScene]) -> None:
    items = [item for scene in scenes for item in scene.objects]
    assert {item.color for item in items} == set(COLORS)
    assert {item.size for item in items} == {"large", "small"}
    assert {item.material for item in items} == {"rubber", "metal"}
    assert {item.shape for item in items} == {"cube", "sphere", "cylinder"}


def test_scenes_hold_three_to_ten_objects(scenes: list[SampledScene]) -> None:
    counts = {len(scene.objects) for scene in scenes}
    assert counts <= set(range(3, 11))
    assert {3, 8} <= counts


def test_objects_stand_on_the_ground_within_three_metres(scenes: list[SampledScene]) -> None:
    for scene in scenes:
        for item in scene.objects:
            assert max(abs(item.loc[0]), abs(item.loc[1])) <= 3.0
            assert item.loc[2] == RADIUS[item.size]


def test_surfaces_are_a_quarter_metre_apart(scenes: list[SampledScene]) -> None:
    for one, other in itertools.chain.from_iterable(map(pairs, scenes)):
        distance = math.dist(one.loc[:2], other.loc[:2])
        assert distance - RADIUS[one.size] - RADIUS[other.size] >= 0.25


def test_centres_keep_the_margin_along_the_camera_directions(scenes: list[SampledScene]) -> None:
    for scene in scenes:
        view = -np.array(scene.camera.location[:2])
        behind = view / np.linalg.norm(view)
        right = np.array([behind[1], -behind[0]])
        for one, other in pairs(scene):
            offset = np.subtract(one.loc[:2], other.loc[:2])
            assert abs(offset @ behind) >= 0.4 - 1e-9
            assert abs(offset @ right) >= 0.4 - 1e-9


def test_every_object_shows_200_pixels(scenes: list[SampledScene]) -> None:
    for scene in scenes:
        assert scene.visible_pixels == count_visible_pixels(scene.objects, scene.camera, 320, 240)
        assert min(scene.visible_pixels) >= 200


def test_objects_come_from_left_to_right(scenes: list[SampledScene]) -> None:
    for scene in scenes:
        x = scene.camera.project(np.array([item.loc for item in scene.objects]), 320, 240)[:, 0]
        assert (np.diff(x) > 0).all()


def test_yaw_is_of_cubes_only_and_below_a_quarter_turn(scenes: list[SampledScene]) -> None:
    yaws = []
    for item in itertools.chain.from_iterable(scene.objects for scene in scenes):
        if item.shape == "cube":
            assert item.rotation is not None
            yaws.append(item.rotation)
        else:
            assert item.rotation is None
    assert 0 <= min(yaws) < 0.2
    assert math.pi / 2 - 0.2 < max(yaws) < math.pi / 2


def test_camera_and_lamps_are_jittered_within_their_extents(scenes: list[SampledScene]) -> None:
    cameras = np.array([scene.camera.location for scene in scenes]) - (7.481, -6.508, 5.344)
    assert 0.4 < np.abs(cameras).max() <= 0.5
    assert all(scene.camera.target == (0.0, 0.0, 0.0) for scene in scenes)
    lamps = np.array([[light.location for light in scene.lights] for scene in scenes])
    offsets = lamps - [light.location for light in CLEVR_LIGHTS]
    assert 0.9 < np.abs(offsets).max() <= 1.0
    for scene in scenes:
        assert [(light.energy, light.size) for light in scene.lights] == [(78.5, 0.5), (23.6, 0.5), (39.3, 1.0)]


def test_some_scenes_needed_another_attempt(scenes: list[SampledScene]) -> None:
    attempts = [scene.attempt for scene in scenes]
    assert 0 in attempts
    assert max(attempts) > 0


@pytest.mark.parametrize(("family", "split"), [("clevr", "val_ood"), ("two_d", "train")])
def test_splits_that_are_not_clevr_are_refused(family: str, split: str) -> None:
    with pytest.raises(KeyError):
        sample_clevr_scene(family, split, 0, 0)
