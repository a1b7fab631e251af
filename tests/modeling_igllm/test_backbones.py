"""Any supported tower with any supported language model: weights kept, tokens counted, embeddings tied."""

import re
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from small_backbones import PATCHES, PREFIX_TOKENS, TOWERS, language_configs
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPModel,
    PhiConfig,
    PreTrainedConfig,
    ViTConfig,
)

from benchmarks.llama_tokenizer import RARE_TOKEN, make_llama_tokenizer
from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, SceneTowerModel
from modeling_igllm.backbones import grow_embeddings, scene_token_ids

LANGUAGES = ("llama", "qwen3", "smollm")
TOWER_SIZE = {"height": 32, "width": 32}


def make_backbone_processor() -> IGLLMProcessor:
    """The processor of the tiny models, for 32 x 32 pixels."""
    processor = tiny.make_processor(num_image_tokens=PATCHES)
    processor.image_processor.size = TOWER_SIZE
    return processor


def join(vision: Any, text: Any, processor: IGLLMProcessor, **fields: Any) -> IGLLMForSceneProgram:
    """`from_backbones` for the tokens of `processor`."""
    ids = {"num_token_id": processor.num_token_id, "image_token_index": processor.image_token_id}
    return IGLLMForSceneProgram.from_backbones(vision, text, **ids | fields).eval()


def language_config(processor: IGLLMProcessor, name: str = "llama") -> PreTrainedConfig:
    """A language model for the vocabulary of `processor`."""
    return language_configs(len(processor.tokenizer))[name]


@pytest.mark.parametrize(
    ("tower", "language", "projector"),
    [
        *((tower, language, "linear") for tower in (*TOWERS, "scene") for language in LANGUAGES),
        ("clip", "llama", "mlp2x_gelu"),
        ("scene", "qwen3", "mlp2x_gelu"),
    ],
)
def test_every_pair_trains_and_survives_saving(tower: str, language: str, projector: str, tmp_path: Path) -> None:
    processor = tiny.make_processor() if tower == "scene" else make_backbone_processor()
    vision = tiny.tower_config() if tower == "scene" else TOWERS[tower]
    model = join(vision, language_config(processor, language), processor, projector_type=projector)
    batch = dict(tiny.make_batch(processor))
    output = model(**batch)
    output.loss.backward()
    head = dict(model.named_parameters())["numeric_head.layers.1.weight"]
    assert head.grad.abs().sum() > 0
    assert torch.isfinite(output.loss)
    model.save_pretrained(tmp_path)
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**batch).logits, output.logits)


@pytest.mark.parametrize("lacking", ["tower", "scene", "language"])
def test_a_backbone_that_lacks_a_weight_is_refused(lacking: str, tmp_path: Path) -> None:
    processor = make_backbone_processor()
    models = {
        "tower": AutoModel.from_config(TOWERS["clip"]),
        "scene": SceneTowerModel(tiny.tower_config()),
        "language": AutoModelForCausalLM.from_config(language_config(processor)),
    }
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    file = tmp_path / lacking / "model.safetensors"
    weights = load_file(file)
    lost = max(name for name in weights if name.endswith("weight"))
    del weights[lost]
    save_file(weights, file, {"format": "pt"})
    vision = tmp_path / ("tower" if lacking == "language" else lacking)
    with pytest.raises(ValueError, match=f"{tmp_path / lacking} lacks 1 weights, among them {re.escape(lost)}"):
        join(vision, tmp_path / "language", processor)


@pytest.mark.parametrize("tower", list(TOWERS))
def test_patches_alone_of_the_layer_before_the_last(tower: str) -> None:
    processor = make_backbone_processor()
    model = join(TOWERS[tower], language_config(processor), processor)
    assert model.config.image_seq_length == PATCHES
    pixels = torch.randn(2, 3, 32, 32)
    hidden_states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    expected = hidden_states[-2][:, PREFIX_TOKENS[tower] :]
    assert expected.shape == (2, PATCHES, 16)
    torch.testing.assert_close(model.encode_images(pixels), expected)
    projected = torch.stack(model.get_image_features(pixel_values=pixels).pooler_output)
    torch.testing.assert_close(projected, model.model.multi_modal_projector(expected))


