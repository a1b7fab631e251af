"""Promises of the prediction: every text of the grammar is a scene, and it saves, renders and says how sure it is."""

import builtins
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataset_builders import render_program
from modeling_igllm import (
    REPRESENTATION_SIZES,
    IGLLMProcessor,
    PosedObject,
    Rotation,
    ScenePrediction,
    SceneProgram,
    SceneProgramError,
    format_program,
    parse_predicted_program,
    parse_program,
)

LINE = "add(size='large', color='red', material='metal', shape='sphere', loc=(0.500, -1.000, 0.700))\n"
GOOD = ScenePrediction.from_text(LINE)
BAD = ScenePrediction.from_text("I see a sphere.")
representations = pytest.mark.parametrize("representation", list(REPRESENTATION_SIZES))


def posed_text(representation: str, number: str) -> str:
    """One posed object with the same `number` everywhere."""
    rotation = ", ".join(REPRESENTATION_SIZES[representation] * [number])
    return f"add(color='red', shape='car_1', loc=({number}, {number}, {number}), rotation=({rotation}))\n"


@representations
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_numbers_of_a_head_are_a_program_that_parses(representation: str, data: st.DataObject) -> None:
    count = 3 + REPRESENTATION_SIZES[representation]
    number = st.sampled_from([0.0, 1e-9, 2e-4, 1.0, 1e6, -1e6]) | st.floats(-2, 2)
    numbers = data.draw(st.lists(number, min_size=count, max_size=count))
    prediction = ScenePrediction.from_text(posed_text(representation, "[NUM]"), numbers, representation)
    assert prediction.error is None
    assert prediction.numbers == tuple(numbers)
    assert parse_program(str(prediction.program), rotation=representation) == prediction.scene.rounded(3)
    written = json.loads(json.dumps(prediction.to_json()))
    assert SceneProgram.from_json(written, rotation=representation) == prediction.scene
    for other in REPRESENTATION_SIZES:  # what the metric and other readers make of it
        parse_program(format_program(prediction.scene.with_rotation(other)), rotation=other)


@representations
@pytest.mark.parametrize("number", ["0.000", "-0.000", "0.001", "999999.999"])
def test_any_digits_are_a_program_that_parses(representation: str, number: str) -> None:
    prediction = ScenePrediction.from_text(posed_text(representation, number), rotation=representation)
    assert prediction.error is None
    assert parse_program(str(prediction.program), rotation=representation) == prediction.scene.rounded(3)


@pytest.mark.parametrize("representation", ["quat", "6d", "9d"])
def test_the_language_itself_stays_strict(representation: str) -> None:
    text = posed_text(representation, "0.000")
    with pytest.raises(SceneProgramError, match="define a rotation"):
        parse_program(text, rotation=representation)
    assert len(parse_predicted_program(text, rotation=representation)) == 1
    with pytest.raises(TypeError):
        parse_predicted_program(None)  # type: ignore[arg-type]


def test_digits_that_were_trained_come_back_as_they_were_written() -> None:
    rotation = Rotation.from_matrix(np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]]), "6d")
    text = format_program(SceneProgram((PosedObject("red", "car_1", (0.1, 0.2, 0.3), rotation),)))
    assert ScenePrediction.from_text(text).program == text


class SameLogits(torch.nn.Module):
    """An output layer that wants zeros, more objects and anything else in the same way, whatever it is asked."""

    def __init__(self, processor: IGLLMProcessor) -> None:
        super().__init__()
        self.logits = torch.zeros(len(processor.tokenizer))
        self.logits[processor.tokenizer.convert_tokens_to_ids("0")] = 1.0
        self.logits[processor.tokenizer.eos_token_id] = -1.0

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*hidden_states.shape[:-1], -1)


@representations
@pytest.mark.parametrize("style", ["token", "char"])
def test_a_model_whose_numbers_are_all_zero_writes_programs(representation: str, style: str) -> None:
    processor = tiny.make_processor(rotation=representation, numbers=style)
    rotation = Rotation.from_matrix(np.eye(3), "6d")
    scene = SceneProgram((PosedObject("red", "car", (0.0, 0.0, 0.0), rotation),))
    model = tiny.make_model(processor, number_head="none" if style == "char" else "linear")
    model.set_grammar(processor.make_grammar([scene], max_objects=2))
    model.lm_head = SameLogits(processor)
    if style == "token":
        for parameter in model.numeric_head.parameters():
            torch.nn.init.zeros_(parameter)
    output = model.generate_scene(**processor.encode_prompt(tiny.make_images(1)), max_new_tokens=400)
    (prediction,) = processor.decode_scene(
        output.sequences, output.numbers, truncated=output.truncated, word_probabilities=output.word_probabilities
    )
    assert prediction.error is None
    assert len(prediction.confidences) == len(prediction.scene) > 0
    assert prediction.truncated
    assert parse_program(str(prediction.program), rotation=representation) == prediction.scene.rounded(3)
    zeros = len(prediction.scene) * (3 + REPRESENTATION_SIZES[representation])
    assert prediction.numbers == (zeros * (0.0,) if style == "token" else ())
    assert prediction.text.count("[NUM]" if style == "token" else "+0") == zeros


