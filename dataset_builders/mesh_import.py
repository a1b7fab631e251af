"""One mesh file of a user as a normalised `ShapeMesh`, read by trimesh.

trimesh rather than Blender's own importers, which end the whole process on some broken files (a PLY header with a
count of ten digits) and silently drop bad faces of others; on sound files the two agree (tests). Only the geometry is
read: the scene program gives the colour, so that materials and textures, and with them every path that a file names,
are left alone.
"""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Never

import numpy as np

from .shape_library import ShapeMesh

if TYPE_CHECKING:
    import trimesh

# Rows are the new x, y and z axes: front +x, up +z. OBJ has its front at -z and y up (ShapeNetCore v2; Blender's
# default too), glTF its front at +z and y up (its specification); PLY says nothing and is taken as it is.
_AXES = {
    ".obj": np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]),
    ".glb": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    ".ply": np.eye(3),
}
SUFFIXES = tuple(_AXES)
# Of one mesh: a worker's memory holds several.
MAX_FACES = 1_000_000
MAX_BYTES = 2**29
DECIMALS = 6  # of a metre, as the shape library
_LINE_CONTINUATION = re.compile(rb"\\\r?\n")
_INDEX_BELOW_ONE = re.compile(rb"^f(?=[ \t])[^\n]*[ \t](?:-\d|0+(?:[/\s]|\Z))", re.MULTILINE)
_COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


class MeshError(ValueError):
    """A mesh file that cannot be used; the message is the reason and does not name the file."""


def import_mesh(path: Path) -> ShapeMesh:
    """Read an .obj, .glb or .ply file: box centred at the origin, longest side 1 m, front +x, up +z.

    No other file is opened, whatever this one names. Equal points become one vertex; faces without area and doubles
    of other faces are left out. Faces of more than three corners are cut into fans, which is right for convex ones.

    Raises:
        MeshError: if the file does not load or holds no surface.
        OSError: if it cannot be read.
    """
    suffix = path.suffix.lower()
    if (size := path.stat().st_size) > MAX_BYTES:
        raise MeshError(f"it has {size} bytes, more than {MAX_BYTES}: decimate it, or leave out its textures")
    points, faces = _load(path.read_bytes(), suffix)
    if faces.size and not 0 <= faces.min() <= faces.max() < len(points):
        raise MeshError(f"its faces name vertices {faces.min()} to {faces.max()}, counted from 0, of {len(points)}")
    if not np.isfinite(points[faces]).all():
        raise MeshError("it has coordinates that are no finite numbers")
    points, faces = _with_area(_normalized(points @ _AXES[suffix].T), faces)
    if not len(faces):
        raise MeshError("it holds no faces, or none with an area")
    vertices, faces = _weld(np.round(_normalized(points), DECIMALS) + 0.0, faces)  # no negative zeros
    vertices.flags.writeable = False
    triangles = tuple(map(tuple, faces.tolist()))
    return ShapeMesh(vertices, triangles, (False,) * len(triangles))


def _load(data: bytes, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 3) float64 and triangles (F, 3), both possibly empty."""
    import trimesh  # slow to import, and only users' meshes need it

    _refuse_misread(data, suffix)
    try:
        scene = trimesh.load_scene(
            io.BytesIO(data), file_type=suffix[1:], resolver=_NoOtherFiles(), skip_materials=True, process=False
        )
        _refuse_too_many_faces(scene)
        mesh = scene.to_mesh()
        points, faces = np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces)
    except MeshError:
        raise
    except Exception as error:  # what a parser may raise on arbitrary bytes is anything
        hint = "; a binary .ply needs faces of one size: export triangles" if b"format binary" in data[:1000] else ""
        raise MeshError(f"trimesh cannot read it: {type(error).__name__}: {error}{hint}") from error
    return points.reshape(-1, 3), faces.reshape(-1, 3)


def _refuse_misread(data: bytes, suffix: str) -> None:
    """Refuse what trimesh would take for another surface without an error."""
    if suffix == ".obj" and _INDEX_BELOW_ONE.search(_LINE_CONTINUATION.sub(b" ", data)):
        raise MeshError("its faces count vertices backwards, or from 0: export them with numbers from 1 on")
    for name in _COMPRESSIONS:
        if suffix == ".glb" and name.encode() in data:
            raise MeshError(f"it is compressed ({name}): export it without compression")


def _refuse_too_many_faces(scene: "trimesh.Scene") -> None:
    """Before they are put together: a small file may show one part a million times."""
    import trimesh

    parts = scene.geometry.items()
    counts = {name: len(part.faces) for name, part in parts if isinstance(part, trimesh.Trimesh)}
    total = sum(counts.get(name, 0) * len(nodes) for name, nodes in scene.graph.geometry_nodes.items())
    if total > MAX_FACES:
        raise MeshError(f"it has {total} faces, more than {MAX_FACES}: decimate it")


class _NoOtherFiles(dict[str, bytes]):
    """In place of the files that a mesh file names."""

    def __missing__(self, name: str) -> Never:
        raise MeshError(f"it needs another file, {name!r}: put everything into one .glb")


def _normalized(points: np.ndarray) -> np.ndarray:
    """Centre the box of points (N, 3) at the origin and scale its longest side to 1; one point stays as it is."""
    if not len(points):
        return points
    low, high = points.min(axis=0) / 2, points.max(axis=0) / 2  # halves: twice a large number could overflow
    extent = (high - low).max()
    return (points - (low + high)) / 2 / extent if extent > 0 else points


def _with_area(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out triangles (F, 3) without area, and points that no triangle uses."""
    first, second, third = points[faces].transpose(1, 0, 2)
    faces = faces[np.linalg.norm(np.cross(second - first, third - first), axis=1) > 0]
    used, corners = np.unique(faces, return_inverse=True)
    return points[used], corners.reshape(-1, 3)


def _weld(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make one vertex of equal points, and leave out triangles that lost their area or are there twice."""
    vertices, vertex_of = np.unique(points, axis=0, return_inverse=True)
    vertices, faces = _with_area(vertices, vertex_of.reshape(-1)[faces])
    _, kept = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return vertices, faces[np.sort(kept)]
