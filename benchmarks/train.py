"""How much faster do cached tower features and `[NUM]` make training? One run, the same scenes, ratios.

```bash
igllm build clevr --split train --num-scenes 5000 --resolution 160x120 --out data
python -m benchmarks.train --dataset data --out benchmarks/results/train.json
```

Training samples per second on scenes of six objects: features of the frozen tower cached or recomputed in every step
(from the encoded image on), numbers as `[NUM]` or as digits, each with the attention that is faster for its length.
`combined` is cached `[NUM]` over recomputed digits; `product` multiplies the two factors measured apart, caching under
`[NUM]` and `[NUM]` under caching. Then what else the recipe does for speed, each thing switched off alone.
`benchmarks.train_equal_time` says what a model has learnt after equal time.
"""

import argparse
import os
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars, load_dataset

from benchmarks.reports import write_report
from benchmarks.train_arms import (
    ATTENTIONS,
    MICRO_BATCH,
    NUMBER_NAMES,
    Arm,
    NumberStyle,
    Setting,
    answer_tokens,
    build_processor,
    feature_folder,
    samples_per_second,
)
from trl_scripts.length_sampler import StepwiseLengthSampler
from trl_scripts.scene_collator import answer_lengths

OBJECTS = 6
STYLES: tuple[NumberStyle, ...] = ("token", "char")


def compare(setting: Setting, rows: Dataset, features: Path, rounds: int) -> dict[str, Any]:
    """Samples per second of all arms, and the factors."""
    kinds = list(product(STYLES, (True, False)))
    arms = [Arm(style, cached, attention) for style, cached in kinds for attention in ATTENTIONS]
    rates = samples_per_second(setting, arms, rows, features, setting.timed_steps, rounds)
    best = {kind: max(rates[Arm(*kind, attention)] for attention in ATTENTIONS) for kind in kinds}
    caching = {style: best[style, True] / best[style, False] for style in STYLES}
    numbers = {cached: best["token", cached] / best["char", cached] for cached in (True, False)}
    programs = rows["program"][:]
    return {
        "scenes_per_step": setting.step_size,
        "tokens": {NUMBER_NAMES[style]: answer_tokens(setting, style, programs) for style in STYLES},
        "samples_per_second": {arm.name: rate for arm, rate in rates.items()},
        "cached_over_recomputed": {NUMBER_NAMES[style]: ratio for style, ratio in caching.items()},
        "num_over_digits": {"cached": numbers[True], "recomputed": numbers[False]},
        "product": caching["token"] * numbers[True],
        "combined": best["token", True] / best["char", False],
    }


def compare_recipe(setting: Setting, rows: Dataset, features: Path, rounds: int) -> dict[str, Any]:
    """What the recipe gains by each of its settings, the others kept, and by all at once, on scenes of all sizes."""
    recipe = Arm("token", cached=True)
    without = {
        "bf16": replace(recipe, bf16=False),
        "eager attention": replace(recipe, attention="sdpa"),
        "length grouping": replace(recipe, grouped=False),
        "caching": replace(recipe, cached=False),
        "all and [NUM]": Arm("char", cached=False, attention="sdpa", bf16=False, grouped=False),
    }
    rates = samples_per_second(setting, [recipe, *without.values()], rows, features, setting.timed_steps, rounds)
    return {
        "samples_per_second": {arm.name: rate for arm, rate in rates.items()},
        "gain": {name: rates[recipe] / rates[arm] for name, arm in without.items()},
    }


def padding_shares(setting: Setting, style: NumberStyle, rows: Dataset) -> dict[str, float]:
    """Share of all positions that is padding: steps that are one random batch, and the recipe's micro-batches."""
    processor = build_processor(setting, style)
    lengths = np.array(answer_lengths(rows, processor)) + len(processor.encode_prompt_text())
    order = list(StepwiseLengthSampler(lengths.tolist(), setting.step_size, seed=0))
    sizes = {"random batches": setting.step_size, "micro-batches of like length": MICRO_BATCH}
    return {name: _padding_share(lengths[order], size) for name, size in sizes.items()}


def _padding_share(lengths: np.ndarray, batch_size: int) -> float:
    batches = lengths[: len(lengths) // batch_size * batch_size].reshape(-1, batch_size)
    return 1 - float(batches.sum() / (batches.max(axis=1) * batch_size).sum())


def measure(parsed: argparse.Namespace, rows: Dataset) -> dict[str, Any]:
    """Everything that is reported."""
    six = [index for index, program in enumerate(rows["program"]) if program.count("add(") == OBJECTS]
    all_settings = settings(parsed.checkpoint)
    own = all_settings[0]
    with feature_folder(parsed.feature_cache) as features:
        report: dict[str, Any] = {"settings": {}}
        for setting in all_settings:
            chosen = rows.select(six[: 4 * setting.step_size])
            print(f"{setting.name}: {len(chosen)} scenes", flush=True)
            report["settings"][setting.name] = compare(setting, chosen, features, parsed.rounds)
        some = rows.select(range(min(len(rows), 10 * own.step_size)))
        report["recipe"] = compare_recipe(own, some, features, parsed.rounds)
    report["padding"] = {NUMBER_NAMES[style]: padding_shares(own, style, rows) for style in STYLES}
    return report


def settings(checkpoint: Path) -> list[Setting]:
    """The towers and tokenizers that are compared; the larger they are, the smaller a step."""
    return [
        Setting(checkpoint, "scene", "own", step_size=32, timed_steps=8),
        Setting(checkpoint, "scene", "llama", step_size=8, timed_steps=8),
        Setting(checkpoint, "clip", "own", step_size=4, timed_steps=2),
    ]


def format_table(report: dict[str, Any]) -> str:
    """The ratios, a line for each setting."""
    columns = ("cached/recomputed", "[NUM]/digits", "product", "combined")
    lines = [f"{'':32}" + "".join(f"{name:>20}" for name in columns)]
    for name, result in report["settings"].items():
        values = (
            result["cached_over_recomputed"]["[NUM]"],
            result["num_over_digits"]["cached"],
            result["product"],
            result["combined"],
        )
        lines.append(f"{name:32}" + "".join(f"{value:>20.2f}" for value in values))
    gains = ", ".join(f"{name} {gain:.2f}" for name, gain in report["recipe"]["gain"].items())
    lines.append(f"gain on scenes of all sizes: {gains}")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="data", help="folder or Hub repository of built CLEVR scenes")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/ig-llm-tiny-clevr"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--feature-cache", type=Path, help="keep features here (default: a temporary folder)")
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    disable_progress_bars()
    rows = load_dataset(parsed.dataset, "clevr", split="train").remove_columns("scene")
    report = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), **measure(parsed, rows)}
    print(format_table(report))
    write_report(report, parsed.out)


if __name__ == "__main__":
    main()
