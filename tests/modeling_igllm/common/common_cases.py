"""The random models of the common tests: every number head, every family of towers and language models once.

These tests are of the kind that transformers runs on each of its own models; what other files of this folder test for
the model with the scene tower is not repeated here.
"""

from functools import cache
from typing import Any

import pytest
import tiny
import torch
from small_backbones import PATCHES, TOWERS, language_configs
from transformers import LogitsProcessorList

from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.grammar_generation import GrammarLogitsProcessor
from modeling_igllm.number_ranges import normalize_numbers
from modeling_igllm.scene_grammar import SceneGrammar

# Tower, language model and fields of the configuration; Qwen3 and SmolLM have tied embeddings.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scene_llama": ("scene", "llama", {}),
    "clip_llama": ("clip", "llama", {"number_head": "gaussian", "projector_type": "mlp2x_gelu"}),
    "siglip_qwen3": ("siglip", "qwen3", {"number_head": "linear"}),
    "dinov2_smollm": (
        "dinov2",
        "smollm",
        {"number_head": "binned", "number_bins": 16, "number_ranges": tiny.NUMBER_RANGES},
    ),
    "scene_digits": ("scene", "llama", {"number_head": "none"}),
    "scene_fed_back": (
        "scene",
        "llama",
        {
            "number_head": "mixture",
            "number_components": 3,
            "number_ranges": tiny.NUMBER_RANGES,
            "feed_numbers_back": True,
        },
    ),
}
TIED = ("siglip_qwen3", "dinov2_smollm")
WITH_HEAD = tuple(name for name in CASES if name != "scene_digits")
ROOM = 70  # tokens, for two objects
every_case = pytest.mark.parametrize("name", list(CASES))


@cache
def processor_of(name: str) -> IGLLMProcessor:
    """The processor that fits the model of a case."""
    processor = tiny.make_processor(numbers="char" if name == "scene_digits" else "token", num_image_tokens=PATCHES)
    if CASES[name][0] != "scene":
        processor.image_processor.size = {"height": 32, "width": 32}
    return processor


def make_config(name: str, **overrides: Any) -> IGLLMConfig:
    """A new configuration."""
    tower, language, fields = CASES[name]
    processor = processor_of(name)
    vision = tiny.tower_config() if tower == "scene" else TOWERS[tower]
    text = language_configs(len(processor.tokenizer))[language]
    backbones = {"vision_config": vision.to_dict(), "text_config": text.to_dict()}
    return tiny.make_config(processor, **backbones | fields | overrides)


def make_model(name: str, seed: int = 0, **overrides: Any) -> IGLLMForSceneProgram:
    """A new model in evaluation mode, the same for the same arguments."""
    torch.manual_seed(seed)
    return IGLLMForSceneProgram(make_config(name, **overrides)).eval()


def make_grammatical(name: str, seed: int = 0) -> IGLLMForSceneProgram:
    """A new model that writes programs of at most two objects."""
    model = make_model(name, seed)
    if model.number_embedding is not None:
        # Random weights on sines of short periods turn rounding errors into other programs.
        model.number_embedding.projection.weight.data.mul_(0.02)
    model.set_grammar(_grammar_of(name))
    return model


@cache
def _grammar_of(name: str) -> SceneGrammar:
    return processor_of(name).make_grammar([tiny.LONG_SCENE], max_objects=2)


@cache
def _batch_of(name: str) -> dict[str, torch.Tensor]:
    return dict(tiny.make_batch(processor_of(name)))


def training_batch(name: str) -> dict[str, torch.Tensor]:
    """A short and a long program, right-padded, with everything that the loss needs."""
    batch = dict(_batch_of(name))
    if name == "scene_digits":
        del batch["number_labels"]
    return batch


def forward_inputs(name: str) -> dict[str, torch.Tensor]:
    """The same without labels, with explicit positions: what can be cut, shifted and padded."""
    batch = _batch_of(name)
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values")}
    inputs["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    if name == "scene_fed_back":
        inputs["number_inputs"] = normalize_numbers(
            batch["number_labels"], batch["number_quantities"], tiny.NUMBER_RANGES
        )
    return inputs


def prompts(name: str, count: int = 2) -> dict[str, torch.Tensor]:
    """Prompts for `generate`."""
    return dict(processor_of(name).encode_prompt(tiny.make_images(count)))


def rows_of(inputs: dict[str, torch.Tensor], rows: slice) -> dict[str, torch.Tensor]:
    """Some rows of a batch."""
    return {name: values[rows] for name, values in inputs.items()}


def left_padded(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A right-padded batch with its padding moved to the left."""
    shifts = (inputs["attention_mask"] == 0).sum(-1).tolist()
    length = inputs["attention_mask"].shape[1]
    return {
        name: torch.stack([row.roll(shift) for row, shift in zip(values, shifts, strict=True)])
        if values.shape[1:] == (length,)
        else values
        for name, values in inputs.items()
    }


def assert_same_outputs(
    actual: Any, expected: Any, actual_mask: torch.Tensor, expected_mask: torch.Tensor, atol: float = 1e-4
) -> None:
    """Compare logits and numbers at the tokens where the masks (B, L) are 1."""
    for name in ("logits", "normalized_numbers", "normalized_stds"):
        if expected.get(name) is None:
            assert actual.get(name) is None
            continue
        torch.testing.assert_close(
            actual[name][actual_mask.bool()], expected[name][expected_mask.bool()], atol=atol, rtol=1e-4
        )


def generate(model: IGLLMForSceneProgram, inputs: dict[str, torch.Tensor], room: int = ROOM, **kwargs: Any) -> Any:
    """Programs of the model's grammar, from transformers' own loops."""
    start = inputs["input_ids"].shape[1]
    processors = LogitsProcessorList([GrammarLogitsProcessor(model.grammar_automaton, start, room)])
    return model.generate(**inputs, logits_processor=processors, max_new_tokens=room, **{"do_sample": False} | kwargs)
