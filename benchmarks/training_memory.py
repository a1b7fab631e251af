"""How much GPU memory the published 7B takes, on paper: counted on a model of the `meta` device.

```bash
python -m benchmarks.training_memory > docs/memory.md
```
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module
from trl import TrlParser

from benchmarks.llama_tokenizer import make_llama_tokenizer
from benchmarks.saved_activations import FUSED_ATTENTION, bytes_kept_by_a_layer, peak_bytes_of_the_loss
from modeling_igllm import (
    ClevrObject,
    IGLLMConfig,
    IGLLMForSceneProgram,
    IGLLMImageProcessor,
    IGLLMProcessor,
    SceneProgram,
)
from trl_scripts.lora import NOT_QUANTIZED, lora_config
from trl_scripts.scene_trainer import positions_with_labels
from trl_scripts.sft import ARGUMENT_CLASSES

RECIPES = Path(__file__).resolve().parent.parent / "trl_scripts" / "recipes"
GIB = 2**30
OBJECTS = 10  # the most of a CLEVR scene
NEW_TOKENS = 1024  # the published limit of decoding
GPUS = 8
# nf4: half a byte, a one-byte scale for 64 weights, a four-byte scale for 256 of these (QLoRA, section 3).
FOUR_BIT_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
EXPLANATION = """# Memory of the published 7B

Written by `python -m benchmarks.training_memory > docs/memory.md`: nothing here was measured on a GPU. In GiB for each
GPU; a sequence is {length} tokens, a CLEVR scene of ten objects with a Llama tokenizer; {positions} of it need logits.
Weights, gradients and the two states of AdamW are counted parameter by parameter on a model of the `meta` device,
activations by recording its passes: the input of every layer (activation checkpointing), and the larger of two things
that follow each other: logits with both losses and their gradients, and all that one layer keeps for its backward pass
while it is computed again, each times the batch; with FSDP also two gathered layers. Not counted: the CUDA context,
fragmentation, and the tower's forward pass, which keeps nothing.
"""


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU while training."""

    frozen: float
    trained: float
    gradients: float
    optimizer: float
    activations: float

    def row(self, name: str) -> str:
        """A line of the table, in GiB, with the sum at its end."""
        parts = astuple(self)
        return f"| {name} | " + " | ".join(f"{part / GIB:.1f}" for part in (*parts, sum(parts))) + " |"


def published_model() -> IGLLMForSceneProgram:
    """The published model on `meta`, in bfloat16. Its token ids are any two: nothing is tokenised."""
    with torch.device("meta"):
        config = IGLLMConfig(num_token_id=31998, image_token_index=31999)
        model = IGLLMForSceneProgram(config)
        model.to(torch.bfloat16)  # type: ignore[arg-type]  # transformers wraps it without its signature
    model.set_attn_implementation({"text_config": FUSED_ATTENTION})
    return model


def read_recipe(name: str) -> tuple[Any, ...]:
    """The dataclasses of `sft.py` for a recipe, without its demands on the machine."""
    machine = ["--use_cpu", "true", "--bf16", "false", "--tf32", "false"]
    parser = TrlParser(ARGUMENT_CLASSES)  # type: ignore[arg-type]  # as in sft.py
    config = ["--config", str(RECIPES / name), "--dataset", "none", "--output_dir", "none"]
    return parser.parse_args_and_config([*config, *machine])


@cache
def sequence_lengths() -> tuple[int, int]:
    """Tokens of prompt, image and answer of a CLEVR scene of ten objects, and how many of them need logits."""
    thing = ClevrObject("small", "red", "metal", "cube", (0.0, 0.0, 0.0), 0.0)
    processor = IGLLMProcessor(IGLLMImageProcessor(), make_llama_tokenizer())
    labels = processor.encode_training(None, [SceneProgram((thing,) * OBJECTS)])["labels"]
    return labels.shape[1], positions_with_labels(labels)


