"""Mesh files of all kinds: sound ones of other programs, and broken ones."""

import importlib.util
import json
import shutil
import struct
from pathlib import Path
from typing import Any

TRIANGLE_OBJ = "v 0 0 0\nv 2 0 0\nv 0 1 0\nv 0 0 4\nf 1 2 3\nf 1 2 4\nf 1 3 4\n"
TRIANGLE = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)


def compas_sample(name: str) -> Path:
    """A mesh that the package `compas` ships."""
    found = importlib.util.find_spec("compas")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "data" / "samples" / name


def glb(binary: bytes = TRIANGLE, **changes: Any) -> bytes:
    """A binary glTF of one triangle; `changes` replace parts of its JSON."""
    header = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(TRIANGLE)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(TRIANGLE)}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        **changes,
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def ply(vertices: str, faces: str, counts: tuple[int, int], encoding: str = "ascii") -> bytes:
    """A PLY file that announces `counts` vertices and faces."""
    header = (
        f"ply\nformat {encoding} 1.0\nelement vertex {counts[0]}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {counts[1]}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return (header + vertices + faces).encode()


def put(folder: Path, place: str, contents: bytes | str | Path = TRIANGLE_OBJ) -> Path:
    """Write a file below `folder`: bytes, a text, or a copy of another file."""
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(contents, Path):
        shutil.copy(contents, path)
    else:
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return path


def put_real_meshes(folder: Path) -> None:
    """Three categories of meshes of `compas`, two of them with two meshes."""
    for place, name in {
        "form/hypar/hypar.obj": "hypar.obj",
        "form/tube/models/tube.PLY": "tubemesh.ply",
        "form/saddle/quads.obj": "quadmesh.obj",
        "02691156/a3/models/model_normalized.obj": "mesh.obj",
        "Grid_Box/Number 1/boxes.obj": "boxes.obj",
        "Grid_Box/Number 2/faces.obj": "faces.obj",
    }.items():
        put(folder, place, compas_sample(name))
