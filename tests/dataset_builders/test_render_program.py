"""A scene program as a picture, a Blender file and a glTF file."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_builders import render_program as module
from dataset_builders.palette import named_color
from dataset_builders.render_program import SUFFIXES, render_program, save_program
from dataset_builders.visibility import CLEVR_RADII
from modeling_igllm import ClevrObject, Point2D, SceneProgram

CUBE = ClevrObject("large", "blue", "rubber", "cube", (-1.5, 0.5, 0.7), 0.6)
SPHERE = ClevrObject("small", "yellow", "metal", "sphere", (1.0, -1.0, 0.35))
SECOND_SPHERE = ClevrObject("small", "red", "rubber", "sphere", (2.0, 1.0, 0.35))
SCENE = SceneProgram((CUBE, SPHERE, SECOND_SPHERE))
SIZE = (32, 24)


def read_glb(path: Path) -> dict[str, Any]:
    """The JSON part of a binary glTF file."""
    data = path.read_bytes()
    assert data[:4] == b"glTF"
    version, length, json_length = struct.unpack("<III", data[4:16])
    assert (version, length) == (2, len(data))
    return dict(json.loads(data[20 : 20 + json_length]))


def test_picture_has_the_asked_size() -> None:
    pixels = render_program(SCENE, SIZE, samples=1)
    assert pixels.shape == (24, 32, 3)
    assert pixels.dtype == np.uint8


def test_png_holds_the_picture(tmp_path: Path) -> None:
    save_program(SCENE, tmp_path / "scene.png", SIZE, samples=1)
    with Image.open(tmp_path / "scene.png") as image:
        assert image.size == SIZE
        assert (np.asarray(image) == render_program(SCENE, SIZE, samples=1)).all()


def test_an_empty_scene_is_the_bare_ground() -> None:
    empty = render_program(SceneProgram(()), SIZE, samples=1)
    assert (empty != render_program(SCENE, SIZE, samples=1)).any()


def test_blend_file_reopens_with_the_objects_in_place(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    for _ in range(2):  # the second time over a file that is there
        save_program(SCENE, path, SIZE, samples=1)
    assert [file.name for file in tmp_path.iterdir()] == ["scene.blend"]
    script = (
        "import bpy, json, sys\n"
        "bpy.ops.wm.open_mainfile(filepath=sys.argv[1])\n"
        "scene = bpy.context.scene\n"
        "rows = {o.name: [*o.location, o.rotation_euler.z, o.scale.x] for o in scene.objects if o.type == 'MESH'}\n"
        "print('RESULT', json.dumps([rows, scene.camera.name, scene.render.resolution_x]))\n"
    )
    output = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in output.splitlines() if line.startswith("RESULT"))
    rows, camera, width = json.loads(line.removeprefix("RESULT"))
    assert (camera, width) == ("camera", 32)
    assert rows.pop("ground")
    assert rows["large blue rubber cube"] == pytest.approx([*CUBE.loc, 0.6, 0.7])
    assert rows["small yellow metal sphere"] == pytest.approx([*SPHERE.loc, 0.0, 0.35])
    assert len(rows) == 3


def test_glb_holds_every_object_in_its_place_and_colour(tmp_path: Path) -> None:
    save_program(SCENE, tmp_path / "scene.glb")
    data = read_glb(tmp_path / "scene.glb")
    shown = {node["name"]: node for node in data["nodes"] if "mesh" in node}
    assert len(shown) == len(SCENE) + 1  # and the ground
    # glTF has y up: (x, y, z) becomes (x, z, -y).
    for item in SCENE:
        assert isinstance(item, ClevrObject)
        node = shown[f"{item.size} {item.color} {item.material} {item.shape}"]
        x, y, z = item.loc
        assert node["translation"] == pytest.approx([x, z, -y])
        (primitive,) = data["meshes"][node["mesh"]]["primitives"]
        surface = data["materials"][primitive["material"]]["pbrMetallicRoughness"]
        assert surface.get("metallicFactor", 1.0) == (1.0 if item.material == "metal" else 0.0)
        assert "baseColorFactor" in surface
    assert any("camera" in node for node in data["nodes"])


def test_usd_holds_every_object_in_its_place_and_colour(tmp_path: Path) -> None:
    save_program(SCENE, tmp_path / "scene.usd")
    assert [path.name for path in tmp_path.iterdir()] == ["scene.usd"]  # and no textures beside it
    script = (
        "import bpy, json, sys\n"
        "bpy.ops.wm.read_factory_settings(use_empty=True)\n"
        "bpy.ops.wm.usd_import(filepath=sys.argv[1])\n"
        "rows = {'kinds': [item.type for item in bpy.data.objects]}\n"
        "for item in bpy.data.objects:\n"
        "    if item.type == 'MESH':\n"
        "        matrix = item.matrix_world\n"
        "        tree = item.material_slots[0].material.node_tree\n"
        "        surface = next(node.inputs for node in tree.nodes if node.type == 'BSDF_PRINCIPLED')\n"
        "        pose = [*matrix.translation, matrix.to_euler().z, matrix.to_scale().x]\n"
        "        color = list(surface['Base Color'].default_value)[:3]\n"
        "        rows[str(color)] = [*pose, surface['Metallic'].default_value]\n"
        "print('RESULT', json.dumps(rows))\n"
    )
    output = subprocess.run([sys.executable, "-c", script, tmp_path / "scene.usd"], capture_output=True, text=True)
    (line,) = (line for line in output.stdout.splitlines() if line.startswith("RESULT"))
    rows = json.loads(line.removeprefix("RESULT"))
    kinds = rows.pop("kinds")
    assert (kinds.count("MESH"), kinds.count("CAMERA"), kinds.count("LIGHT")) == (4, 1, 4)
    found = {tuple(json.loads(color)): values for color, values in rows.items()}
    for item, yaw in ((CUBE, 0.6), (SPHERE, 0.0), (SECOND_SPHERE, 0.0)):
        values = next(values for color, values in found.items() if color == pytest.approx(named_color(item.color)))
        radius = CLEVR_RADII[item.size]
        assert values == pytest.approx([*item.loc, yaw, radius, float(item.material == "metal")], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_process_with_torch_ends_after_writing(tmp_path: Path, suffix: str) -> None:
    script = (
        "import torch, sys\n"
        "from pathlib import Path\n"
        "from dataset_builders.render_program import save_program\n"
        "from modeling_igllm import SceneProgram\n"
        "save_program(SceneProgram(()), Path(sys.argv[1]), (32, 24), samples=1)\n"
    )
    path = tmp_path / f"scene{suffix}"
    subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True, timeout=120)
    assert path.is_file()


@pytest.mark.parametrize("name", ["scene.jpg", "scene", "scene.PNG.txt"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}'.* one of \.png, \.blend, \.glb, \.usd"):
        save_program(SCENE, tmp_path / name, SIZE, samples=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_unwritable_place_is_an_os_error(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        save_program(SCENE, tmp_path / "file" / f"scene{suffix}", SIZE, samples=1)


def test_a_failing_render_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no picture")

    (tmp_path / "scene.png").write_bytes(b"old")
    monkeypatch.setattr(module, "render_program", fail)
    with pytest.raises(RuntimeError, match="no picture"):
        save_program(SCENE, tmp_path / "scene.png", SIZE, samples=1)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("scene.png", b"old")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scenes_of_other_families_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="Point2D"):
        save_program(SceneProgram((Point2D(0.5, 0.5),)), tmp_path / f"scene{suffix}", SIZE, samples=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_family_without_a_camera_is_refused_and_the_others_are_named(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="cannot render family 'two_d': choose one of clevr, so3, six_dof, shapenet"):
        save_program(SCENE, tmp_path / f"scene{suffix}", SIZE, samples=1, family="two_d")
    assert not list(tmp_path.iterdir())