def count_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of `tensors` as they are."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def saved_in_four_bits(model: nn.Module) -> float:
    """Bytes that 4-bit weights save over those of `model`: all linear layers but `NOT_QUANTIZED` and LoRA's."""
    layers = [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and should_convert_module(name, NOT_QUANTIZED)
    ]
    return count_bytes(layers) - FOUR_BIT_BYTES * sum(weight.numel() for weight in layers)


def training_memory(recipe: str, batch_size: int, gpus: int = 1) -> Memory:
    """Memory of a recipe with `batch_size` sequences on each of `gpus` GPUs, over which FSDP deals all weights out."""
    _, _, arguments = read_recipe(recipe)
    base = published_model()
    frozen_bytes = float(count_bytes(base.parameters()))
    if arguments.load_in_4bit:
        frozen_bytes -= saved_in_four_bits(base)
    with torch.device("meta"):
        model = get_peft_model(base, lora_config(base, arguments)).train()  # type: ignore[arg-type]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not arguments.load_in_4bit:  # in 4 bits there is autocast, and LoRA is multiplied in bfloat16
        for parameter in trained:
            parameter.data = parameter.data.float()
    language_model = base.model.language_model
    activations = batch_size * activation_bytes(base)
    gathered = 2 * count_bytes(language_model.layers[0].parameters()) if gpus > 1 else 0
    masters = 4.0 * sum(parameter.numel() for parameter in trained)
    return Memory(frozen_bytes / gpus, masters / gpus, masters / gpus, 2 * masters / gpus, activations + gathered)


def full_training_memory(batch_size: int) -> Memory:
    """Memory without LoRA: everything but the tower is trained, in float32 with bfloat16 autocast."""
    model = published_model().train()
    tower = count_bytes(model.model.vision_tower.parameters())
    weights = 4.0 * (sum(parameter.numel() for parameter in model.parameters()) - tower // 2)
    return Memory(tower, weights, weights, 2 * weights, batch_size * activation_bytes(model))


def activation_bytes(model: IGLLMForSceneProgram) -> float:
    """Activations of one sequence under activation checkpointing, as `EXPLANATION` says."""
    (length, positions), text = sequence_lengths(), model.config.text_config
    inputs = text.num_hidden_layers * length * text.hidden_size * 2
    layer, loss = bytes_kept_by_a_layer(model.model.language_model, length), peak_bytes_of_the_loss(model, positions)
    return inputs + max(layer, loss)  # the loss is done with when the last layer is computed again


def decoding_rows() -> list[str]:
    """Lines of the table of decoding: weights, and the cache of keys and values after 1,024 new tokens."""
    model = published_model()
    text: Any = model.config.text_config
    weights = float(count_bytes(model.parameters()))
    length = sequence_lengths()[0] + NEW_TOKENS
    cache = 2 * text.num_hidden_layers * length * text.num_key_value_heads * text.head_dim * 2
    rows = []
    for name, size in (("bfloat16", weights), ("4 bits", weights - saved_in_four_bits(model))):
        for batch in (1, 16):
            numbers = (size, batch * cache, size + batch * cache)
            rows.append(f"| {name}, batch {batch} | " + " | ".join(f"{number / GIB:.1f}" for number in numbers) + " |")
    return rows


def report() -> str:
    """The text of docs/memory.md."""
    lora, four_bit = "published_7b.yaml", "published_7b_4bit.yaml"
    batch = read_recipe(lora)[1].per_device_train_batch_size
    lines = [
        EXPLANATION.format(length=sequence_lengths()[0], positions=sequence_lengths()[1]),
        "| training | frozen | trained | gradients | AdamW | activations | sum |",
        "|---|---|---|---|---|---|---|",
        training_memory(lora, batch, GPUS).row(f"`{lora}`, FSDP over {GPUS} GPUs, batch {batch} on each"),
        training_memory(lora, 1).row(f"`{lora}` on one GPU, batch 1"),
        training_memory(four_bit, 1).row(f"`{four_bit}`, batch 1"),
        full_training_memory(1).row("no LoRA: all but the tower, batch 1"),
        "",
        "| decoding | weights | keys and values | sum |",
        "|---|---|---|---|",
        *decoding_rows(),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())
