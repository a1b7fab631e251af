"""Promises of the configurations."""

import pytest
import tiny
from huggingface_hub.errors import StrictDataclassError

from modeling_igllm import IGLLMConfig, IGLLMProcessor, SceneTowerConfig


def test_defaults_are_the_published_model() -> None:
    config = IGLLMConfig(text_config={"vocab_size": 32064}, num_token_id=32002)
    assert (config.image_seq_length, config.vision_config.hidden_size) == (576, 1024)
    assert (config.vision_feature_layer, config.vision_feature_select_strategy) == (-2, "default")
    assert (config.projector_type, config.number_head, config.float_w) == ("linear", "tanh_mlp_gelu", 1.0)


def test_scene_tower_sizes_follow_from_the_image_size() -> None:
    config = SceneTowerConfig()
    assert config.padded_size == (128, 160)
    assert config.feature_size == (16, 20)
    assert (config.num_image_tokens, config.hidden_size) == (80, 544)


def test_scene_tower_decides_token_count_and_layer(processor: IGLLMProcessor) -> None:
    config = tiny.make_config(processor)
    assert (config.image_seq_length, config.vision_feature_layer, config.vision_feature_select_strategy) == (
        16,
        -1,
        "full",
    )


def test_save_and_load_keeps_every_field(processor: IGLLMProcessor, tmp_path) -> None:
    number_head = {
        "number_head": "mixture",
        "number_components": 3,
        "feed_numbers_back": True,
        "float_w": 0,
        "rotation_w": 4,
    }
    ranges = {"x": [-3, 3], "rotation": [0, 1.5]}
    config = tiny.make_config(processor, number_ranges=ranges, projector_type="mlp2x_gelu", **number_head)
    config.save_pretrained(tmp_path)
    loaded = IGLLMConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert isinstance(loaded.vision_config, SceneTowerConfig)


def test_image_token_id_is_another_name_of_the_index(processor: IGLLMProcessor) -> None:
    config = tiny.make_config(processor)
    assert config.image_token_id == config.image_token_index == processor.image_token_id


@pytest.mark.parametrize(
    ("field", "value", "quoted"),
    [
        ("number_head", "cubic", "cubic"),
        ("projector_type", "mlp3x", "mlp3x"),
        ("num_token_id", 9999, "num_token_id=9999"),
        ("num_token_id", None, "num_token_id"),
        ("image_token_index", -1, "image_token_index=-1"),
        ("float_w", -0.5, "float_w must be finite and not negative, got -0.5"),
        ("rotation_w", float("nan"), "rotation_w must be finite and not negative, got nan"),
        ("number_bins", 1, "got 1"),
        ("number_components", 0, "got 0"),
        ("number_ranges", {"w": [0, 1]}, "'w'"),
        ("number_ranges", {"x": [2.5, -3]}, "2.5, -3"),
        ("number_ranges", {"x": [0, float("inf")]}, "inf"),
        ("number_ranges", {"x": [0, 1, 2]}, "0, 1, 2"),
        ("number_ranges", {"x": "wide"}, "wide"),
        ("number_head", "binned", "number_ranges"),
        ("feed_numbers_back", "yes", "yes"),
        ("image_seq_length", 81, "81"),
        ("vision_feature_layer", -2, "-2"),
        ("vision_feature_select_strategy", "default", "default"),
    ],
)
def test_a_bad_value_is_refused_and_quoted(processor: IGLLMProcessor, field: str, value: object, quoted: str) -> None:
    with pytest.raises(StrictDataclassError, match=quoted):
        tiny.make_config(processor, **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "quoted"),
    [
        ("image_size", [120], "120"),
        ("image_size", [0, 160], "0, 160"),
        ("stage_channels", [64, 128], "64, 128"),
        ("blocks_per_stage", [1, 1, 0, 1], "1, 1, 0, 1"),
        ("position_channels", 30, "30"),
        ("color_supervision", "hue", "hue"),
    ],
)
def test_a_bad_tower_is_refused_and_quoted(field: str, value: object, quoted: str) -> None:
    with pytest.raises(StrictDataclassError, match=quoted):
        tiny.tower_config(**{field: value})
