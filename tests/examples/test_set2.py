"""The worked example of docs/fine_tuning.md: CLEVR's scenes in other colours, and pictures in a folder."""

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from trl import TrlParser

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.families import ENTRY_POINTS
from dataset_builders.painters import Painter, PaintRequest, Picture
from dataset_builders.palette import named_color
from dataset_builders.sampled_scene import SampledScene
from modeling_igllm import COLORS, ClevrObject, SceneProgram
from trl_scripts import sft
from trl_scripts.scene_rows import load_scene_rows

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "set2"
TUTORIAL = ROOT / "docs" / "fine_tuning.md"


@pytest.fixture
def set2(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example's module."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import set2 as module

    yield module
    sys.modules.pop("set2", None)


@pytest.fixture
def painted(set2: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[SampledScene]:
    """What the painter of CLEVR is given, in place of Blender."""
    scenes: list[SampledScene] = []

    def make_painter(request: PaintRequest) -> Painter:
        def paint(scene: SampledScene) -> Picture:
            scenes.append(scene)
            return Picture(np.zeros((request.height, request.width, 3), np.uint8))

        return Painter(paint, "4.5.0")

    monkeypatch.setattr(set2, "make_clevr_painter", make_painter)
    return scenes


def test_the_entry_point_is_the_family(set2: ModuleType) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][ENTRY_POINTS] == {"set2": "set2:SET2"}
    assert set2.SET2.name == "set2"


def test_every_word_has_a_colour_of_its_own(set2: ModuleType) -> None:
    assert set(set2.PALETTE) == set(COLORS)
    assert len(set(set2.PALETTE.values())) == len(COLORS)
    assert all(np.linalg.norm(np.subtract(rgb, named_color(name))) > 0.1 for name, rgb in set2.PALETTE.items())


def test_scenes_are_those_of_clevr_in_the_palettes_colours(set2: ModuleType, painted: list[SampledScene]) -> None:
    scene, plain = set2.SET2.sample("set2", "train", 7, 3), sample_clevr_scene("clevr", "train", 7, 3)
    assert (scene.family, scene.objects, scene.camera) == ("set2", plain.objects, plain.camera)
    assert scene.program == plain.program is not None
    picture = set2.SET2.make_painter(PaintRequest(16, 12, samples=1)).paint(scene)
    assert picture.pixels.shape == (12, 16, 3)
    words = [item.color for item in plain.objects if isinstance(item, ClevrObject)]
    assert painted[0].rgbs == tuple(set2.PALETTE[word] for word in words)


def test_a_prediction_is_drawn_in_the_palettes_colours(set2: ModuleType, painted: list[SampledScene]) -> None:
    item = ClevrObject("large", "purple", "rubber", "sphere", (0.0, 0.0, 0.7))
    assert set2.draw_program(SceneProgram((item,)), (16, 12), samples=1).size == (16, 12)
    assert (painted[0].objects, painted[0].rgbs) == ((item,), (set2.PALETTE["purple"],))


def test_the_recipe_trains_an_adapter_for_a_number_of_steps() -> None:
    parser = TrlParser(sft.ARGUMENT_CLASSES)
    command = ["--config", str(EXAMPLE / "set2.yaml"), "--dataset", "data", "--output_dir", "out"]
    _, training, model = parser.parse_args_and_config(command, fail_with_unknown_args=True)
    assert model.use_peft
    assert training.max_steps > 0
    assert (ROOT / model.model_name_or_path / "config.json").is_file()


def test_a_folder_of_pictures_is_read_as_the_tutorial_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (line,) = [text for text in TUTORIAL.read_text().splitlines() if text.startswith('{"file_name"')]
    example = json.loads(line)
    picture = (ROOT / "docs" / "examples" / "clevr_scene.png").read_bytes()
    for split in ("train", "test"):
        folder = tmp_path / "pictures" / split
        folder.mkdir(parents=True)
        (folder / example["file_name"]).write_bytes(picture)
        (folder / "metadata.jsonl").write_text(line + "\n")
    for split in ("train", "test"):
        rows = load_scene_rows(str(tmp_path / "pictures"), "default", split)
        assert rows["program"][:] == [example["program"]]
        assert rows[0]["image"].size == (320, 240)