def test_class_token_and_registers_are_kept_on_request() -> None:
    processor = make_backbone_processor()
    fields = {"vision_feature_select_strategy": "full", "vision_feature_layer": [0, -1]}
    model = join(TOWERS["registers"], language_config(processor), processor, **fields)
    assert model.config.image_seq_length == PATCHES + 4
    assert model.encode_images(torch.randn(1, 3, 32, 32)).shape == (1, PATCHES + 4, 32)


def test_pretrained_weights_are_taken_over(tmp_path: Path) -> None:
    processor = make_backbone_processor()
    tower = AutoModel.from_config(TOWERS["dinov2"])
    language_model = AutoModelForCausalLM.from_config(language_config(processor, "qwen3"))
    tower.save_pretrained(tmp_path / "tower")
    language_model.save_pretrained(tmp_path / "text")
    from_folders = join(tmp_path / "tower", str(tmp_path / "text"), processor)
    from_models = join(tower, language_model, processor)
    for name, saved in {"model.vision_tower": tower, "model.language_model": language_model.base_model}.items():
        for model in (from_folders, from_models):
            actual = model.get_submodule(name).state_dict()
            assert all(torch.equal(value, actual[key]) for key, value in saved.state_dict().items())
    assert from_models.model.vision_tower is tower
    assert torch.equal(from_folders.lm_head.weight, language_model.lm_head.weight)


def test_a_whole_clip_checkpoint_gives_its_vision_half(tmp_path: Path) -> None:
    processor = make_backbone_processor()
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(vision_config=TOWERS["clip"].to_dict(), text_config=text, projection_dim=8)
    clip = CLIPModel(config)
    clip.save_pretrained(tmp_path)
    model = join(tmp_path, language_config(processor), processor)
    actual = model.model.vision_tower.state_dict()
    assert all(torch.equal(value, actual[key]) for key, value in clip.vision_model.state_dict().items())


def test_a_scene_tower_folder_gives_the_scene_tower(tmp_path: Path) -> None:
    processor = tiny.make_processor()
    tower = SceneTowerModel(tiny.tower_config())
    tower.save_pretrained(tmp_path)
    model = join(tmp_path, language_config(processor), processor)
    assert torch.equal(next(model.model.vision_tower.parameters()), next(tower.parameters()))


@pytest.mark.parametrize("language", ["qwen3", "smollm"])
def test_embeddings_stay_tied(language: str, tmp_path: Path) -> None:
    processor = make_backbone_processor()
    model = join(TOWERS["siglip"], language_config(processor, language), processor)
    model.save_pretrained(tmp_path)
    for tied in (model, IGLLMForSceneProgram.from_pretrained(tmp_path)):
        assert tied.lm_head.weight is tied.get_input_embeddings().weight


@pytest.mark.parametrize("number_head", ["linear", "tanh_mlp_gelu", "binned", "gaussian", "mixture"])
def test_new_parts_are_initialised_as_in_a_new_model(number_head: str) -> None:
    processor = make_backbone_processor()
    language = language_config(processor)
    ranges = {"x": [-4, 4], "y": [-4, 4], "z": [-4, 4], "rotation": [-4, 4]}
    fields = {"number_head": number_head, "feed_numbers_back": True, "number_ranges": ranges}
    torch.manual_seed(0)
    joined = join(TOWERS["clip"], language, processor, **fields)
    new = IGLLMForSceneProgram(joined.config)
    backbones = ("model.vision_tower", "model.language_model", "lm_head")
    values = dict(joined.state_dict())
    for name, value in new.state_dict().items():
        if not name.startswith(backbones):
            assert values[name].dtype == value.dtype
            spread, expected = values[name].std(correction=0), value.std(correction=0)
            torch.testing.assert_close(spread, expected, rtol=0.5, atol=1e-3)


def test_the_projector_follows_the_language_model_and_the_head_stays_float32() -> None:
    processor = make_backbone_processor()
    language_model = AutoModelForCausalLM.from_config(language_config(processor)).to(torch.bfloat16)
    model = join(TOWERS["clip"], language_model, processor)
    assert model.model.multi_modal_projector.weight.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.numeric_head.parameters()} == {torch.float32}
    assert torch.isfinite(model(**tiny.make_batch(processor)).loss)


