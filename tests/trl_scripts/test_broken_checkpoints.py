"""A checkpoint that is not whole, or whose parts do not belong together, is refused by name: it never answers.

Each case breaks a good folder in one way; `igllm predict`'s loading, fine-tuning and the pipeline must all refuse it.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from trl import ModelConfig

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, ImageToScenePipeline
from modeling_igllm.processor_fit import check_processor_fits
from trl_scripts import sft
from trl_scripts.errors import CommandError
from trl_scripts.inference import Predictor

WEIGHTS = "model.safetensors"
HEAD = "numeric_head.layers.1.weight"


def save_checkpoint(folder: Path, **overrides: Any) -> IGLLMProcessor:
    processor = tiny.make_processor(**overrides)
    model = tiny.make_model(processor)
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE]))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return processor


def edit_json(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def cut_weights(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])


def cut_header(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:100])


def empty_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


class Payload:
    """Its pickle writes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "code has run")


def pickled_weights(folder: Path) -> None:
    no_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(folder / "proof")))


def missing_weight(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.pop(HEAD))


def other_shape(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.update({HEAD: torch.zeros(32, 16)}))


def fewer_layers_in_the_configuration(folder: Path) -> None:
    text_config = json.loads((folder / "config.json").read_text())["text_config"]
    edit_json(folder / "config.json", text_config=text_config | {"num_hidden_layers": 1})


def damaged_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def damaged_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text()[:500])


def empty_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def damaged_processor(folder: Path) -> None:
    (folder / "processor_config.json").write_text("{")


def larger_tokenizer(folder: Path) -> None:
    processor = IGLLMProcessor.from_pretrained(folder)
    processor.tokenizer.add_tokens(["another", "and another"])
    processor.save_pretrained(folder)


def other_number_token(folder: Path) -> None:
    edit_json(
        folder / "config.json", num_token_id=json.loads((folder / "config.json").read_text())["num_token_id"] - 1
    )


