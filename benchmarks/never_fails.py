"""How many of N programs decoded from random weights and random images at a high temperature do not parse?

```bash
python -m benchmarks.never_fails --decodes 100000 --out benchmarks/results/never_fails.json
```

Models of a few thousand weights, new random ones for every batch: each family's grammar, every kind of number head,
digits too, numbers fed back or not, with the project's tokenizer and a Llama tokenizer. Every eleventh batch has a
limit on tokens so low that programs are cut short. Counts are by what was decoded; the figure that must be 0 is
`failures`.
"""

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import LlamaConfig

from benchmarks.llama_tokenizer import make_llama_tokenizer
from benchmarks.reports import write_report
from dataset_builders.families import FAMILIES
from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMImageProcessor, IGLLMProcessor, SceneProgram
from modeling_igllm.configuration_igllm import SceneTowerConfig
from trl_scripts.tiny_tokenizer import build_tiny_tokenizer

Combination = tuple[str, str, str, str, bool]
"""Family, number head, tokenizer, rotation, and whether numbers are fed back."""

HEADS = ("tanh_mlp_gelu", "none", "linear", "gaussian", "mixture", "binned")
RANGES = {"x": [-3, 3], "y": [-3, 3], "z": [0, 1], "rotation": [-4, 4]}
ROTATIONS = ("6d", "quat", "9d", "euler", "aa", "euler_int")
WIDTH, HEIGHT = 64, 40
MAX_OBJECTS = 10
SHORT_ROOM = 60
SHORT_EVERY = 11
"""Batches; like the lengths of the lists in `combinations` it has no divisor in common with another."""

BATCH_SIZE = 100
TOWER: dict[str, Any] = {
    "image_size": [HEIGHT, WIDTH],
    "stem_channels": 4,
    "stage_channels": [4, 8, 8, 8],
    "blocks_per_stage": [1, 1, 1, 1],
    "feature_channels": 8,
    "position_channels": 8,
}


def combinations() -> Iterator[Combination]:
    """All kinds of models, over and over; lists of coprime lengths: any two meet in every way.

    Only digits (head `none`) are never numbers that are fed back.
    """
    families = itertools.cycle(("clevr", "so3", "two_d", "clevr", "so3"))
    tokenizers = itertools.cycle(("tiny", "tiny", "tiny", "llama", "tiny", "tiny", "llama"))
    feeds_back = itertools.cycle((*6 * (True, False), True))
    kinds = zip(families, itertools.cycle(HEADS), tokenizers, _rotations(), feeds_back, strict=False)
    for family, head, tokenizer, rotation, feeds in kinds:
        yield family, head, tokenizer, rotation, feeds and head != "none"


def _rotations() -> Iterator[str]:
    for rotation in itertools.cycle(ROTATIONS):
        yield from 7 * (rotation,)


def make_model(combination: Combination, seed: int) -> tuple[Any, IGLLMProcessor]:
    """A random model with the grammar of a family."""
    family, head, tokenizer, rotation, feeds_back = combination
    words = build_tiny_tokenizer() if tokenizer == "tiny" else make_llama_tokenizer()
    processor = IGLLMProcessor(
        IGLLMImageProcessor(size={"height": HEIGHT, "width": WIDTH}),
        words,
        num_image_tokens=16,
        numbers="char" if head == "none" else "token",
        rotation=rotation,
    )
    torch.manual_seed(seed)
    config = IGLLMConfig(
        vision_config=SceneTowerConfig(**TOWER),
        text_config=LlamaConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            initializer_range=0.2,
            pad_token_id=words.pad_token_id,
        ),
        image_token_index=processor.image_token_id,
        num_token_id=processor.num_token_id,
        number_head=head,  # type: ignore[arg-type]  # one of HEADS
        number_ranges=RANGES if head == "binned" else None,  # type: ignore[arg-type]
        feed_numbers_back=feeds_back,
    )
    model = IGLLMForSceneProgram(config).eval()
    sample = FAMILIES[family].sample
    scenes = [SceneProgram(sample(family, "train", 0, index).objects) for index in range(2)]
    model.set_grammar(processor.make_grammar(scenes, max_objects=MAX_OBJECTS))
    return model, processor


def decode_batch(combination: Combination, number: int, temperature: float) -> list[Any]:
    """Predictions for one batch of random images; the last of every `SHORT_EVERY` batches has little room."""
    model, processor = make_model(combination, seed=number)
    rng = np.random.default_rng(number)
    images = list(rng.integers(0, 256, (BATCH_SIZE, HEIGHT, WIDTH, 3), dtype=np.uint8))
    inputs = processor.encode_prompt(images)
    output = model.generate_scene(
        **inputs,
        do_sample=True,
        temperature=temperature,
        generator=torch.Generator().manual_seed(number),
        max_new_tokens=SHORT_ROOM if number % SHORT_EVERY == SHORT_EVERY - 1 else 2000,
    )
    return processor.decode_scene(
        output.sequences, output.numbers, number_stds=output.number_stds, truncated=output.truncated
    )


def main() -> int:
    """Decode, count, write; the exit code is 1 if any did not parse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decodes", type=int, default=100_000)
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    batches = range(-(-parsed.decodes // BATCH_SIZE))
    for number, combination in zip(tqdm(batches, unit="batch"), combinations(), strict=False):
        for prediction in decode_batch(combination, number, parsed.temperature):
            counts["decodes"] += 1
            counts["truncated"] += bool(prediction.truncated)
            counts[f"{combination[0]}, head {combination[1]}"] += 1
            counts["numbers fed back"] += combination[4]
            if prediction.scene is None:
                counts["failures"] += 1
                print(f"{combination}: {prediction.error}\n{prediction.text[:500]}", file=sys.stderr)
            else:
                counts["objects"] += len(prediction.scene)
    report = {"temperature": parsed.temperature, "failures": 0} | dict(sorted(counts.items()))
    print(json.dumps(report, indent=2))
    write_report(report, parsed.out)
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
