"""The published CLEVR comes in as rows like those of a build, or not at all."""

import math
from pathlib import Path
from typing import Any

import pytest
import shard_files
from datasets import Dataset, load_dataset
from published_clevr import CUBE, SPHERE, make_published, published_scene, write_scenes

from dataset_builders import shards
from dataset_builders.import_clevr import import_clevr
from dataset_builders.schema import FEATURES
from trl_scripts.cli import main

DELETE = object()


def _load(out: Path, split: str, cache: Path) -> Dataset:
    return load_dataset(str(out), "clevr", split=split, cache_dir=str(cache))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_published(tmp_path)


def test_rows_are_those_of_the_scenes_file_from_left_to_right(source: Path, tmp_path: Path) -> None:
    import_clevr(source, tmp_path / "out")
    row = _load(tmp_path / "out", "val_id", tmp_path / "cache")[1]
    scene = row["scene"]
    assert [item["shape"] for item in scene["objects"]] == ["sphere", "cylinder", "cube"]  # a tie in x: y decides
    sphere, _, cube = scene["objects"]
    assert cube["yaw"] == pytest.approx(math.fmod(200.0, math.pi / 2)) and sphere["yaw"] is None
    assert cube["rotation"][0][0] == pytest.approx(math.cos(cube["yaw"]))
    assert cube["loc"] == CUBE["3d_coords"] and cube["pixel_coords"] == CUBE["pixel_coords"]
    assert (sphere["size"], sphere["color"], sphere["material"]) == ("small", "red", "rubber")
    assert (scene["family"], scene["split"], scene["index"]) == ("clevr", "val_id", 1)
    for name in ("camera", "lights", "seed", "attempt", "bpy_version"):
        assert scene[name] is None
    assert {item["visible_pixels"] for item in scene["objects"]} == {None}


def test_program_is_the_canonical_text_of_the_scene(source: Path, tmp_path: Path) -> None:
    import_clevr(source, tmp_path / "out", num_scenes=1)
    assert _load(tmp_path / "out", "train", tmp_path / "cache")[0]["program"] == (
        "add(size='small', color='red', material='rubber', shape='sphere', loc=(2.000, -1.000, 0.350))\n"
        "add(size='small', color='red', material='rubber', shape='cylinder', loc=(2.000, -1.000, 0.350))\n"
        "add(size='large', color='gray', material='metal', shape='cube', loc=(-1.500, 0.250, 0.700), rotation=0.509)\n"
    )


def test_images_are_copied_byte_for_byte(source: Path, tmp_path: Path) -> None:
    import_clevr(source, tmp_path / "out")
    rows = shards.pq.read_table(tmp_path / "out" / "clevr" / "train-00000.parquet").to_pylist()
    files = sorted((source / "images" / "train").iterdir())
    assert [row["image"]["bytes"] for row in rows] == [file.read_bytes() for file in files]


def test_columns_are_those_of_a_build_and_both_load_from_one_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shard_files.write_split(shard_files.make_plan(out, family="clevr_cogent"))
    import_clevr(source, out)
    built = load_dataset(str(out), "clevr_cogent", split="train", cache_dir=str(tmp_path / "cache"))
    imported = _load(out, "val_id", tmp_path / "cache")
    assert imported.features == built.features == FEATURES
    assert (len(imported), len(built)) == (2, 3)
    card = (out / "README.md").read_text()
    assert "| clevr_cogent | train | 3 | 0 | 32x24 | 1 | 4.5 | built |" in card
    assert "| clevr | val_id | 2 | | | | | imported from CLEVR_v1.0 |" in card
    assert "rendered with Blender" in card and "licence CC BY 4.0" in card