def other_image_token(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit_json(folder / "config.json", image_token_index=config["image_token_index"] - 1)


def other_picture_size(folder: Path) -> None:
    edit_processor(
        folder, lambda data: data["image_processor"].update(size={"height": tiny.WIDTH, "width": tiny.HEIGHT})
    )


def fewer_image_tokens(folder: Path) -> None:
    edit_processor(folder, lambda data: data.update(num_image_tokens=8))


def edit_processor(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "processor_config.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def swapped_words(folder: Path) -> None:
    """The same tokens, but two have changed their places: every answer would be wrong, and parse."""
    path = folder / "tokenizer.json"
    red, blue = '"red":', '"blue":'
    path.write_text(path.read_text().replace(red, "\0").replace(blue, red).replace("\0", blue))


def other_wording(folder: Path) -> None:
    edit_processor(folder, lambda data: data.update(answer_suffix="\n"))


def damaged_grammar(folder: Path) -> None:
    edit_json(folder / "config.json", grammar={"forms": []})


def foreign_grammar(folder: Path) -> None:
    """Made by another tokenizer: its ids mean other texts here."""
    grammar = json.loads((folder / "config.json").read_text())["grammar"]
    for form in grammar["forms"]:
        for slot in form:
            if "token_ids" in slot:
                slot["token_ids"] = slot["token_ids"][::-1] if len(slot["token_ids"]) > 1 else [7]
    edit_json(folder / "config.json", grammar=grammar)


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut weights": (cut_weights, r"{folder}/model\.safetensors is damaged .*fetch or save the checkpoint again"),
    "cut header": (cut_header, r"{folder}/model\.safetensors is damaged"),
    "empty weights": (empty_weights, r"{folder}/model\.safetensors is damaged"),
    "no weights": (no_weights, r"no file named model\.safetensors .* {folder}"),
    "pickled weights": (pickled_weights, r"no file named model\.safetensors .* {folder}"),
    "missing weight": (missing_weight, r"{folder} lacks 1 weights, among them numeric_head\.layers\.1\.weight"),
    "other shape": (
        other_shape,
        r"{folder} has 1 weights of another shape .* numeric_head\.layers\.1\.weight: \(32, 16\)",
    ),
    "fewer layers": (fewer_layers_in_the_configuration, r"{folder} has 9 weights that config\.json has no place for"),
    "damaged configuration": (damaged_configuration, r"{folder}/config\.json"),
    "no tokenizer": (no_tokenizer, "tokenizer"),
    "damaged tokenizer": (damaged_tokenizer, r"tokenizer of '{folder}' is damaged .* fetch or save"),
    "empty tokenizer": (empty_tokenizer, r"tokenizer of '{folder}' is damaged .* fetch or save"),
    "damaged processor": (damaged_processor, r"{folder}/processor_config\.json"),
    "larger tokenizer": (
        larger_tokenizer,
        r"processor of '{folder}' does not fit .* last token has id \d+, .* embeddings",
    ),
    "other number token": (other_number_token, r"its num_token_id is \d+, the model has \d+; put back"),
    "other image token": (other_image_token, r"its image_token_id is \d+, the model has \d+; put back"),
    "other picture size": (other_picture_size, r"its size of images is \(64, 40\), the model has \(40, 64\)"),
    "fewer image tokens": (fewer_image_tokens, "its num_image_tokens is 8, the model has 16"),
    "swapped words": (swapped_words, r"tokenizer of '{folder}' does not fit config\.grammar: it writes '(red|blue)'"),
    "other wording": (other_wording, r"does not fit config\.grammar: it writes '\\n'"),
    "damaged grammar": (damaged_grammar, r"config\.grammar is damaged"),
    "foreign grammar": (foreign_grammar, r"tokenizer of '{folder}' does not fit config\.grammar"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model")
    return tmp_path / "model"


def test_a_whole_checkpoint_loads(folder: Path) -> None:
    predictor = Predictor.load(str(folder), None, "cpu", "float32")
    check_processor_fits(predictor.model.config, predictor.processor)


@pytest.mark.parametrize("case", CASES)
def test_a_broken_checkpoint_is_refused_by_name(case: str, folder: Path) -> None:
    break_it, message = CASES[case]
    break_it(folder)
    expected = message.replace("{folder}", str(folder))
    with pytest.raises(CommandError, match=f"^cannot load the model '{folder}': .*{expected}"):
        Predictor.load(str(folder), None, "cpu", "float32")
    with pytest.raises(CommandError, match=expected):
        sft._load_model(sft.SceneArguments("none"), ModelConfig(model_name_or_path=str(folder)), None)  # type: ignore[arg-type]
    with pytest.raises((ValueError, OSError), match=expected):
        ImageToScenePipeline(
            model=IGLLMForSceneProgram.from_pretrained(folder), processor=IGLLMProcessor.from_pretrained(folder)
        )
    assert not (folder / "proof").exists()


@pytest.mark.parametrize("numbers", ["char", "text"])
def test_models_that_write_digits_fit_their_processors(numbers: str) -> None:
    processor = tiny.make_processor(numbers=numbers)
    model = tiny.make_model(processor, number_head="none")
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE]))
    check_processor_fits(model.config, processor)
    with pytest.raises(ValueError, match="num_token_id is"):
        check_processor_fits(model.config, tiny.make_processor())


def test_a_token_beyond_the_tokenizer_is_no_program(processor: IGLLMProcessor) -> None:
    ids = [*processor.encode_answer(tiny.SHORT_SCENE).ids]
    numbers = torch.zeros(1, len(ids) + 1)
    for place in (0, 3, len(ids) - 1):
        answer = [*ids[:place], len(processor.tokenizer) + 5, *ids[place:]]
        (prediction,) = processor.decode_scene(torch.tensor([answer]), numbers, prompt_length=0)
        assert prediction.scene is None
        assert "\N{REPLACEMENT CHARACTER}" in prediction.text


def test_a_weight_that_is_not_finite_gives_no_answer(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights[HEAD].fill_(torch.nan))
    predictor = Predictor.load(str(folder), None, "cpu", "float32")
    with pytest.raises(CommandError, match="not finite"):
        list(predictor.predict(tiny.make_images(1), 1))  # type: ignore[arg-type]  # arrays are images, too
