"""A CLEVR scene as binary glTF, made in milliseconds and without Blender (that of `igllm render` is finer)."""

import math
from functools import cache

import numpy as np
import trimesh
from trimesh.transformations import rotation_matrix, scale_matrix, translation_matrix
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from dataset_builders.palette import RGB, named_color
from dataset_builders.visibility import CLEVR_RADII
from modeling_igllm import ClevrObject, SceneProgram

GROUND_GRAY: RGB = (0.8, 0.8, 0.8)
GROUND_MARGIN = 1.5  # metres of ground beyond the farthest object
MIN_GROUND_RADIUS = 4.5
MAX_DISTANCE = 50.0  # metres from the origin, where the view would show but specks
_ROUGHNESS = {"metal": 0.27, "rubber": 0.59}
_CREASE = math.radians(30)
_Z_UP_TO_Y_UP = rotation_matrix(-math.pi / 2, (1, 0, 0))


def make_glb(scene: SceneProgram) -> bytes:
    """The objects on a round piece of ground, in metres, y up as glTF wants it.

    Raises:
        ValueError: for an object that is not CLEVR's, or farther away than `MAX_DISTANCE`.
    """
    objects = [_checked(item) for item in scene]
    view = trimesh.Scene()
    reach = max((math.hypot(*item.loc[:2]) for item in objects), default=0.0)
    view.add_geometry(_ground(max(MIN_GROUND_RADIUS, reach + GROUND_MARGIN)), "ground")
    for number, item in enumerate(objects, start=1):
        view.add_geometry(_mesh(item), f"{number}_{item.color}_{item.shape}", transform=_pose(item))
    view.apply_transform(_Z_UP_TO_Y_UP)
    return bytes(view.export(file_type="glb", include_normals=True))


def _checked(item: object) -> ClevrObject:
    if not isinstance(item, ClevrObject):
        raise ValueError(f"the 3D view knows CLEVR's shapes alone, not {item}")
    if max(map(abs, item.loc)) > MAX_DISTANCE:
        raise ValueError(f"the 3D view ends {MAX_DISTANCE:g} m from the origin, an object is at {item.loc}")
    return item


def _mesh(item: ClevrObject) -> trimesh.Trimesh:
    mesh = _unit_shape(item.shape).copy(include_cache=True)
    mesh.visual = _paint(named_color(item.color), float(item.material == "metal"), _ROUGHNESS[item.material])
    return mesh


def _ground(radius: float) -> trimesh.Trimesh:
    mesh = trimesh.creation.cylinder(radius, segment=[(0, 0, -0.02), (0, 0, 0)], sections=96)
    mesh = trimesh.graph.smooth_shade(mesh, angle=_CREASE)
    mesh.visual = _paint(GROUND_GRAY, 0.0, 1.0)
    return mesh


@cache
def _unit_shape(shape: str) -> trimesh.Trimesh:
    """Radius or half side 1 around the origin, with edges that stay sharp."""
    makers = {
        "cube": lambda: trimesh.creation.box((2, 2, 2)),
        "sphere": lambda: trimesh.creation.icosphere(subdivisions=4),
        "cylinder": lambda: trimesh.creation.cylinder(1, height=2, sections=96),
    }
    return trimesh.graph.smooth_shade(makers[shape](), angle=_CREASE)


def _paint(color: RGB, metallic: float, roughness: float) -> TextureVisuals:
    """A glTF material; its base colour is linear, as CLEVR's colours are."""
    return TextureVisuals(
        material=PBRMaterial(baseColorFactor=(*color, 1.0), metallicFactor=metallic, roughnessFactor=roughness)
    )


def _pose(item: ClevrObject) -> np.ndarray:
    """(4, 4) from the unit shape to the world."""
    turned = rotation_matrix(item.rotation or 0.0, (0, 0, 1))
    return translation_matrix(item.loc) @ turned @ scale_matrix(CLEVR_RADII[item.size])
