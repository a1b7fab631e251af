"""How each family's scenes become pictures. Blender is imported only by the painters that need it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modeling_igllm import Point2D

from .mesh_index import IndexedMeshes
from .sampled_scene import SampledScene
from .two_d import draw_disc

if TYPE_CHECKING:
    from .rendering.stage import Stage


@dataclass(frozen=True)
class Picture:
    """What a painter makes of one scene.

    Attributes:
        pixels: (height, width, 3) uint8.
        instance_mask: (height, width) uint8: 0 background, i + 1 the nearest object i at the pixel's centre; or None.
        depth: (height, width) float32, metres along the optical axis at the pixel's centre, inf where there is
            nothing; or None.
    """

    pixels: np.ndarray
    instance_mask: np.ndarray | None = None
    depth: np.ndarray | None = None


@dataclass(frozen=True)
class Painter:
    """`paint` turns a scene into a picture; `bpy_version` is that of Blender, None for a painter without it."""

    paint: Callable[[SampledScene], Picture]
    bpy_version: str | None


@dataclass(frozen=True)
class PaintRequest:
    """Size in pixels, Cycles samples, whether mask and depth are wanted too, and threads (0: all cores).

    Shapes are those of `meshes`, or else the project's own.
    """

    width: int
    height: int
    samples: int
    ground_truth: bool = False
    threads: int = 0
    meshes: IndexedMeshes | None = None


def make_clevr_painter(request: PaintRequest) -> Painter:
    """A painter of CLEVR scenes: ground, sun and jittered lamps. Raises ImportError without bpy."""
    from .rendering.stage import CLEVR_STAGE

    return _make_blender_painter(request, CLEVR_STAGE)


def make_studio_painter(request: PaintRequest) -> Painter:
    """A painter of floating objects in even light. Raises ImportError without bpy."""
    from .rendering.stage import STUDIO_STAGE

    return _make_blender_painter(request, STUDIO_STAGE)


def make_disc_painter(request: PaintRequest) -> Painter:
    """A painter of the `two_d` family, without Blender. ValueError if mask and depth are wanted."""
    if request.ground_truth:
        raise ValueError("the two_d family is flat: it has no instance masks and no depth")

    def paint(scene: SampledScene) -> Picture:
        (place,) = scene.objects
        assert isinstance(place, Point2D)  # what the family's sampler draws
        return Picture(draw_disc(place, request.width, request.height))

    return Painter(paint, None)


def _make_blender_painter(request: PaintRequest, stage: "Stage") -> Painter:
    import bpy

    from .rendering.ground_truth import render_ground_truth
    from .rendering.session import RenderSession
    from .rendering.settings import RenderQuality

    quality = RenderQuality(request.width, request.height, request.samples, threads=request.threads)
    session = RenderSession(quality, stage, None if request.meshes is None else request.meshes.load)

    def paint(scene: SampledScene) -> Picture:
        assert scene.camera is not None  # only flat scenes have none
        pixels = session.render(scene.objects, scene.camera, scene.lights, scene.textures, scene.rgbs)
        return Picture(pixels, *render_ground_truth()) if request.ground_truth else Picture(pixels)

    return Painter(paint, bpy.app.version_string)
