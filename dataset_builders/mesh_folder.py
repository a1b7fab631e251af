"""A folder of users' meshes, `<category>/<id>/…/*.obj|*.glb|*.ply`, ShapeNetCore's layout included.

A mesh is called `category_id` in scene programs. Both parts are put into the language's alphabet: capitals become
small letters, and every other character outside of a-z, 0-9, `-` (in ids also `_`) becomes `-`; ShapeNetCore's synset
folders get their category names. Links are not followed, so that nothing outside of the folder is ever read.
"""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .mesh_import import SUFFIXES, MeshError, import_mesh
from .shape_library import ShapeMesh
from .shapenet_synsets import SYNSET_CATEGORIES

# Which file is meant where a model's folder holds several.
_SHAPENET_FILE = Path("models", "model_normalized.obj")
_LINK = "it is a link, and links are not followed: put a copy in its place"


class MeshFolder:
    """The meshes of a folder by name; they are read when asked for.

    Attributes:
        files: name -> mesh file, as a path relative to the folder, sorted by name.
        left_out: relative path of what cannot be used -> reason, sorted.

    Raises:
        ValueError: if there is no such folder, or it has no mesh in this layout.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ValueError(f"{path} is not a folder: give one that holds <category>/<id>/ with a mesh in each")
        self.path = path
        self.files: dict[str, Path] = {}
        self.left_out: dict[Path, str] = {}
        for model in self._models():
            self._add_model(model)
        if not self.files:
            found = "".join(f"; {file}: {reason}" for file, reason in list(self.left_out.items())[:3])
            raise ValueError(f"{path} holds no <category>/<id>/…/ with one {', '.join(SUFFIXES)} file{found}")
        self.files = dict(sorted(self.files.items()))
        self.left_out = dict(sorted(self.left_out.items()))

    def load(self, name: str) -> ShapeMesh:
        """Read the mesh called `name`.

        Raises:
            ValueError: if the folder has no such mesh, or it does not load; the message names the file, or the
                folder and the names most like this one.
        """
        self.check(name)
        return load_mesh(self.path, self.files[name])

    def check(self, name: str) -> None:
        """See that there is a mesh called `name`, without reading it.

        Raises:
            ValueError: if there is none; the message has the folder and the names most like this one.
        """
        if name not in self.files:
            raise ValueError(f"{self.path} has no mesh called {name!r}{self._why_not(name)}")

    def _models(self) -> Iterator[Path]:
        """The folders `<category>/<id>`, relative and in order."""
        for category in self._folders(Path()):
            yield from self._folders(category)

    def _folders(self, parent: Path) -> list[Path]:
        """The folders in one that are to be looked into; what lies beside them in vain is noted."""
        try:
            names = sorted(os.listdir(self.path / parent))
        except OSError as error:
            self._leave_out_folder(error)
            return []
        folders = []
        for name in names:
            entry = parent / name
            if name.startswith("."):
                continue
            if (self.path / entry).is_symlink():
                self.left_out[entry] = _LINK
            elif (self.path / entry).is_dir():
                folders.append(entry)
            elif entry.suffix.lower() in SUFFIXES:
                self.left_out[entry] = "it is not in a folder <category>/<id>/"
        return folders

    def _add_model(self, model: Path) -> None:
        files = self._mesh_files(model)
        chosen = [file for file in files if file == model / _SHAPENET_FILE] or files
        name = mesh_name(*model.parts)
        if len(chosen) != 1:
            reason = "it holds several mesh files" if chosen else f"it holds no {', '.join(SUFFIXES)} file"
            self.left_out[model] = f"{reason}: one is needed"
        elif name in self.files:
            self.left_out[model] = f"its name {name!r} is that of {self.files[name]} already: rename it"
        else:
            self.files[name] = chosen[0]

    def _mesh_files(self, model: Path) -> list[Path]:
        """The mesh files at any depth below a model's folder, without links."""
        found = []
        for folder, folders, files in os.walk(self.path / model, onerror=self._leave_out_folder):
            place = Path(folder).relative_to(self.path)
            meshes = [name for name in files if Path(name).suffix.lower() in SUFFIXES]
            for entry in sorted(place / name for name in folders + meshes):
                # `os.walk` itself does not go into folders that are links.
                if (self.path / entry).is_symlink():
                    self.left_out[entry] = _LINK
                elif (self.path / entry).is_file():
                    found.append(entry)
        return found

    def _leave_out_folder(self, error: OSError) -> None:
        self.left_out[Path(error.filename).relative_to(self.path)] = f"it cannot be read: {error.strerror}"

    def _why_not(self, name: str) -> str:
        """What was left out under this name, or else which names are nearest, of its category if that has any."""
        for path, reason in self.left_out.items():
            if len(path.parts) > 1 and mesh_name(*path.parts[:2]) == name:
                return f": {path} was left out: {reason}"
        category = name.partition("_")[0] + "_"
        others = [other for other in self.files if other.startswith(category)] or list(self.files)
        nearest = difflib.get_close_matches(name, others, n=3, cutoff=0.0)
        return f": of its {len(self.files)} meshes the nearest are {', '.join(nearest)}"


def load_mesh(folder: Path, file: Path) -> ShapeMesh:
    """Read a mesh file of a folder, by its path relative to that.

    Raises:
        ValueError: if it leads out of the folder or over a link, cannot be read, or does not load; it is named then.
    """
    root = folder.resolve()
    path = root / file  # `file` itself if that is absolute
    if path.resolve() != path or not path.is_relative_to(root):
        raise ValueError(f"{path} is not a plain file of {folder}: it is, or is behind, a link or `..`, or elsewhere")
    try:
        return import_mesh(path)
    except MeshError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def mesh_name(category: str, model: str) -> str:
    """Return what the mesh in the folder `category`/`model` is called in scene programs: `category_id`.

    "02691156", "Boeing 747" gives "airplane_boeing-747".
    """
    category = SYNSET_CATEGORIES.get(category, category)
    return re.sub(r"[^a-z0-9-]", "-", category.lower()) + "_" + re.sub(r"[^a-z0-9_-]", "-", model.lower())
