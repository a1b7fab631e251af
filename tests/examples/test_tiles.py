"""The worked example of docs/adding_a_family.md: a family of another package is built, trained on and scored."""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, load_dataset

from dataset_builders.families import ENTRY_POINTS, FAMILIES, find_family
from dataset_builders.painters import PaintRequest
from dataset_builders.palette import named_color
from modeling_igllm import PosedObject, parse_program
from trl_scripts import sft
from trl_scripts.cli import main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "tiles"
SCENES = 6


def put_metadata(folder: Path, entry_point: str) -> None:
    """What `pip install` would leave of a package with one family named "tiles"."""
    metadata = folder / "tiles-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiles\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\ntiles = {entry_point}\n")


@pytest.fixture
def forget_families() -> Iterator[None]:
    """What was found before and after is looked up anew."""
    find_family.cache_clear()
    yield
    find_family.cache_clear()
    sys.modules.pop("tiles", None)


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_families: None) -> None:
    """The example as if it were installed; workers inherit the search path."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    ((name, entry_point),) = project["entry-points"][ENTRY_POINTS].items()
    assert name == "tiles"
    put_metadata(tmp_path / "site", entry_point)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def build(out: Path, *flags: str) -> int:
    """`igllm build tiles`: a few scenes in a worker process; returns the exit code."""
    return main(["build", "tiles", "--num-scenes", str(SCENES), "--workers", "1", "--out", str(out), *flags])


def load(folder: Path, cache: Path) -> Dataset:
    return load_dataset(str(folder), "tiles", split="train", cache_dir=str(cache))


def test_the_example_is_short() -> None:
    files = [path for path in EXAMPLE.iterdir() if path.suffix in (".py", ".toml", ".yaml")]
    assert len(files) == 3
    assert sum(len(path.read_text().splitlines()) for path in files) < 150


@pytest.mark.usefixtures("tiles")
def test_built_trained_predicted_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the recipe names the checkpoint from here
    data, model, cache = tmp_path / "data", tmp_path / "model", tmp_path / "cache"
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
    assert build(data, "--split", "train") == 0
    assert "configs:\n- config_name: tiles\n" in (data / "README.md").read_text()
    rows = load(data, cache)

    recipe = ["--config", str(EXAMPLE / "tiles.yaml"), "--dataset", str(data), "--eval_split", "train"]
    few = ["--max_steps", "10", "--per_device_train_batch_size", "3", "--warmup_steps", "0", "--disable_tqdm", "true"]
    assert sft.main([*recipe, *few, "--output_dir", str(model)]) == 0

    rows[0]["image"].save(tmp_path / "picture.png")
    assert main(["predict", str(tmp_path / "picture.png"), "--model", str(model), "--out", str(tmp_path / "out")]) == 0
    predicted = parse_program((tmp_path / "out" / "picture.txt").read_text())
    assert len(predicted)
    for item in predicted:
        assert isinstance(item, PosedObject)  # by the grammar of tiles, no longer CLEVR's
        assert item.shape in {"arrow", "flag", "wedge"}

    where = ["--dataset", str(data), "--config", "tiles", "--split", "train"]
    assert main(["evaluate", "--model", str(model), *where, "--out", str(tmp_path / "scores.json")]) == 0
    report = json.loads((tmp_path / "scores.json").read_text())
    assert (report["scenes"], report["scores"]["strict/invalid_rate"]) == (SCENES, 0)
    assert 0 <= report["scores"]["strict/shape"] <= 1
    assert 0 < report["scores"]["strict/rotation_deg"] <= 180


@pytest.mark.usefixtures("tiles")
def test_the_pictures_show_what_the_programs_say() -> None:
    family = find_family("tiles")
    painter = family.make_painter(PaintRequest(*family.resolution, samples=1))
    for split in family.splits:
        for index in range(20):
            scene = family.sample("tiles", split, 0, index)
            assert scene.camera is not None
            pixels = painter.paint(scene).pixels
            places = scene.camera.project(np.array([item.loc for item in scene.objects]), *family.resolution)
            assert (np.diff(places[:, 0]) >= 0).all()
            for item, (x, y, _) in zip(scene.objects, places, strict=True):
                assert isinstance(item, PosedObject)
                assert pixels[int(y), int(x)].tolist() == [round(255 * value) for value in named_color(item.color)]
                assert (item.rounded(3).rotation.matrix[1, 0] > 0) == (split != "val_ood")


@pytest.mark.usefixtures("tiles")
def test_the_builder_class_makes_the_same_rows(tmp_path: Path) -> None:
    from tiles import TilesBuilder

    builder = TilesBuilder(cache_dir=str(tmp_path / "builder"), num_scenes=SCENES)
    builder.download_and_prepare()
    assert build(tmp_path / "data", "--split", "train") == 0
    first, second = builder.as_dataset(split="train"), load(tmp_path / "data", tmp_path / "cache")
    assert first["scene"][:] == second["scene"][:]
    assert first["program"][:] == second["program"][:]
    assert all(np.array_equal(one, other) for one, other in zip(first["image"], second["image"], strict=True))


@pytest.mark.usefixtures("tiles")
def test_what_the_family_cannot_do_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(tmp_path / "data", "--split", "train", "--ground-truth") == 2
    assert "igllm build: the tiles family has no instance masks and no depth" in capsys.readouterr().err
    assert build(tmp_path / "data", "--split", "test") == 2
    assert "family 'tiles' has no split 'test'" in capsys.readouterr().err


@pytest.mark.usefixtures("tiles")
def test_an_unknown_family_names_the_added_ones_too() -> None:
    with pytest.raises(ValueError, match=re.escape(f"choose one of {', '.join(FAMILIES)}, tiles")):
        find_family("tile")


@pytest.mark.usefixtures("forget_families")
@pytest.mark.parametrize("entry_point", ["dataset_builders.families:Family", "dataset_builders.two_d:CELLS"])
def test_an_entry_point_that_is_no_family_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_point: str
) -> None:
    put_metadata(tmp_path, entry_point)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=f"the entry point tiles = '{entry_point}' is .*, not a Family named 'tiles'"):
        find_family("tiles")


def test_the_guide_shows_what_the_example_says() -> None:
    """Every code block of the guide is of the example, line by line."""
    sources = {line.strip() for path in EXAMPLE.iterdir() if path.is_file() for line in path.read_text().splitlines()}
    guide = (ROOT / "docs" / "adding_a_family.md").read_text()
    blocks = re.findall(r"```(?:python|toml|yaml)\n(.*?)```", guide, re.DOTALL)
    assert len(blocks) >= 4
    for line in "".join(blocks).splitlines():
        assert line.strip() in sources | {"", "..."}, line
