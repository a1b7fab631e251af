"""A base out of backbones works at once: tokens, images and projector fit, and it can be trained."""

from pathlib import Path

import pytest
import tiny
import torch
from small_backbones import TOWERS, language_configs
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SiglipImageProcessorPil,
)

from benchmarks.llama_tokenizer import RARE_TOKEN, make_llama_tokenizer
from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from trl_scripts.assemble import assemble, build_parser, main
from trl_scripts.tiny_tokenizer import build_tiny_tokenizer


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `vision` (SigLIP), `text` (a tied Llama of 32,000 pieces) and `short_text`, as on the Hub."""
    folder = tmp_path_factory.mktemp("backbones")
    AutoModel.from_config(TOWERS["siglip"]).save_pretrained(folder / "vision")
    size = {"height": 32, "width": 32}
    SiglipImageProcessorPil(size=size, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.25, 0.5]).save_pretrained(
        folder / "vision"
    )
    AutoModelForCausalLM.from_config(language_configs(32002)["smollm"]).save_pretrained(folder / "text")
    make_llama_tokenizer(number_token=False).save_pretrained(folder / "text")
    tokenizer = build_tiny_tokenizer()
    AutoModelForCausalLM.from_config(language_configs(len(tokenizer))["llama"]).save_pretrained(folder / "short_text")
    tokenizer.save_pretrained(folder / "short_text")
    return folder


def run(out: Path, **switches: object) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    """`assemble.py` with switches; what it wrote, loaded."""
    command = [part for name, value in switches.items() for part in (f"--{name}", str(value))]
    assemble(build_parser().parse_args([*command, "--out", str(out)]))
    return IGLLMForSceneProgram.from_pretrained(out), IGLLMProcessor.from_pretrained(out)


def test_a_new_number_token_grows_the_vocabulary(backbones: Path, tmp_path: Path) -> None:
    model, processor = run(tmp_path / "base", vision=backbones / "vision", text=backbones / "text")
    assert processor.num_token_id == model.config.num_token_id == 32002
    assert model.get_input_embeddings().num_embeddings == len(processor.tokenizer) == 32003
    assert processor.num_image_tokens == 16
    assert processor.image_processor.image_std == (0.5, 0.25, 0.5)
    batch = processor.encode_training(tiny.make_images(2), [tiny.SHORT_SCENE, tiny.LONG_SCENE])
    assert model(**batch).number_loss > 0
    by_auto = AutoModelForImageTextToText.from_pretrained(tmp_path / "base", trust_remote_code=True)
    torch.testing.assert_close(by_auto.eval()(**batch).logits, model.eval()(**batch).logits)


def test_rare_pieces_of_the_vocabulary_are_re_used(backbones: Path, tmp_path: Path) -> None:
    places = {"vision": backbones / "vision", "text": backbones / "text"}
    pieces = {"num_token": RARE_TOKEN, "image_token": "⊙"}
    model, processor = run(tmp_path / "base", **places, **pieces, dtype="bfloat16")
    assert model.get_input_embeddings().num_embeddings == 32002
    assert (processor.num_token, processor.image_token) == (RARE_TOKEN, "⊙")
    assert model.config.num_token_id == processor.num_token_id < 32000
    assert model.config.image_token_index == processor.image_token_id < 32000
    assert processor.encode_prompt_text().count(processor.image_token_id) == 16
    assert (model.dtype, model.numeric_head.layers[1].weight.dtype) == (torch.bfloat16, torch.float32)
    batch = processor.encode_training(tiny.make_images(1), [tiny.LONG_SCENE])
    assert (batch["labels"] == model.config.num_token_id).sum() == 11
    (prediction,) = processor.decode_scene(batch["input_ids"], batch["number_labels"])
    assert prediction.scene is not None
    assert len(prediction.scene) == 3


def test_digit_text_needs_no_number_token(backbones: Path, tmp_path: Path) -> None:
    places = {"vision": backbones / "vision", "text": backbones / "short_text"}
    model, processor = run(tmp_path / "base", **places, number_head="none")
    assert (model.config.num_token_id, model.numeric_head, processor.numbers) == (None, None, "char")


def test_a_base_has_its_rotation_and_the_scale_of_its_numbers(backbones: Path, tmp_path: Path) -> None:
    command = ["--vision", str(backbones / "vision"), "--text", str(backbones / "short_text")]
    command += ["--number_head", "binned"]
    ranges = ["--number_range", "rotation", "-3.142", "3.142", "--number_range", "x", "0", "2"]
    assemble(build_parser().parse_args([*command, *ranges, "--rotation", "euler_int", "--out", str(tmp_path)]))
    config = IGLLMForSceneProgram.from_pretrained(tmp_path).config
    assert config.number_ranges == {"rotation": [-3.142, 3.142], "x": [0.0, 2.0]}
    assert IGLLMProcessor.from_pretrained(tmp_path).rotation == "euler_int"


def test_a_range_that_is_none_is_refused(backbones: Path, tmp_path: Path) -> None:
    command = ["--vision", str(backbones / "vision"), "--text", str(backbones / "short_text"), "--out", str(tmp_path)]
    for given, message in (("x one 2", "two numbers.*'one'"), ("w 1 2", "got 'w'"), ("x 2 1", "low < high")):
        with pytest.raises(ValueError, match=message):
            assemble(build_parser().parse_args([*command, "--number_range", *given.split()]))


def test_bins_without_a_range_are_refused_in_one_line(
    backbones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--vision", str(backbones / "vision"), "--text", str(backbones / "short_text")]
    assert main([*places, "--number_head", "binned", "--out", str(tmp_path)]) == 2
    assert "needs number_ranges" in capsys.readouterr().err.splitlines()[-1]


def test_the_pretrained_projector_is_put_in(backbones: Path, tmp_path: Path) -> None:
    saved = {"model.mm_projector.weight": torch.randn(32, 16), "model.mm_projector.bias": torch.randn(32)}
    torch.save(saved, tmp_path / "mm_projector.bin")
    places = {"vision": backbones / "vision", "text": backbones / "short_text"}
    model, _ = run(tmp_path / "base", **places, projector=tmp_path / "mm_projector.bin")
    assert torch.equal(model.model.multi_modal_projector.weight, saved["model.mm_projector.weight"])


def test_a_llava_becomes_a_base(tmp_path: Path) -> None:
    config = LlavaConfig(
        vision_config=TOWERS["clip"],
        text_config=language_configs(32064)["llama"],
        image_token_index=32000,
        image_seq_length=16,
    )
    llava = LlavaForConditionalGeneration(config)
    llava.save_pretrained(tmp_path / "llava")
    make_llama_tokenizer(number_token=False).save_pretrained(tmp_path / "llava")
    CLIPImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(tmp_path / "llava")
    model, processor = run(tmp_path / "base", llava=tmp_path / "llava")
    assert (model.config.num_token_id, model.config.image_token_index) == (32002, 32000)
    assert torch.equal(model.lm_head.weight, llava.lm_head.weight)
    assert model(**processor.encode_training(tiny.make_images(1), [tiny.SHORT_SCENE])).number_loss > 0


def test_half_an_order_is_refused(backbones: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--vision and --text"):
        run(tmp_path / "base", vision=backbones / "vision")
    with pytest.raises(ValueError, match="--llava, or"):
        run(tmp_path / "base", vision=backbones / "vision", text=backbones / "text", llava="x")
