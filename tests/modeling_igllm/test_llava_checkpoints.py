"""Checkpoints of LLaVA-1.5 load whatever the names of their weights, and nothing is left to chance but the head."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from small_backbones import TOWERS, language_configs
from transformers import CLIPConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram
from modeling_igllm.llava_checkpoints import load_llava_projector, rename_llava_key
from modeling_igllm.scene_grammar import FixedSlot, NumberSlot, SceneGrammar

VOCAB_SIZE = 40
IMAGE_TOKEN_ID, NUM_TOKEN_ID = 32, 33
CLIP_PARTS = "embeddings|pre_layrnorm|encoder|post_layernorm"


def name_before_4_52(name: str) -> str:
    """The layout of the `llava-hf` checkpoints on the Hub."""
    name = name.replace("model.language_model.", "language_model.model.").replace("lm_head", "language_model.lm_head")
    name = name.replace("model.multi_modal_projector", "multi_modal_projector")
    return name.replace("model.vision_tower.", "vision_tower.vision_model.")


def name_between(name: str) -> str:
    """The layout that transformers 4.52 to 4.57 wrote."""
    return re.sub(rf"vision_tower\.(?={CLIP_PARTS})", "vision_tower.vision_model.", name)


def name_of_the_authors(name: str) -> str:
    """The layout of the `liuhaotian` checkpoints."""
    name = name.replace("model.language_model.", "model.")
    name = name.replace("vision_tower.", "vision_tower.vision_tower.vision_model.")
    return name.replace("multi_modal_projector.linear_1", "mm_projector.0").replace(
        "multi_modal_projector.linear_2", "mm_projector.2"
    )


LAYOUTS: dict[str, Callable[[str], str]] = {
    "today": str,
    "before_4_52": name_before_4_52,
    "between": name_between,
    "authors": name_of_the_authors,
}


def make_llava() -> LlavaForConditionalGeneration:
    """A LLaVA of a few thousand weights."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=TOWERS["clip"],
        text_config=language_configs(VOCAB_SIZE)["llama"],
        image_token_index=IMAGE_TOKEN_ID,
        image_seq_length=16,
    )
    return LlavaForConditionalGeneration(config).eval()


