"""Which meshes of a user's folder a build uses, kept beside its shards as `meshes.json`.

Every mesh is read once before the first scene is drawn: the sampler needs their sizes, and what does not load is
named then. The file says which mesh file each shape of a scene program is.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .camera import Vector3
from .die_with_parent import die_with_parent
from .mesh_folder import MeshFolder, load_mesh
from .mesh_import import MeshError, import_mesh
from .shape_library import ShapeMesh
from .whole_file import remove_leftovers, write_whole

INDEX_NAME = "meshes.json"
_KEYS = ("files", "sizes", "left_out")
_CHUNK = 16  # meshes that a process is given at a time


@dataclass(frozen=True, eq=False)
class MeshIndex:
    """What was found in a folder of meshes.

    Attributes:
        files: name -> path in the folder, sorted by name.
        sizes: name -> sides of its box in metres, of every mesh that loads, sorted by name.
        left_out: path in the folder -> reason.
    """

    files: dict[str, str]
    sizes: dict[str, Vector3]
    left_out: dict[str, str]


@dataclass(frozen=True)
class IndexedMeshes:
    """A folder of meshes and the `meshes.json` that was made of it: what a worker needs to render them."""

    folder: Path
    index: Path

    def load(self, name: str) -> ShapeMesh:
        """Read the mesh called `name`; errors as of `load_mesh`, if the folder has changed since it was indexed."""
        return load_mesh(self.folder, Path(read_index(self.index).files[name]))


def index_meshes(meshes: Path, place: Path, workers: int, is_in_use: bool) -> MeshIndex:
    """Read all meshes of a folder and write `place`/meshes.json; an index of the same files is used as it is.

    Args:
        meshes: folder in the layout of `MeshFolder`.
        place: an existing folder.
        workers: processes at most; a few meshes are read in this one.
        is_in_use: whether scenes were made with the index that may be there: another one is refused then.

    Raises:
        ValueError: if no mesh of the folder loads, it is not the one of an index in use, or that is damaged.
        OSError: if the index cannot be written.
        RuntimeError: if a process dies, for want of memory say.
    """
    folder, path = MeshFolder(meshes), place / INDEX_NAME
    listing = _listing(folder)
    if path.exists() and _contents(path)["files"] == listing:
        return read_index(path)
    if path.exists() and is_in_use:
        raise ValueError(f"{meshes} does not hold the meshes that are named in {path}: use another --out folder")
    remove_leftovers(place, INDEX_NAME)
    # The meshes are read once the place is known to be writable.
    write_whole(path, lambda file: file.write_text(json.dumps(_make_index(folder, listing, workers), indent=1) + "\n"))
    read_index.cache_clear()
    return read_index(path)


@cache
def read_index(path: Path) -> MeshIndex:
    """Read what `index_meshes` has written; OSError if it is not there, ValueError if it is damaged."""
    contents = _contents(path)
    files = {name: entry["file"] for name, entry in contents["files"].items()}
    sizes = {name: (x, y, z) for name, (x, y, z) in contents["sizes"].items()}
    return MeshIndex(files, sizes, contents["left_out"])


def _contents(path: Path) -> dict[str, Any]:
    try:
        contents = json.loads(path.read_text())
        if not isinstance(contents, dict) or contents.keys() != set(_KEYS):
            raise ValueError(f"not an object with the keys {', '.join(_KEYS)}")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and build again") from error
    return contents


def _make_index(folder: MeshFolder, listing: dict[str, dict[str, Any]], workers: int) -> dict[str, Any]:
    sizes, left_out = {}, {file.as_posix(): reason for file, reason in folder.left_out.items()}
    for name, result in zip(folder.files, _read_all(folder, workers), strict=True):
        if isinstance(result, str):
            left_out[folder.files[name].as_posix()] = result
        else:
            sizes[name] = result
    if not sizes:
        reasons = "; ".join(f"{file}: {reason}" for file, reason in list(left_out.items())[:3])
        raise ValueError(f"no mesh in {folder.path} can be used: {reasons}")
    return {"files": listing, "sizes": sizes, "left_out": dict(sorted(left_out.items()))}


def _listing(folder: MeshFolder) -> dict[str, dict[str, Any]]:
    """Name -> file and the SHA-256 of what it holds: what tells one folder from another."""
    return {
        name: {"file": file.as_posix(), "sha256": _sha256(folder.path / file)}
        for name, file in tqdm(folder.files.items(), unit="mesh", desc="checksums", delay=1.0)
    }


def _sha256(path: Path) -> str | None:
    """None for a file that cannot be read: `_size_or_reason` says why."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _read_all(folder: MeshFolder, workers: int) -> Iterator[Vector3 | str]:
    """Yield the size of each mesh, or why it does not load, in the order of `folder.files`."""
    paths = [folder.path / file for file in folder.files.values()]
    workers = min(workers, -(-len(paths) // _CHUNK))
    show_progress = partial(tqdm, total=len(paths), unit="mesh", desc="meshes", mininterval=1.0)
    if workers == 1:
        yield from show_progress(map(_size_or_reason, paths))
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), die_with_parent) as pool:
        results = pool.map(_size_or_reason, paths, chunksize=_CHUNK)
        try:
            yield from show_progress(results)
        except BrokenProcessPool as error:
            message = f"a process died while reading the meshes of {folder.path}, for want of memory perhaps"
            raise RuntimeError(message) from error
        except BaseException:  # Ctrl-C too: without this all pending meshes would be read first
            pool.shutdown(cancel_futures=True)
            raise


def _size_or_reason(path: Path) -> Vector3 | str:
    try:
        x, y, z = import_mesh(path).size.tolist()
    except MeshError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return x, y, z