def test_building_on_meta_allocates_nothing() -> None:
    processor = make_backbone_processor()
    with torch.device("meta"):
        model = join(TOWERS["clip"], language_config(processor), processor)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_an_unknown_tower_is_refused_by_name() -> None:
    processor = make_backbone_processor()
    with pytest.raises(ValueError, match="'vit' is not supported"):
        join(ViTConfig(num_hidden_layers=1, hidden_size=12), language_config(processor), processor)


def test_a_language_model_without_an_output_layer_is_refused() -> None:
    processor = make_backbone_processor()
    with pytest.raises(ValueError, match="LlamaModel"):
        join(TOWERS["clip"], AutoModel.from_config(language_config(processor)), processor)


@pytest.mark.parametrize("is_made", [True, False])
def test_an_output_layer_with_a_bias_is_refused(is_made: bool) -> None:
    processor = make_backbone_processor()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    text: Any = PhiConfig(**sizes, vocab_size=len(processor.tokenizer))
    if is_made:
        text = AutoModelForCausalLM.from_config(text)
    with pytest.raises(ValueError, match=r"PhiForCausalLM .* without bias"):
        join(TOWERS["clip"], text, processor)


@pytest.mark.parametrize("projector_type", ["linear", "mlp2x_gelu"])
def test_a_projector_has_a_bias_if_the_config_says_so(projector_type: str) -> None:
    processor = make_backbone_processor()
    for has_bias in (True, False):
        fields = {"projector_type": projector_type, "multimodal_projector_bias": has_bias}
        model = join(TOWERS["clip"], language_config(processor), processor, **fields)
        names = [name for name, _ in model.model.multi_modal_projector.named_parameters()]
        assert any("bias" in name for name in names) == has_bias


@pytest.mark.parametrize(("layer", "fits"), [(-4, True), (3, True), (-5, False), (4, False)])
def test_the_feature_layer_must_be_one_of_the_tower(layer: int, fits: bool) -> None:
    processor = make_backbone_processor()
    if fits:
        join(TOWERS["clip"], language_config(processor), processor, vision_feature_layer=layer)
        return
    with pytest.raises(StrictDataclassError, match=f"vision_feature_layer={layer}"):
        join(TOWERS["clip"], language_config(processor), processor, vision_feature_layer=layer)


def test_siglip_has_no_class_token_to_be_dropped() -> None:
    processor = make_backbone_processor()
    with pytest.raises(StrictDataclassError, match="siglip_vision_model"):
        join(TOWERS["siglip"], language_config(processor), processor, vision_feature_select_strategy="default")


def test_missing_tokens_are_added_and_the_embeddings_grow() -> None:
    tokenizer = make_llama_tokenizer(number_token=False)
    language_model = AutoModelForCausalLM.from_config(language_configs(32002)["smollm"])
    old = language_model.get_input_embeddings().weight.detach().clone()
    ids = scene_token_ids(tokenizer)
    assert ids == {"num_token_id": 32002, "image_token_index": 32000}
    grow_embeddings(language_model, tokenizer)
    model = IGLLMForSceneProgram.from_backbones(TOWERS["clip"], language_model, **ids)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.lm_head.weight.shape == (32003, 32)
    assert torch.equal(model.lm_head.weight[:32002], old)
    assert model.config.text_config.vocab_size == 32003
    assert tokenizer.decode([ids["num_token_id"]], skip_special_tokens=True) == "[NUM]"


def test_a_rare_token_is_re_used_and_nothing_grows() -> None:
    tokenizer = make_llama_tokenizer(number_token=False)
    language_model = AutoModelForCausalLM.from_config(language_configs(32064)["llama"])
    size = len(tokenizer)
    ids = scene_token_ids(tokenizer, num_token=RARE_TOKEN)
    grow_embeddings(language_model, tokenizer)  # 32,064 rows are enough
    assert len(tokenizer) == size
    assert language_model.get_input_embeddings().weight.shape[0] == 32064
    assert ids["num_token_id"] == tokenizer.convert_tokens_to_ids(RARE_TOKEN) < 32000


def test_one_token_cannot_be_both() -> None:
    with pytest.raises(ValueError, match="'<image>'"):
        scene_token_ids(make_llama_tokenizer(), num_token="<image>")
