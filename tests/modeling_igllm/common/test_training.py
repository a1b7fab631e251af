"""Training: every part that should learn does, the loss falls, and saving memory changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from common_cases import WITH_HEAD, every_case, make_model, training_batch
from torch import nn

from modeling_igllm import IGLLMForSceneProgram

STEPS = 12


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Of the parameters that have one."""
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


@contextmanager
def counted_calls(module: nn.Module) -> Iterator[list[None]]:
    """A list that grows with each call of `module`."""
    calls: list[None] = []
    hook = module.register_forward_pre_hook(lambda *_: calls.append(None))
    yield calls
    hook.remove()


@every_case
def test_training_lowers_every_part_of_the_loss(name: str) -> None:
    model, batch = make_model(name).train(), training_batch(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    history = []
    for _ in range(STEPS):
        output = model(**batch, use_cache=False)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        history.append(output)
    assert history[-1].loss < history[0].loss - 0.2 * history[0].loss.abs()
    assert history[-1].ce_loss < 0.8 * history[0].ce_loss
    if name in WITH_HEAD:
        assert history[-1].number_loss < history[0].number_loss


def reaches(model: IGLLMForSceneProgram, name: str) -> bool:
    """Whether the parameter is on the way from the image to the answer: the tower's last layer is not read."""
    if "vision_tower" not in name or model.config.uses_scene_tower:
        return True
    # Dinov2 masks patches in its own pre-training only.
    return not any(part in name for part in ("layer.2.", "layers.2.", "layernorm.", "post_", "head.", "mask_token"))


@every_case
def test_gradients_reach_every_part_that_is_used(name: str) -> None:
    model = make_model(name).train()
    model(**training_batch(name), use_cache=False).loss.backward()
    found = gradients(model)
    assert all(value.isfinite().all() for value in found.values())
    reached = {key for key, value in found.items() if value.any()}
    assert reached == {key for key, _ in model.named_parameters() if reaches(model, key)}


@every_case
def test_a_frozen_tower_neither_learns_nor_drifts(name: str) -> None:
    model = make_model(name)
    model.model.vision_tower.requires_grad_(False)
    before = {key: value.clone() for key, value in model.model.vision_tower.state_dict().items()}
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model(**training_batch(name), use_cache=False).loss.backward()
    optimizer.step()
    assert not any("vision_tower" in key for key in gradients(model))
    assert gradients(model.model.multi_modal_projector)
    assert all(torch.equal(value, before[key]) for key, value in model.model.vision_tower.state_dict().items())


@every_case
def test_new_parts_learn_beside_frozen_backbones(name: str) -> None:
    model = make_model(name).requires_grad_(False)
    new = [part for part in (model.model.multi_modal_projector, model.numeric_head, model.number_embedding) if part]
    for part in new:
        part.requires_grad_(True)
    model.train()(**training_batch(name), use_cache=False).loss.backward()
    expected = {value for part in new for value in part.parameters()}
    assert {value for value in model.parameters() if value.grad is not None} == expected
    assert all(value.grad.any() for value in expected)


@pytest.mark.parametrize("use_reentrant", [False, True])
@every_case
def test_gradient_checkpointing_computes_again_and_changes_nothing(name: str, use_reentrant: bool) -> None:
    plain, checkpointed = make_model(name).train(), make_model(name).train()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    assert checkpointed.is_gradient_checkpointing
    # Recomputed batch statistics would be counted twice.
    for model in (plain, checkpointed):
        model.model.vision_tower.requires_grad_(False).eval()
    batch = training_batch(name)
    plain(**batch, use_cache=False).loss.backward()
    # The attention, not the layer: the layer's own call is what is wrapped.
    with counted_calls(checkpointed.model.language_model.layers[0].self_attn) as calls:
        checkpointed(**batch, use_cache=False).loss.backward()
    assert len(calls) == 2
    expected, actual = gradients(plain), gradients(checkpointed)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(actual[key], value, msg=key)
    checkpointed.gradient_checkpointing_disable()
    assert not checkpointed.is_gradient_checkpointing


@pytest.mark.parametrize("name", ["clip_llama", "siglip_qwen3", "dinov2_smollm"])
def test_the_tower_is_checkpointed_too(name: str) -> None:
    plain, checkpointed = make_model(name).train(), make_model(name).train()
    checkpointed.gradient_checkpointing_enable()
    batch = training_batch(name)
    for model in (plain, checkpointed):
        model(**batch, use_cache=False).loss.backward()
    expected, actual = gradients(plain.model.vision_tower), gradients(checkpointed.model.vision_tower)
    assert expected
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(actual[key], value, msg=key)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_adapters_behind_frozen_embeddings_learn_under_checkpointing(use_reentrant: bool) -> None:
    model = make_model("scene_llama").requires_grad_(False)
    projection = model.model.language_model.layers[0].self_attn.q_proj
    projection.requires_grad_(True)
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    model.train()(**training_batch("scene_llama"), use_cache=False).loss.backward()
    assert projection.weight.grad.any()
    assert set(gradients(model)) == {"model.language_model.layers.0.self_attn.q_proj.weight"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_case
def test_half_precision_gives_finite_losses_and_gradients(name: str, dtype: torch.dtype) -> None:
    model, batch = make_model(name).to(dtype).train(), training_batch(name)
    output = model(**batch, use_cache=False)
    assert output.loss.isfinite()
    assert output.logits.dtype == dtype
    output.loss.backward()
    assert all(value.isfinite().all() for value in gradients(model).values())
    if name in WITH_HEAD:
        assert output.normalized_numbers.dtype == torch.float32
        assert {value.dtype for value in gradients(model.numeric_head).values()} == {torch.float32}


@every_case
def test_autocast_keeps_weights_and_numbers_in_float32(name: str) -> None:
    model, batch = make_model(name).train(), training_batch(name)
    model.model.vision_tower.requires_grad_(False).eval()
    exact = model(**batch, use_cache=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch, use_cache=False)
    output.loss.backward()
    assert {value.dtype for value in gradients(model).values()} == {torch.float32}
    assert output.ce_loss.item() == pytest.approx(exact.ce_loss.item(), rel=0.05)
    if name in WITH_HEAD:
        assert output.normalized_numbers.dtype == torch.float32
