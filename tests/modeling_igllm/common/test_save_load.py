"""Saving and loading: nothing lost, nothing made up, nothing pickled."""

import copy
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from common_cases import TIED, every_case, forward_inputs, make_config, make_grammatical, make_model, prompts
from safetensors.torch import load_file, save_file

from modeling_igllm import IGLLMForSceneProgram
from modeling_igllm.modeling_igllm import IGLLMModel

WEIGHTS = "model.safetensors"


def assert_same_weights(actual: torch.nn.Module, expected: torch.nn.Module) -> None:
    """Every tensor equal, in value and dtype."""
    values, wanted = actual.state_dict(), expected.state_dict()
    assert values.keys() == wanted.keys()
    for key, value in wanted.items():
        assert values[key].dtype == value.dtype, key
        assert torch.equal(values[key], value), key


def load_with_report(folder: Path, **kwargs: Any) -> tuple[IGLLMForSceneProgram, dict[str, Any]]:
    """The model of a folder, and what transformers says of its keys."""
    return IGLLMForSceneProgram.from_pretrained(folder, output_loading_info=True, **kwargs)  # type: ignore[return-value]


def assert_complete(report: dict[str, Any]) -> None:
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))


@pytest.fixture
def warnings_of_transformers(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What transformers has logged as warnings so far."""

    def text() -> str:
        records = [record for record in caplog.records if record.levelno >= logging.WARNING]
        return "\n".join(record.getMessage() for record in records)

    return text


@every_case
def test_shards_of_safetensors_hold_every_weight(name: str, tmp_path: Path) -> None:
    model = make_model(name)
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    shards = {path.name for path in tmp_path.iterdir() if path.suffix not in (".py", ".json")}
    assert len(shards) > 1
    assert all(shard.endswith(".safetensors") for shard in shards)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == shards
    loaded, report = load_with_report(tmp_path)
    assert_complete(report)
    assert_same_weights(loaded, model)
    expected = model(**forward_inputs(name)).logits
    torch.testing.assert_close(loaded.eval()(**forward_inputs(name)).logits, expected)


@every_case
def test_saving_what_was_loaded_gives_the_same_file(name: str, tmp_path: Path) -> None:
    make_model(name).save_pretrained(tmp_path / "first")
    IGLLMForSceneProgram.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    assert (tmp_path / "second" / WEIGHTS).read_bytes() == (tmp_path / "first" / WEIGHTS).read_bytes()
    configs = [json.loads((tmp_path / part / "config.json").read_text()) for part in ("first", "second")]
    for config in configs:
        for part in ("vision_config", "text_config"):
            config[part].pop("dtype", None)  # known once the model has been loaded
    assert configs[1] == configs[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3", "scene_fed_back"])
def test_a_half_precision_checkpoint_keeps_its_numbers_in_float32(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = make_model(name).to(dtype)
    model.save_pretrained(tmp_path)
    stored = {value.dtype for key, value in load_file(tmp_path / WEIGHTS).items() if key.startswith("number")}
    assert stored <= {torch.float32}
    loaded, report = load_with_report(tmp_path)
    assert_complete(report)
    assert_same_weights(loaded, model)
    assert loaded.dtype == dtype
    for part in (loaded.numeric_head, loaded.number_embedding):
        assert part is None or {value.dtype for value in part.parameters()} == {torch.float32}
    wide = IGLLMForSceneProgram.from_pretrained(tmp_path, dtype=torch.float32)
    assert {value.dtype for value in wide.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("scene_llama", "numeric_head.layers.3.bias"),
        ("scene_llama", "lm_head.weight"),
        ("scene_llama", "model.vision_tower.stages.1.0.convolutions.0.1.running_var"),
        ("clip_llama", "model.multi_modal_projector.linear_2.weight"),
        ("siglip_qwen3", "model.language_model.embed_tokens.weight"),
        ("dinov2_smollm", "model.vision_tower.embeddings.cls_token"),
        ("scene_fed_back", "number_embedding.projection.weight"),
    ],
)
def test_a_missing_weight_is_named_and_nothing_else_changes(
    name: str, key: str, tmp_path: Path, warnings_of_transformers: Callable[[], str]
) -> None:
    model = make_model(name)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    del tensors[key]
    save_file(tensors, tmp_path / WEIGHTS, metadata={"format": "pt"})
    loaded, report = load_with_report(tmp_path)
    # Without the embeddings, what is tied to them is missing, too.
    assert {key} <= report["missing_keys"] <= {key, "lm_head.weight"}
    assert key in warnings_of_transformers()
    assert "MISSING" in warnings_of_transformers()
    values = loaded.state_dict()
    assert values[key].isfinite().all()
    for other, value in model.state_dict().items():
        if other not in report["missing_keys"] and not (name in TIED and other == "lm_head.weight"):
            assert torch.equal(values[other], value), other


def test_without_the_report_a_missing_weight_is_refused(tmp_path: Path) -> None:
    make_model("scene_llama").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    del tensors["lm_head.weight"], tensors["model.language_model.norm.weight"]
    save_file(tensors, tmp_path / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{tmp_path} lacks 2 weights, among them lm_head.weight"):
        IGLLMForSceneProgram.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 1 weights, among them language_model\.norm\.weight"):
        IGLLMModel.from_pretrained(tmp_path)


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    make_model("scene_llama").save_pretrained(tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    for size in (0, 4, len(whole) // 2, len(whole) - 1):
        (tmp_path / WEIGHTS).write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{tmp_path / WEIGHTS} is damaged"):
            IGLLMForSceneProgram.from_pretrained(tmp_path)


def test_a_weight_too_many_is_named(tmp_path: Path, warnings_of_transformers: Callable[[], str]) -> None:
    model = make_model("scene_llama")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS) | {"numeric_head.layers.5.weight": torch.zeros(2)}
    save_file(tensors, tmp_path / WEIGHTS, metadata={"format": "pt"})
    loaded, report = load_with_report(tmp_path)
    assert report["unexpected_keys"] == {"numeric_head.layers.5.weight"}
    assert "UNEXPECTED" in warnings_of_transformers()
    assert_same_weights(loaded, model)


def test_a_weight_of_another_shape_is_an_error_that_names_it(tmp_path: Path) -> None:
    model = make_model("dinov2_smollm")
    model.save_pretrained(tmp_path)
    expected = rf"{tmp_path} has 2 weights of another shape .* numeric_head\.layers\.3\.bias: \(16,\), not \(8,\)"
    with pytest.raises(ValueError, match=expected):
        IGLLMForSceneProgram.from_pretrained(tmp_path, number_bins=8)
    loaded, report = load_with_report(tmp_path, number_bins=8, ignore_mismatched_sizes=True)
    assert {entry[0] for entry in report["mismatched_keys"]} == {
        "numeric_head.layers.3.weight",
        "numeric_head.layers.3.bias",
    }
    assert loaded.numeric_head.layers[3].out_features == 8
    assert torch.equal(loaded.numeric_head.layers[1].weight, model.numeric_head.layers[1].weight)


def test_a_head_put_on_a_digit_checkpoint_is_reported_as_new(tmp_path: Path) -> None:
    make_model("scene_digits").save_pretrained(tmp_path)
    fields = {"number_head": "tanh_mlp_gelu", "num_token_id": 40}
    loaded, report = load_with_report(tmp_path, config=make_config("scene_digits", **fields))
    assert report["missing_keys"] == {key for key in loaded.state_dict() if key.startswith("numeric_head.")}
    assert len(report["missing_keys"]) == 4


def test_a_head_left_behind_is_reported(tmp_path: Path) -> None:
    model = make_model("scene_llama")
    model.save_pretrained(tmp_path)
    _, report = load_with_report(tmp_path, number_head="none")
    assert report["unexpected_keys"] == {key for key in model.state_dict() if key.startswith("numeric_head.")}


@pytest.mark.parametrize("name", TIED)
def test_tied_weights_are_stored_once_and_are_tied_again(name: str, tmp_path: Path) -> None:
    model = make_model(name)
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / WEIGHTS)
    loaded, report = load_with_report(tmp_path)
    assert_complete(report)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight


@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3"])
def test_the_body_loads_from_the_whole_and_the_whole_from_the_body(name: str, tmp_path: Path) -> None:
    model = make_model(name)
    model.save_pretrained(tmp_path / "whole")
    body, report = IGLLMModel.from_pretrained(tmp_path / "whole", output_loading_info=True)
    assert not report["missing_keys"]
    assert_same_weights(body, model.model)
    body.save_pretrained(tmp_path / "body")
    whole, report = load_with_report(tmp_path / "body")
    assert_same_weights(whole.model, model.model)
    own = {key for key in model.state_dict() if not key.startswith("model.")}
    assert report["missing_keys"] == (own - {"lm_head.weight"} if name in TIED else own)


@every_case
def test_a_state_dict_fits_strictly(name: str) -> None:
    model, other = make_model(name), make_model(name, seed=1)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert_same_weights(other, model)


@every_case
def test_deep_copies_are_whole_and_independent(name: str) -> None:
    model = make_grammatical(name)
    expected = model.generate_scene(**prompts(name), max_new_tokens=60).sequences
    twin = copy.deepcopy(model)
    assert_same_weights(twin, model)
    assert (twin.lm_head.weight is twin.get_input_embeddings().weight) == (name in TIED)
    assert torch.equal(twin.generate_scene(**prompts(name), max_new_tokens=60).sequences, expected)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert torch.equal(model.generate_scene(**prompts(name), max_new_tokens=60).sequences, expected)


def test_a_loaded_model_is_in_evaluation_mode_and_can_be_trained(tmp_path: Path) -> None:
    make_model("scene_llama").train().save_pretrained(tmp_path)
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path)
    assert not any(module.training for module in loaded.modules())
    assert all(parameter.requires_grad for parameter in loaded.parameters())
