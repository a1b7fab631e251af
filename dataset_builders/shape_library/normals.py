"""Shading normals: smooth over curved surfaces, flat on flat ones, with sharp edges where surfaces meet steeply."""

import numpy as np

from .shape_mesh import ShapeMesh

CREASE_DEGREES = 40.0  # of two faces that meet at more than this, each keeps its own normal


def corner_normals(mesh: ShapeMesh) -> np.ndarray:
    """Return a unit normal for every corner of every face, in the order of `mesh.faces`: (corners, 3).

    The normals of the faces around a vertex are averaged by area ("weighted normals"): a large flat face beside a
    narrow bevel stays flat, and the bevel takes the whole bend.
    """
    counts = np.array([len(face) for face in mesh.faces])
    vertex_of = np.concatenate([np.array(face) for face in mesh.faces])
    face_of = np.repeat(np.arange(len(counts)), counts)
    areas = _vector_areas(mesh.vertices, vertex_of, face_of, counts)
    units = areas / np.linalg.norm(areas, axis=1, keepdims=True)
    first, second = _corners_at_one_vertex(vertex_of, len(mesh.vertices))
    own, other = face_of[first], face_of[second]
    is_smooth = (units[own] * units[other]).sum(axis=1) > np.cos(np.radians(CREASE_DEGREES))
    sums = [np.bincount(first[is_smooth], areas[other[is_smooth], axis], len(vertex_of)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _vector_areas(vertices: np.ndarray, vertex_of: np.ndarray, face_of: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The normal of every face times twice its area, (faces, 3), by Newell's formula."""
    last = np.cumsum(counts) - 1
    following = np.arange(1, len(vertex_of) + 1)
    following[last] = last - counts + 1
    # From the first corner of each face, so that no digits are lost far from the origin.
    origin = vertices[vertex_of[last - counts + 1]][face_of]
    cross = np.cross(vertices[vertex_of] - origin, vertices[vertex_of[following]] - origin)
    return np.stack([np.bincount(face_of, cross[:, axis], len(counts)) for axis in range(3)], axis=1)


def _corners_at_one_vertex(vertex_of: np.ndarray, num_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """All ordered pairs of corners that share a vertex, each corner with itself too."""
    by_vertex = np.argsort(vertex_of, kind="stable")
    counts = np.bincount(vertex_of, minlength=num_vertices)
    starts = np.cumsum(counts) - counts
    repeats = counts[vertex_of]
    first = np.repeat(np.arange(len(vertex_of)), repeats)
    place = np.arange(len(first)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return first, by_vertex[starts[vertex_of[first]] + place]