def test_card_of_an_import_names_source_and_licence_only(source: Path, tmp_path: Path) -> None:
    import_clevr(source, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "imported from CLEVR_v1.0" in card and "licence CC BY 4.0" in card
    assert "Blender" not in card


@pytest.mark.parametrize("import_first", [False, True])
def test_a_split_is_never_both_built_and_imported(source: Path, tmp_path: Path, import_first: bool) -> None:
    plan = shard_files.make_plan(tmp_path / "out", split="val_id")
    steps = [lambda: shard_files.write_split(plan), lambda: import_clevr(source, plan.out)]
    first, second = reversed(steps) if import_first else steps
    first()
    before = plan.shard_path(0).read_bytes()
    with pytest.raises(ValueError, match=r"val_id\.build\.json holds .*imported_from.*another --out"):
        second()
    assert plan.shard_path(0).read_bytes() == before
    assert import_first or not list(plan.folder.glob("train-*.parquet"))


def test_resumed_import_keeps_whole_shards_and_writes_the_rest(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 2)
    source, out = make_published(tmp_path, train=5), tmp_path / "out"
    last = source / "images" / "train" / "CLEVR_train_000003.png"
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"CLEVR_train_000003\.png is not a readable PNG .*truncated.*unpack"):
        import_clevr(source, out)
    assert [path.name for path in sorted((out / "clevr").iterdir())] == [
        "train-00000.parquet", "train.build.json", "val_id.build.json"
    ]  # fmt: skip
    written = (out / "clevr" / "train-00000.parquet").stat().st_mtime_ns
    last.write_bytes(whole)
    import_clevr(source, out)
    assert (out / "clevr" / "train-00000.parquet").stat().st_mtime_ns == written
    assert [scene["index"] for scene in _load(out, "train", tmp_path / "cache")["scene"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("num_scenes", [0, -1])
def test_fewer_scenes_than_one_are_refused(source: Path, tmp_path: Path, num_scenes: int) -> None:
    with pytest.raises(ValueError, match=f"num_scenes must be at least 1, got {num_scenes}"):
        import_clevr(source, tmp_path / "out", num_scenes=num_scenes)
    assert not (tmp_path / "out").exists()


def test_another_scenes_file_into_the_same_folder_is_refused(source: Path, tmp_path: Path) -> None:
    import_clevr(source, tmp_path / "out")
    write_scenes(source, "train", [published_scene("train", index, CUBE) for index in range(3)])
    with pytest.raises(ValueError, match=r"train\.build\.json holds"):
        import_clevr(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "orange"}, "color: expected one of .*, got 'orange'"),
        ({"shape": ["cube"]}, "shape: expected one of"),
        ({"rotation": "12"}, "rotation: expected a number"),
        ({"rotation": math.nan}, "rotation: expected a number"),
        ({"3d_coords": [1.0, 2.0]}, "3d_coords: expected 3 numbers"),
        ({"pixel_coords": None}, "pixel_coords: expected 3 numbers"),
        ({"size": DELETE}, "expected an object with the keys size"),
    ],
)
def test_broken_object_is_refused_with_its_place(source: Path, change: Any, message: str) -> None:
    broken = {name: value for name, value in {**CUBE, **change}.items() if value is not DELETE}
    write_scenes(source, "val", [published_scene("val", 0), published_scene("val", 1, SPHERE, broken)])
    with pytest.raises(ValueError, match=rf"CLEVR_val_scenes\.json: scenes\[1\]: objects\[1\]: {message}.*unpack"):
        import_clevr(source, source.parent / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_filename": "../train/CLEVR_train_000000.png"}, "image_filename: expected the name of a file"),
        ({"image_index": -1}, "image_index: expected a whole number"),
        ({"image_index": 2**63}, "image_index: expected a whole number"),
        ({"objects": {}}, "objects: expected a list"),
    ],
)
def test_broken_scene_is_refused_with_its_place(source: Path, change: Any, message: str) -> None:
    write_scenes(source, "train", [{**published_scene("train", 0), **change}])
    with pytest.raises(ValueError, match=rf"CLEVR_train_scenes\.json: scenes\[0\]: {message}"):
        import_clevr(source, source.parent / "out")


@pytest.mark.parametrize("text", ['{"scenes": [', "[1]", '{"scenes": []}', '{"scenes": 1}', "\ufeff{}", "[" * 100_000])
def test_command_refuses_a_broken_scenes_file_in_one_line(
    source: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = source / "scenes" / "CLEVR_val_scenes.json"
    path.write_text(text)
    assert main(["import-clevr", str(source), "--out", str(source.parent / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"igllm import-clevr: {path} ") and error.count("\n") == 1
    assert "unpack" in error and not (source.parent / "out").exists()


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("scenes/CLEVR_train_scenes.json", "is missing: unpack"),
        ("images/val", "is no folder: give the unpacked CLEVR_v1.0"),
        ("images/val/CLEVR_val_000001.png", "is missing: unpack"),
        ("", "is no folder: give the unpacked CLEVR_v1.0"),
    ],
)
def test_command_names_what_is_missing(
    source: Path, capsys: pytest.CaptureFixture[str], lost: str, message: str
) -> None:
    (source / lost).rename(source.parent / "elsewhere")
    assert main(["import-clevr", str(source), "--out", str(source.parent / "out")]) == 2
    assert f"igllm import-clevr: {source / lost} {message}" in capsys.readouterr().err


def test_command_refuses_what_is_no_png(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = source / "images" / "train" / "CLEVR_train_000000.png"
    path.write_bytes(b"GIF89a")
    assert main(["import-clevr", str(source), "--out", str(source.parent / "out")]) == 2
    assert f"{path} is not a readable PNG" in capsys.readouterr().err


def test_command_imports_the_first_scenes_and_grows_later(source: Path, tmp_path: Path) -> None:
    command = ["import-clevr", str(source), "--out", str(tmp_path / "out")]
    assert main([*command, "--num-scenes", "1"]) == 0
    assert len(_load(tmp_path / "out", "train", tmp_path / "cache")) == 1
    assert main(command) == 0
    assert len(_load(tmp_path / "out", "train", tmp_path / "cache")) == 3


def test_command_reports_a_place_that_cannot_be_written(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source.parent / "file").touch()
    assert main(["import-clevr", str(source), "--out", str(source.parent / "file")]) == 2
    assert "choose another --out folder" in capsys.readouterr().err
