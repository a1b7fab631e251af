"""Datasets that are not as built: `igllm evaluate` and `sft.py` refuse them with the file or row, before any work."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Image, config
from PIL import Image as PillowImage

from trl_scripts import sft
from trl_scripts.cli import main
from trl_scripts.errors import CommandError
from trl_scripts.scene_rows import load_scene_rows

LINE = "add(size='large', color='red', material='metal', shape='sphere', loc=(0.500, -1.000, 0.700))\n"
CARD = """---
configs:
- config_name: clevr
  data_files:
  - {split: train, path: clevr/train-*.parquet}
  - {split: val_id, path: clevr/train-*.parquet}
---
"""
Rows = dict[str, list[Any]]


def picture(kept: int | None = None, kind: str = "PNG", mode: str = "RGB", width: int = 16) -> dict[str, Any]:
    buffer = io.BytesIO()
    PillowImage.new(mode, (width, 12)).save(buffer, kind)
    return {"bytes": buffer.getvalue()[:kept], "path": None}


def rows(**changes: Any) -> Rows:
    return {"image": [picture(), picture()], "program": [LINE, LINE]} | changes


def no_change(path: Path) -> None:
    """The rows alone are wrong."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(byte ^ 255 for byte in data[4:60]) + data[60:])


def other_types(path: Path) -> None:
    Dataset.from_dict({"image": [1, 2], "program": [1.5, 2.5]}).to_parquet(path)


SECOND_SHARD = r"{folder}/clevr/train-00001\.parquet"
# name -> (rows of both shards, what is done to the second one, message)
CASES: dict[str, tuple[Rows, Callable[[Path], None], str]] = {
    "cut shard": (rows(), cut, rf"{SECOND_SHARD} is damaged \(.*\): delete it and run `igllm build` again"),
    "empty shard": (rows(), empty, rf"{SECOND_SHARD} is damaged"),
    "flipped bytes": (rows(), flipped, rf"{SECOND_SHARD} is damaged"),
    "shard of other types": (rows(), other_types, rf"{SECOND_SHARD} has other columns or types than train-00000"),
    "no program column": ({"image": [picture()]}, no_change, "has no column 'program', only image: build it with"),
    "no image column": ({"program": [LINE]}, no_change, "has no column 'image', only program: build it with"),
    "numbers for programs": (rows(program=[1, 2]), no_change, "column 'program' of .* must hold text, not .*int64"),
    "text for images": (rows(image=["a", "b"]), no_change, "column 'image' of .* must hold images, not .*string"),
    "null program": (rows(program=[LINE, None]), no_change, "row 1 of .* has no program"),
    "null image": (rows(image=[picture(), None]), no_change, "row 1 of .* has no image"),
    "no program at all": (
        rows(program=[LINE, "hello"]),
        no_change,
        r"program of row 1 of .* is none: line 1, column 1",
    ),
    "code for a program": (
        rows(program=[LINE, "__import__('os').system('true')"]),
        no_change,
        "program of row 1 of .* is none: line 1, column 1",
    ),
    "no image at all": (
        rows(image=[picture(), {"bytes": b"xx", "path": None}]),
        no_change,
        "image of row 1 of .* is not readable",
    ),
    "cut image": (rows(image=[picture(), picture(60)]), no_change, "image of row 1 of .* is not readable"),
    "cut photograph": (
        rows(image=[picture(), picture(-6, kind="JPEG")]),
        no_change,
        "image of row 1 of .* is not readable",
    ),
    "vector image": (rows(image=[picture(), picture(kind="EPS")]), no_change, "image of row 1 of .* is not readable"),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of one name would share a cache (datasets goes by the last part of a path)."""
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")


def build(folder: Path, columns: Rows, change: Callable[[Path], None] = no_change) -> Path:
    (folder / "clevr").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    shard = Dataset.from_dict(columns)
    for column, values in columns.items():
        if isinstance(values[0], dict):
            shard = shard.cast_column(column, Image())
    for number in range(2):
        shard.to_parquet(folder / "clevr" / f"train-{number:05d}.parquet")
    change(folder / "clevr" / "train-00001.parquet")
    return folder


def test_a_whole_dataset_is_read(tmp_path: Path) -> None:
    folder = build(tmp_path / "data", rows())
    assert load_scene_rows(str(folder), "clevr", "train")["program"][:] == [LINE] * 4
    assert len(load_scene_rows(str(folder), "clevr", "train[:3]")) == 3
    assert len(load_scene_rows(str(folder), None, "train", limit=1)) == 1


@pytest.mark.parametrize("case", CASES)
def test_a_broken_dataset_is_refused_by_name(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns, change, message = CASES[case]
    folder = build(tmp_path / "data", columns, change)
    expected = message.replace("{folder}", str(folder))
    with pytest.raises(CommandError, match=expected):
        load_scene_rows(str(folder), "clevr", "train")
    assert main(["evaluate", "--dataset", str(folder), "--model", "none"]) == 2
    last_line = capsys.readouterr().err.strip().splitlines()[-1]
    assert last_line.startswith("igllm evaluate: ")
    arguments = ["--dataset", str(folder), "--output_dir", str(tmp_path / "out"), "--use_cpu", "--bf16", "False"]
    assert sft.main(arguments) == 2
    assert re.search(f"^sft.py: .*{expected}", capsys.readouterr().err.strip().splitlines()[-1])
    assert not (tmp_path / "out" / "config.json").exists()


# name -> (masks of both rows, message)
MASKS: dict[str, tuple[list[Any] | None, str]] = {
    "no masks": (None, "has no column 'instance_mask': build it with `igllm build --ground-truth`"),
    "numbers for masks": ([1, 2], "has a column 'instance_mask' of .*int64.*, not of images"),
    "one mask is missing": ([picture(mode="L"), None], "row 1 of .* has no instance mask: build with --ground-truth"),
    "no mask at all": ([picture(mode="L"), {"bytes": b"xx", "path": None}], "mask of row 1 of .* is not readable"),
    "cut mask": ([picture(mode="L"), picture(50, mode="L")], "instance mask of row 1 of .* is not readable"),
    "mask of another size": (
        [picture(mode="L"), picture(mode="L", width=9)],
        "instance mask of row 1 of .* is of 9x12 pixels and 1 bands, not of 16x12 like its image and one: delete it",
    ),
    "mask in colours": (
        [picture(mode="L"), picture(mode="RGB")],
        "instance mask of row 1 of .* is of 16x12 pixels and 3 bands, not of 16x12 like its image and one",
    ),
}


@pytest.mark.parametrize("case", MASKS)
def test_damaged_masks_are_refused_where_they_are_read(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks, message = MASKS[case]
    folder = build(tmp_path / "data", rows() if masks is None else rows(instance_mask=masks))
    with pytest.raises(CommandError, match=message):
        load_scene_rows(str(folder), "clevr", "train", masks=True)
    arguments = f"--dataset {folder} --recolor true --output_dir {tmp_path / 'out'} --use_cpu --bf16 False"
    assert sft.main(arguments.split()) == 2
    assert re.search(f"^sft.py: .*{message}", capsys.readouterr().err.strip().splitlines()[-1])
    assert len(load_scene_rows(str(folder), "clevr", "train")) == 4  # nobody asks for them here


@pytest.mark.parametrize("split", ["val_ood", "val-ood"])
def test_a_split_that_is_not_there_is_named(split: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=split):
        load_scene_rows(str(build(tmp_path / "data", rows())), "clevr", split)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=str(tmp_path / "nothing")):
        load_scene_rows(str(tmp_path / "nothing"), "clevr", "train")
