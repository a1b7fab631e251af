"""Camera space: positions as the camera of each scene sees them, and how well one picture tells them at all.

A CLEVR scene's camera stands up to half a metre off (spec BENCHMARKS), and no picture says where. Whoever reads
perfect centres through the unjittered camera is off all the same: that is the floor of `l2` for such a reader.
"""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset, load_dataset
from scipy.optimize import linear_sum_assignment

from dataset_builders.camera import Camera
from modeling_igllm import ClevrObject, SceneProgram

from .errors import CommandError


def load_cameras(dataset: str, config: str | None, split: str) -> list[Camera]:
    """The camera of every scene of a split of CLEVR's families, in order.

    Raises:
        CommandError: if a scene has no camera, or one that does not look at the origin as CLEVR's do.
    """
    rows = load_dataset(dataset, config, split=split)
    name = f"split {split!r} of {dataset!r}"
    if "scene" not in rows.column_names:
        raise CommandError(f"{name} has no column 'scene' with the cameras: build it with `igllm build`")
    return [_read_camera(row["scene"], f"row {i} of {name}") for i, row in enumerate(rows.select_columns("scene"))]


def camera_space_scores(
    predictions: Sequence[SceneProgram | None],
    references: Sequence[SceneProgram],
    cameras: Sequence[Camera],
    resolution: tuple[int, int],
) -> dict[str, float]:
    """Compare positions in the pictures that they were read from.

    Args:
        predictions: one scene each, None for an answer that is no program.
        references: as many true scenes of CLEVR objects.
        cameras: of these scenes.
        resolution: (width, height) of the pictures in pixels.

    Returns:
        `camera/reprojection_px`: distance in pixels of predicted and true centre, both projected by the scene's own
        camera, mean over the objects that the metric matches (Hungarian on metres); NaN if there are none.
        `camera/floor_l2`: metres by which true centres are off that are read at their true heights through the
        unjittered camera, mean over all objects. `camera/floor_reprojection_px`: the same in pixels.

    Raises:
        CommandError: if a reference is not of CLEVR's families.
    """
    check_clevr_scenes(references)
    errors: list[np.ndarray] = []
    floor_errors: list[np.ndarray] = []
    floor_metres: list[np.ndarray] = []
    for predicted, true, camera in zip(predictions, references, cameras, strict=True):
        places = _places(true)
        errors.append(_pixels_apart(*_match(_places(predicted), places), camera, resolution))
        read = Camera().unproject(camera.project(places, *resolution)[:, :2], places[:, 2], *resolution)
        floor_metres.append(np.linalg.norm(read - places, axis=1))
        floor_errors.append(_pixels_apart(read, places, camera, resolution))
    return {
        "camera/reprojection_px": _mean(errors),
        "camera/floor_l2": _mean(floor_metres),
        "camera/floor_reprojection_px": _mean(floor_errors),
    }


def check_clevr_scenes(references: Sequence[SceneProgram]) -> None:
    """CommandError if a scene has other than CLEVR's objects."""
    if any(len(_places(true)) != len(true.objects) for true in references):
        raise CommandError("camera space is that of CLEVR's families: leave out --camera-space")


def scene_facts(dataset: str, config: str | None, split: str) -> dict[str, object]:
    """Where the scenes of a split come from: `seeds`, `resolution` (width, height) and `bpy_version`, as lists."""
    rows: Dataset = load_dataset(dataset, config, split=split)
    scenes = rows.select_columns("scene")["scene"]
    return {
        "seeds": sorted({scene["seed"] for scene in scenes}),
        "resolution": list(rows[0]["image"].size),
        "bpy_versions": sorted({scene["bpy_version"] for scene in scenes}),
    }


def _read_camera(scene: dict, place: str) -> Camera:
    if scene["camera"] is None:
        raise CommandError(f"{place} has no camera: camera space needs scenes of `igllm build`")
    world_to_camera = np.array(scene["camera"]["world_to_camera"])
    x, y, z = (-world_to_camera[:3, :3].T @ world_to_camera[:3, 3]).tolist()
    camera = Camera(location=(x, y, z))
    if not np.allclose(camera.world_to_camera(), world_to_camera, atol=1e-6):
        raise CommandError(f"the camera of {place} does not look at the origin as CLEVR's: leave out --camera-space")
    return camera


def _places(scene: SceneProgram | None) -> np.ndarray:
    """(objects, 3) metres; other kinds of objects are left out, as by the metric."""
    objects = [] if scene is None else [item.loc for item in scene.objects if isinstance(item, ClevrObject)]
    return np.array(objects, dtype=float).reshape(-1, 3)


def _match(predicted: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both that belong to each other, by the least sum of distances."""
    rows, columns = linear_sum_assignment(np.linalg.norm(predicted[:, None] - true[None], axis=2))
    return predicted[rows], true[columns]


def _pixels_apart(first: np.ndarray, second: np.ndarray, camera: Camera, resolution: tuple[int, int]) -> np.ndarray:
    pixels = [camera.project(points, *resolution)[:, :2] for points in (first, second)]
    return np.linalg.norm(pixels[0] - pixels[1], axis=1)


def _mean(parts: list[np.ndarray]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if len(values) else float("nan")
