"""A scene program as a picture or a 3D file: what `igllm render` and `ScenePrediction.render` call."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modeling_igllm import ClevrObject, SceneProgram

from .camera import Camera
from .lights import CLEVR_LIGHTS
from .whole_file import write_whole

if TYPE_CHECKING:
    from .rendering.session import RenderSession

SUFFIXES = (".png", ".blend", ".glb", ".usd")


def render_program(scene: SceneProgram, resolution: tuple[int, int] = (320, 240), samples: int = 64) -> np.ndarray:
    """Render a CLEVR scene from CLEVR's unjittered camera and lamps.

    Args:
        resolution: (width, height) in pixels.
        samples: Cycles samples per pixel before denoising.

    Returns:
        (height, width, 3) uint8 pixels.

    Raises:
        ValueError: if the scene is not of the CLEVR families, or for a size that Blender cannot render.
        ImportError: if bpy is not installed.
    """
    return _session(resolution, samples).render(_clevr_objects(scene), Camera(), CLEVR_LIGHTS)


def save_program(scene: SceneProgram, path: Path, resolution: tuple[int, int] = (320, 240), samples: int = 64) -> None:
    """Write a CLEVR scene as `.png` (rendered), `.blend`, `.glb` or `.usd`, by the suffix of `path`.

    Raises:
        ValueError: for another suffix, or as `render_program`.
        OSError: if the file cannot be written; one that was there is kept then.
        ImportError: if bpy is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"cannot write {str(path)!r}: the suffix must be one of {', '.join(SUFFIXES)}")
    if path.suffix == ".png":
        write_whole(path, lambda file: Image.fromarray(render_program(scene, resolution, samples)).save(file))
        return
    objects = _clevr_objects(scene)
    session = _session(resolution, samples)
    session.place(objects, Camera(), CLEVR_LIGHTS)
    from .rendering import export

    exporters = {".blend": export.export_blend, ".glb": export.export_glb, ".usd": export.export_usd}
    write_whole(path, exporters[path.suffix])


def _session(resolution: tuple[int, int], samples: int) -> "RenderSession":
    from .rendering.session import RenderSession  # imports bpy
    from .rendering.settings import RenderQuality

    return RenderSession(RenderQuality(*resolution, samples=samples))


def _clevr_objects(scene: SceneProgram) -> Sequence[ClevrObject]:
    objects = [item for item in scene.objects if isinstance(item, ClevrObject)]
    if len(objects) != len(scene.objects):
        kind = type(scene.objects[0]).__name__
        raise ValueError(f"only scenes of ClevrObject can be rendered so far, this one holds {kind}")
    return objects
