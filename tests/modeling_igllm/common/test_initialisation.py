"""A new model: finite weights on the scale that its configuration asks for, whichever way it is made."""

import math

import pytest
import torch
from common_cases import CASES, TIED, every_case, make_config, make_model
from torch import nn

from modeling_igllm import IGLLMForSceneProgram
from modeling_igllm.numeric_head import BinLogits, NumericLinear


@every_case
def test_fresh_weights_are_finite_and_on_the_scale_of_their_config(name: str) -> None:
    model = make_model(name)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    for module_name, module in model.named_modules():
        if isinstance(module, NumericLinear):
            bound = 1 / math.sqrt(module.in_features)
            if isinstance(module, BinLogits):  # sums of waves, of the same variance
                assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)
            else:
                assert 0.8 * bound < module.weight.abs().max() <= bound
        elif isinstance(module, nn.Linear) and "vision_tower" not in module_name:
            expected = model.config.text_config.initializer_range
            assert module.weight.std().item() == pytest.approx(expected, rel=0.2), module_name
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.Linear | nn.Conv2d):
            assert 0 < module.weight.std() < 1, module_name
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm) or type(module).__name__.endswith("RMSNorm"):
            assert (module.weight == 1).all(), module_name


@every_case
def test_weights_that_a_checkpoint_lacks_are_initialised_and_named(name: str) -> None:
    fresh = make_model(name)
    made, report = IGLLMForSceneProgram.from_pretrained(
        None, config=make_config(name), state_dict={}, output_loading_info=True
    )
    missing = set(fresh.state_dict())
    assert report["missing_keys"] in (missing, missing - {"lm_head.weight"} if name in TIED else missing)
    values = made.state_dict()
    for key, expected in fresh.state_dict().items():
        assert values[key].isfinite().all(), key
        assert values[key].dtype == expected.dtype
        # The towers of transformers are on their own scale only if they are made by themselves (`from_backbones`).
        is_foreign = "vision_tower" in key and not made.config.uses_scene_tower
        if expected.numel() >= 256 and not is_foreign:
            spread, wanted = values[key].float().std(), expected.float().std()
            assert spread.item() == pytest.approx(wanted.item(), rel=0.3, abs=1e-8), key


@every_case
def test_a_model_on_meta_has_the_same_tensors(name: str) -> None:
    with torch.device("meta"):
        empty = IGLLMForSceneProgram(make_config(name))
    expected = {key: (value.shape, value.dtype) for key, value in make_model(name).state_dict().items()}
    assert {key: (value.shape, value.dtype) for key, value in empty.state_dict().items()} == expected
    assert all(value.is_meta for value in empty.state_dict().values())


@pytest.mark.parametrize("name", ["scene_llama", "scene_fed_back"])
def test_numbers_pass_through_a_model_on_meta(name: str) -> None:
    with torch.device("meta"):
        empty = IGLLMForSceneProgram(make_config(name))
        states = torch.zeros(2, 3, empty.config.text_config.hidden_size)
        assert empty.numeric_head(states).shape[:2] == (2, 3)
        if empty.number_embedding is not None:
            assert empty.number_embedding(torch.zeros(2, 3)).shape == states.shape


@every_case
def test_every_tensor_is_a_parameter_or_a_buffer(name: str) -> None:
    # Others would stay behind when the model moves to another device.
    for module in make_model(name).modules():
        loose = [key for key, value in vars(module).items() if isinstance(value, torch.Tensor)]
        assert not loose, f"{type(module).__name__} keeps {loose}"


@every_case
def test_parts_share_their_configurations_with_the_whole(name: str) -> None:
    model = make_model(name)
    assert model.model.config is model.config
    assert model.model.language_model.config is model.config.text_config
    assert model.model.vision_tower.config is model.config.vision_config
    assert model.config.get_text_config() is model.config.text_config


@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3"])
def test_parameters_are_counted_once(name: str) -> None:
    model = make_model(name)
    embeddings = model.get_input_embeddings().weight
    total = sum(value.numel() for value in {id(value): value for value in model.parameters()}.values())
    assert model.num_parameters() == total
    untied = 0 if name in TIED else model.lm_head.weight.numel()
    body = sum(part.num_parameters() for part in (model.model.vision_tower, model.model.language_model))
    new_parts = (model.numeric_head, model.model.multi_modal_projector)
    new = sum(value.numel() for part in new_parts for value in part.parameters())
    assert total == body + new + untied
    model.model.vision_tower.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == total - model.model.vision_tower.num_parameters()
    assert embeddings.numel() < total


def test_the_cases_cover_every_number_head() -> None:
    heads = {make_config(name).number_head for name in CASES}
    assert heads == {"none", "linear", "tanh_mlp_gelu", "binned", "gaussian", "mixture"}
