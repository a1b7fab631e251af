"""A scene program as a picture or a 3D file: what `igllm render` and `ScenePrediction.render` call.

A program says nothing of camera and lamps: they are those of a family, by default of the one that has such scenes.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modeling_igllm import Point2D, PosedObject, SceneProgram

from .camera import Camera
from .families import FAMILIES
from .lights import CLEVR_LIGHTS
from .mesh_folder import MeshFolder
from .shape_library import CATEGORIES, VARIANTS, shape_names
from .shapenet import SHAPENET_CAMERA
from .six_dof import SIX_DOF_CAMERA
from .so3 import SHAPE, SO3_CAMERA
from .whole_file import write_whole

if TYPE_CHECKING:
    from .rendering.session import RenderSession

SUFFIXES = (".png", ".blend", ".glb", ".usd")
CAMERAS = {"clevr": Camera(), "so3": SO3_CAMERA, "six_dof": SIX_DOF_CAMERA, "shapenet": SHAPENET_CAMERA}
"""The families that can be rendered, with their cameras; CLEVR's is unjittered."""
SO3_RADIUS = 0.05  # metres: an airplane as near as this to the origin is one of `so3`


def usual_family(scene: SceneProgram) -> str:
    """Return the key of `CAMERAS` whose scenes look like this one; an empty scene is CLEVR's.

    Posed objects are of `shapenet`, but for a single `airplane` without an id: of `so3` at the origin, else of
    `six_dof`.
    """
    posed = [item for item in scene.objects if isinstance(item, PosedObject)]
    if not posed:
        return "clevr"
    if len(posed) == 1 and posed[0].shape == SHAPE:
        return "so3" if math.hypot(*posed[0].loc) <= SO3_RADIUS else "six_dof"
    return "shapenet"


def render_program(
    scene: SceneProgram,
    resolution: tuple[int, int] | None = None,
    samples: int = 64,
    family: str | None = None,
    meshes: Path | None = None,
) -> np.ndarray:
    """Render a scene.

    Args:
        resolution: (width, height) in pixels; the family's own when None.
        samples: Cycles samples per pixel before denoising.
        family: a key of `CAMERAS`, whose camera, lamps and ground are used; `usual_family` of the scene when None.
        meshes: folder that holds all shapes of the scene (`MeshFolder`); the project's own shapes when None.

    Returns:
        (height, width, 3) uint8 pixels.

    Raises:
        ValueError: for a flat scene, another family, a shape that is not there or does not load, or a size that
            Blender cannot render.
        ImportError: if bpy is not installed.
    """
    family = _family_of(scene, family)
    return _session(scene, family, resolution, samples, meshes).render(scene.objects, CAMERAS[family], CLEVR_LIGHTS)


def check_shapes(scenes: Iterable[SceneProgram], meshes: Path | None = None) -> None:
    """See that the shapes of all scenes are there, without reading or rendering them: `meshes` as of `render_program`.

    Raises:
        ValueError: for the first shape that is not, or if `meshes` is no folder of meshes.
    """
    check = _check_own_shape if meshes is None else MeshFolder(meshes).check
    shapes = (item.shape for scene in scenes for item in scene.objects if isinstance(item, PosedObject))
    for shape in dict.fromkeys(shapes):
        check(shape)


def save_program(
    scene: SceneProgram,
    path: Path,
    resolution: tuple[int, int] | None = None,
    samples: int = 64,
    family: str | None = None,
    meshes: Path | None = None,
) -> None:
    """Write a scene as `.png` (rendered), `.blend`, `.glb` or `.usd`, by the suffix of `path`.

    Raises:
        ValueError: for another suffix, or as `render_program`.
        OSError: if the file cannot be written; one that was there is kept then.
        ImportError: if bpy is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"cannot write {str(path)!r}: the suffix must be one of {', '.join(SUFFIXES)}")
    if path.suffix == ".png":
        request = (resolution, samples, family, meshes)
        write_whole(path, lambda file: Image.fromarray(render_program(scene, *request)).save(file))
        return
    family = _family_of(scene, family)
    _session(scene, family, resolution, samples, meshes).place(scene.objects, CAMERAS[family], CLEVR_LIGHTS)
    from .rendering import export

    exporters = {".blend": export.export_blend, ".glb": export.export_glb, ".usd": export.export_usd}
    write_whole(path, exporters[path.suffix])


def _family_of(scene: SceneProgram, family: str | None) -> str:
    if family is None:
        return usual_family(scene)
    if family not in CAMERAS:
        raise ValueError(f"cannot render family {family!r}: choose one of {', '.join(CAMERAS)}")
    return family


def _check_own_shape(shape: str) -> None:
    if shape not in (SHAPE, *shape_names()):
        raise ValueError(
            f"there is no shape {shape!r} among the project's own ({', '.join(CATEGORIES)}, each _00 to "
            f"_{VARIANTS - 1}, and {SHAPE!r}): give the folder of its meshes (`igllm render --meshes`)"
        )


def _session(
    scene: SceneProgram, family: str, resolution: tuple[int, int] | None, samples: int, meshes: Path | None
) -> "RenderSession":
    """A session that can render the objects of this scene."""
    load = None if meshes is None else MeshFolder(meshes).load
    for item in scene.objects:
        if isinstance(item, Point2D):
            raise ValueError(f"{item} is flat: it is drawn, not rendered")
        if isinstance(item, PosedObject) and load is None:
            _check_own_shape(item.shape)
    from .rendering.session import RenderSession  # imports bpy
    from .rendering.settings import RenderQuality
    from .rendering.stage import CLEVR_STAGE, STUDIO_STAGE

    width, height = resolution or FAMILIES[family].resolution
    stage = STUDIO_STAGE if family in ("so3", "six_dof") else CLEVR_STAGE
    return RenderSession(RenderQuality(width, height, samples), stage, load)