@pytest.mark.parametrize(
    ("yaw", "wrapped"),
    [(0.5, 0.5), (math.pi / 2, 0.0), (-0.1, math.pi / 2 - 0.1), (2.0, 2 - math.pi / 2), (-1e-18, 0.0)],
)
def test_yaw_of_cubes_is_wrapped_into_a_quarter_turn(yaw: float, wrapped: float) -> None:
    text = "add(size='small', color='red', material='metal', shape='cube', loc=([NUM], [NUM], [NUM]), rotation=[NUM])"
    prediction = ScenePrediction.from_text(text, (1.0, 2.0, 3.0, yaw))
    assert prediction.numbers[-1] == yaw
    (cube,) = prediction.to_json()["objects"]  # type: ignore[misc]
    assert cube["rotation"] == pytest.approx(wrapped, abs=1e-12)
    assert 0 <= cube["rotation"] < math.pi / 2


def test_prediction_file_has_full_precision_objects_and_a_rounded_program() -> None:
    prediction = ScenePrediction.from_text("add(x=[NUM], y=[NUM])", (0.123456, 0.5))
    assert prediction.to_json() == {
        "objects": [{"x": 0.123456, "y": 0.5}],
        "program": "add(x=0.123, y=0.500)\n",
        "truncated": False,
    }


def test_prediction_file_says_how_sure_the_model_is() -> None:
    prediction = ScenePrediction.from_text(
        "add(x=[NUM], y=[NUM])", [0.1, 0.5], number_stds=[0.01, 0.02], confidences=[{"object": 0.75}], truncated=True
    )
    data = json.loads(json.dumps(prediction.to_json()))
    assert (data["number_stds"], data["confidences"]) == ([0.01, 0.02], [{"object": 0.75}])
    assert data["truncated"] is True


def test_json_and_txt_are_written_without_blender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_blender(monkeypatch)
    for prediction, text in ((GOOD, LINE), (BAD, "I see a sphere.")):
        prediction.save(tmp_path / "scene.json")
        prediction.save(str(tmp_path / "scene.txt"))
        assert json.loads((tmp_path / "scene.json").read_text()) == prediction.to_json()
        assert (tmp_path / "scene.txt").read_text() == text


@pytest.mark.parametrize("name", ["scene.jpg", "scene", "scene.PNG", ".png"])
def test_another_suffix_lists_the_right_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}'.* \.json, \.txt, \.png, \.blend, \.glb, \.usd"):
        GOOD.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_is_no_program_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no scene program cannot be rendered: line 1, column 1"):
        BAD.render()
    for suffix in (".png", ".blend", ".glb", ".usd"):
        with pytest.raises(ValueError, match=rf"cannot be saved as \{suffix}: line 1"):
            BAD.save(tmp_path / f"scene{suffix}")
    assert not list(tmp_path.iterdir())


def without_blender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import dataset_builders.rendering` fail as it does without bpy."""
    original = builtins.__import__

    def blocked(name: str, *args: object, **kwargs: object) -> ModuleType:
        if name == "dataset_builders.rendering":
            raise ModuleNotFoundError("No module named 'bpy'", name="bpy")
        return original(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", blocked)


def test_without_blender_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_blender(monkeypatch)
    for call in (GOOD.render, lambda: GOOD.save(tmp_path / "scene.glb")):
        with pytest.raises(ImportError, match=r"No module named 'bpy'.*pip install 'ig-llm\[render\]'"):
            call()


def test_render_asks_for_the_size_and_gives_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_program, "render_program", lambda scene, size: np.zeros((*size[::-1], 3), np.uint8))
    assert GOOD.render().size == (320, 240)
    assert GOOD.render(width=64, height=32).size == (64, 32)


@pytest.mark.parametrize("suffix", [".png", ".blend", ".glb", ".usd"])
def test_blender_writes_what_the_suffix_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    saved = []
    monkeypatch.setattr(render_program, "save_program", lambda scene, path: saved.append((scene, path)))
    GOOD.save(str(tmp_path / f"scene{suffix}"))
    assert saved == [(parse_program(LINE), tmp_path / f"scene{suffix}")]


def test_a_scene_of_a_class_from_the_hub_is_rendered_all_the_same() -> None:
    # As remote code: the same files under another name, whose classes the renderer has never seen.
    copy = import_as("remote_igllm")
    prediction = copy.ScenePrediction.from_text(LINE)
    assert not isinstance(prediction.scene, SceneProgram)
    picture = prediction.render(width=32, height=24)
    assert isinstance(picture, Image.Image)
    assert picture.size == (32, 24)
    assert np.asarray(picture)[12].std() > 1  # there is something to see


def test_rotations_reach_the_renderer_in_their_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = []
    monkeypatch.setattr(
        render_program, "render_program", lambda scene, size: rendered.append(scene) or np.zeros((4, 4, 3), np.uint8)
    )
    prediction = ScenePrediction.from_text(posed_text("quat", "0.500"), rotation="quat")
    prediction.render()
    assert rendered == [prediction.scene]


def import_as(name: str) -> ModuleType:
    """`modeling_igllm/scene_prediction.py` and what it imports, once more under the package `name`."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder = Path(sys.modules["modeling_igllm"].__file__ or "").parent
    package = ModuleType(name)
    package.__path__ = [str(folder)]  # type: ignore[attr-defined]
    sys.modules[name] = package
    spec = spec_from_file_location(f"{name}.scene_prediction", folder / "scene_prediction.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
