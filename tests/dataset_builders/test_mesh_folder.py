"""A folder of users' meshes: what is found in it under which name, what is left out and why, and where it ends."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_files import put, put_real_meshes

from dataset_builders.mesh_folder import MeshFolder, load_mesh, mesh_name
from modeling_igllm import PosedObject, Rotation, SceneProgram, format_program, parse_program

LINK = "it is a link, and links are not followed: put a copy in its place"


def test_real_meshes_are_found_under_their_names_and_load(tmp_path: Path) -> None:
    put_real_meshes(tmp_path)
    folder = MeshFolder(tmp_path)
    assert {name: file.as_posix() for name, file in folder.files.items()} == {
        "airplane_a3": "02691156/a3/models/model_normalized.obj",
        "form_hypar": "form/hypar/hypar.obj",
        "form_saddle": "form/saddle/quads.obj",
        "form_tube": "form/tube/models/tube.PLY",
        "grid-box_number-1": "Grid_Box/Number 1/boxes.obj",
        "grid-box_number-2": "Grid_Box/Number 2/faces.obj",
    }
    assert list(folder.files) == sorted(folder.files)
    assert folder.left_out == {}
    for name in folder.files:
        assert folder.load(name).size.max() == pytest.approx(1)


def test_shapenets_own_file_is_taken_where_there_are_others(tmp_path: Path) -> None:
    put(tmp_path, "02691156/a3/models/model_normalized.obj")
    put(tmp_path, "02691156/a3/models/model_normalized.solid.binvox", "voxels")
    put(tmp_path, "02691156/a3/models/untitled.ply", "")
    put(tmp_path, "02691156/a3/images/texture0.jpg", "")
    folder = MeshFolder(tmp_path)
    assert folder.files == {"airplane_a3": Path("02691156/a3/models/model_normalized.obj")}
    assert folder.left_out == {}


def test_what_cannot_be_used_is_left_out_with_a_reason(tmp_path: Path) -> None:
    for place in ("dog/a-b/a.obj", "dog/a b/a.obj", "dog/two/a.obj", "dog/two/b/c.glb", "dog/stray.ply", "lost.glb"):
        put(tmp_path, place)
    put(tmp_path, "dog/none/a.stl")
    put(tmp_path, "README.md", "my meshes")
    put(tmp_path, ".git/objects/a.obj")
    folder = MeshFolder(tmp_path)
    assert folder.files == {"dog_a-b": Path("dog/a b/a.obj")}  # a space comes first
    assert {path.as_posix(): reason for path, reason in folder.left_out.items()} == {
        "dog/a-b": "its name 'dog_a-b' is that of dog/a b/a.obj already: rename it",
        "dog/none": "it holds no .obj, .glb, .ply file: one is needed",
        "dog/stray.ply": "it is not in a folder <category>/<id>/",
        "dog/two": "it holds several mesh files: one is needed",
        "lost.glb": "it is not in a folder <category>/<id>/",
    }


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/dog/secret/a.obj")
    meshes = tmp_path / "meshes"
    put(meshes, "dog/good/a.obj")
    (meshes / "cat").symlink_to(outside.parents[1])
    (meshes / "dog" / "spot").symlink_to(outside.parent)
    (meshes / "dog" / "good" / "more").symlink_to(outside.parent)
    (meshes / "dog" / "good" / "b.obj").symlink_to(outside)
    (meshes / "dog" / "good" / "loop.obj").symlink_to("loop.obj")
    folder = MeshFolder(meshes)
    assert folder.files == {"dog_good": Path("dog/good/a.obj")}
    assert {path.as_posix() for path in folder.left_out} == {
        "cat",
        "dog/spot",
        "dog/good/more",
        "dog/good/b.obj",
        "dog/good/loop.obj",
    }
    assert set(folder.left_out.values()) == {LINK}


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path, "meshes/dog/good/a.obj")
    (tmp_path / "link").symlink_to("meshes")
    assert MeshFolder(tmp_path / "link").load("dog_good").size.max() == pytest.approx(1)


def test_a_folder_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """root may read everything: the refusal is made up."""
    put(tmp_path, "dog/good/a.obj")
    put(tmp_path, "cat/good/a.obj")
    really_list = os.listdir

    def listdir(path: Path) -> list[str]:
        if path == tmp_path / "cat":
            raise PermissionError(13, "Permission denied", str(path))
        return really_list(path)

    monkeypatch.setattr(os, "listdir", listdir)
    folder = MeshFolder(tmp_path)
    assert list(folder.files) == ["dog_good"]
    assert folder.left_out == {Path("cat"): "it cannot be read: Permission denied"}


@pytest.mark.parametrize("place", ["../outside.obj", "dog/../../outside.obj", "dog/link.obj", "link/outside.obj"])
def test_no_path_leaves_the_folder(tmp_path: Path, place: str) -> None:
    """Also where a list of files says so that is not our own, or the folder has changed since it was made."""
    outside = put(tmp_path, "outside.obj")
    (tmp_path / "meshes" / "dog").mkdir(parents=True)
    (tmp_path / "meshes" / "dog" / "link.obj").symlink_to(outside)
    (tmp_path / "meshes" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"is not a plain file of .*meshes: it is, or is behind, a link"):
        load_mesh(tmp_path / "meshes", Path(place))


def test_no_absolute_path_leaves_the_folder(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside.obj")
    (tmp_path / "meshes").mkdir()
    with pytest.raises(ValueError, match=f"{outside} is not a plain file of"):
        load_mesh(tmp_path / "meshes", outside)


def test_a_mesh_that_does_not_load_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, "dog/bad/a.ply", "no mesh")
    put(tmp_path, "dog/gone/a.obj").unlink()
    with pytest.raises(
        ValueError, match=f"{path} cannot be used: trimesh cannot read it: ValueError: Not a ply file!"
    ):
        MeshFolder(tmp_path).load("dog_bad")
    with pytest.raises(ValueError, match=r"dog/gone/a\.obj cannot be read: No such file or directory"):
        load_mesh(tmp_path, Path("dog/gone/a.obj"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dog_spott", r"of its 5 meshes the nearest are dog_spot, "),
        ("dog_zzz", r"the nearest are dog_\w+, dog_\w+, dog_\w+$"),
        ("cta_tom", r"the nearest are cat_tom, "),
        ("cube", r"of its 5 meshes the nearest are "),
        ("dog_two", r": dog/Two was left out: it holds several mesh files: one is needed$"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path, name: str, expected: str) -> None:
    for place in ("dog/rex", "dog/spot", "dog/bello", "cat/tom", "cat/kitty"):
        put(tmp_path, f"{place}/a.obj")
    put(tmp_path, "dog/Two/a.obj")
    put(tmp_path, "dog/Two/b.obj")
    with pytest.raises(ValueError, match=f"^{tmp_path} has no mesh called '{name}'.*{expected}"):
        MeshFolder(tmp_path).load(name)


def test_a_folder_without_meshes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}/none is not a folder: give one that holds <category>/<id>/"):
        MeshFolder(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no <category>/<id>/…/ with one \.obj, \.glb, \.ply file$"):
        MeshFolder(tmp_path)
    put(tmp_path, "dog.obj")
    with pytest.raises(ValueError, match=r"file; dog\.obj: it is not in a folder <category>/<id>/"):
        MeshFolder(tmp_path)


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_name_is_a_word_of_the_language(category: str, model: str) -> None:
    name = mesh_name(category, model)
    item = PosedObject("red", name, (0.0, 0.0, 0.5), Rotation.from_matrix(np.eye(3), "6d"))
    (read,) = parse_program(format_program(SceneProgram((item,)))).objects
    assert isinstance(read, PosedObject)
    assert read.shape == name
    assert read.category == name.partition("_")[0]