def save_llava(folder: Path, layout: str) -> LlavaForConditionalGeneration:
    """A LLaVA saved in one of `LAYOUTS`."""
    llava = make_llava()
    llava.save_pretrained(folder)
    tensors = {LAYOUTS[layout](name): value.clone() for name, value in llava.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if layout == "authors":
        write_config_of_the_authors(folder)
    return llava


def write_config_of_the_authors(folder: Path, **overrides: Any) -> None:
    """A `config.json` with Llama's fields at the top and LLaVA's as `mm_...`."""
    CLIPConfig(vision_config=TOWERS["clip"].to_dict()).save_pretrained(folder / "clip")
    fields = {
        **language_configs(VOCAB_SIZE)["llama"].to_dict(),
        "model_type": "llava",
        "architectures": ["LlavaLlamaForCausalLM"],
        "mm_vision_tower": str(folder / "clip"),
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_projector_type": "mlp2x_gelu",
        "mm_hidden_size": 16,
        "tune_mm_mlp_adapter": False,
    }
    (folder / "config.json").write_text(json.dumps(fields | overrides))


def load(folder: Path, **fields: Any) -> IGLLMForSceneProgram:
    """`from_llava` with the ids of the tiny vocabulary."""
    ids = {"num_token_id": NUM_TOKEN_ID, "image_token_index": IMAGE_TOKEN_ID}
    return IGLLMForSceneProgram.from_llava(folder, **ids | fields)


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    """One image and a few words."""
    torch.manual_seed(1)
    ids = torch.tensor([[1, *[IMAGE_TOKEN_ID] * 16, 5, 6, NUM_TOKEN_ID, 7]])
    return {"input_ids": ids, "pixel_values": torch.randn(1, 3, 32, 32)}


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_gives_the_outputs_of_llava(layout: str, inputs: dict[str, torch.Tensor], tmp_path: Path) -> None:
    llava = save_llava(tmp_path / "llava", layout)
    model = load(tmp_path / "llava").eval()
    expected = llava(**inputs).logits
    torch.testing.assert_close(model(**inputs).logits, expected)
    # Saved under the names of today, whatever they were: it loads without any mapping.
    model.save_pretrained(tmp_path / "igllm")
    names = set(load_file(tmp_path / "igllm" / "model.safetensors"))
    assert names == set(model.state_dict())
    saved = IGLLMForSceneProgram.from_pretrained(tmp_path / "igllm").eval()
    torch.testing.assert_close(saved(**inputs).logits, expected)
    assert torch.equal(saved(**inputs).numbers, model(**inputs).numbers)


def test_the_published_size_has_the_names_and_shapes_of_llava_1_5_7b() -> None:
    text_config = LlamaConfig(vocab_size=32064)
    with torch.device("meta"):
        llava = LlavaForConditionalGeneration(LlavaConfig(text_config=text_config))
        config = IGLLMConfig(text_config=text_config, num_token_id=32002, projector_type="mlp2x_gelu")
        model = IGLLMForSceneProgram(config)
    expected = {name: value.shape for name, value in llava.state_dict().items()}
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    head = {name for name in shapes if name.startswith("numeric_head.")}
    assert {name: shape for name, shape in shapes.items() if name not in head} == expected
    assert sum(shapes[name].numel() for name in head) == 16_785_409
    for layout in LAYOUTS.values():
        assert {rename_llava_key(layout(name)) for name in expected} == set(expected)


def test_renaming_knows_the_names_of_published_checkpoints() -> None:
    # As in the index files of llava-hf/llava-1.5-7b-hf and of liuhaotian/llava-v1.5-7b.
    names = {
        "language_model.lm_head.weight": "lm_head.weight",
        "language_model.model.layers.0.mlp.up_proj.weight": "model.language_model.layers.0.mlp.up_proj.weight",
        "multi_modal_projector.linear_1.bias": "model.multi_modal_projector.linear_1.bias",
        "vision_tower.vision_model.pre_layrnorm.bias": "model.vision_tower.pre_layrnorm.bias",
        "model.mm_projector.2.weight": "model.multi_modal_projector.linear_2.weight",
        "model.vision_tower.vision_tower.vision_model.embeddings.class_embedding": (
            "model.vision_tower.embeddings.class_embedding"
        ),
        "model.norm.weight": "model.language_model.norm.weight",
    }
    assert {name: rename_llava_key(name) for name in names} == names


def test_fields_given_win_over_those_of_the_checkpoint(tmp_path: Path) -> None:
    save_llava(tmp_path, "before_4_52")
    model = load(tmp_path, number_head="linear", loading={"dtype": torch.bfloat16})
    assert (model.config.number_head, model.config.projector_type) == ("linear", "mlp2x_gelu")
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.numeric_head.layers[0].weight.dtype == torch.float32


def test_a_folders_own_limits_do_not_cut_programs(tmp_path: Path) -> None:
    save_llava(tmp_path / "llava", "before_4_52")
    limits = {"max_length": 21, "eos_token_id": 2, "pad_token_id": 0}
    (tmp_path / "llava" / "generation_config.json").write_text(json.dumps(limits))
    processor = tiny.make_processor()
    model = load(tmp_path / "llava", grammar=processor.make_grammar([tiny.LONG_SCENE]).to_dict())
    model.save_pretrained(tmp_path / "igllm")
    for made in (model, IGLLMForSceneProgram.from_pretrained(tmp_path / "igllm")):
        own = made.generation_config
        assert (own.max_new_tokens, own.max_length, own.return_dict_in_generate) == (1024, None, True)
        assert (own.eos_token_id, own.pad_token_id) == (2, 0)  # the folder's


def test_a_model_of_llava_decodes(inputs: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_llava(tmp_path, "before_4_52")
    (tmp_path / "generation_config.json").write_text('{"max_length": 21}')
    model = load(tmp_path).eval()
    output = model.generate(**inputs, max_new_tokens=3)
    assert output.numbers.shape == output.sequences.shape
    word, end = FixedSlot("a", (3,)), (2,)
    form = (word, NumberSlot("x"))
    model.set_grammar(SceneGrammar((form,), max_objects=2, prefix=(), suffix=end, num_token_id=NUM_TOKEN_ID))
    assert model.generate_scene(**inputs).sequences[0, -1] == 2


def test_a_missing_weight_is_an_error(tmp_path: Path) -> None:
    save_llava(tmp_path, "before_4_52")
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["multi_modal_projector.linear_2.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights, .* model\.multi_modal_projector\.linear_2"):
        load(tmp_path)


def test_another_model_is_refused(tmp_path: Path) -> None:
    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'llama', not 'llava'"):
        load(tmp_path)


def test_an_unknown_choice_of_features_is_refused(tmp_path: Path) -> None:
    write_config_of_the_authors(tmp_path, mm_vision_select_feature="pooled")
    with pytest.raises(ValueError, match="pooled"):
        load(tmp_path)


@pytest.mark.parametrize("projector_type", ["linear", "mlp2x_gelu"])
def test_the_pretrained_projector_of_the_authors_loads(projector_type: str, tmp_path: Path) -> None:
    model = tiny.make_model(tiny.make_processor(), projector_type=projector_type)
    projector = model.model.multi_modal_projector
    new = {name: torch.randn_like(value) for name, value in projector.state_dict().items()}
    places = {"linear_1": "0", "linear_2": "2"}
    saved = {}
    for name, value in new.items():
        for layer, place in places.items():
            name = name.replace(layer, place)
        saved[f"model.mm_projector.{name}"] = value
    torch.save(saved, tmp_path / "mm_projector.bin")
    load_llava_projector(projector, tmp_path / "mm_projector.bin")
    assert all(torch.equal(value, new[name]) for name, value in projector.state_dict().items())


def test_a_projector_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = tiny.make_model(tiny.make_processor())
    torch.save({"model.mm_projector.weight": torch.zeros(3, 5)}, tmp_path / "mm_projector.bin")
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_llava_projector(model.model.multi_modal_projector, tmp_path / "mm_projector.bin")
