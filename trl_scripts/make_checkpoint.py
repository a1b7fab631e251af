"""Turn a finished training run into a checkpoint folder with its code, processor, measurements and card.

```bash
python -m trl_scripts.make_checkpoint --model SFT_OUT --tower TOWER_OUT --dataset DATA --report fresh.json \
    --real-report real.json --picture demo.png --out checkpoints/ig-llm-tiny-clevr
```

The card is `model_cards/checkpoint.md` filled from those files; no figure in it is typed by hand.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor

TEMPLATE = Path(__file__).resolve().parent.parent / "model_cards" / "checkpoint.md"
# What the table of the card shows, in this order.
SHOWN_SCORES = (
    "count_exact",
    "size",
    "color",
    "material",
    "shape",
    "l2",
    "precision@0.5m",
    "recall@0.5m",
    "f1@0.25m",
    "f1@0.5m",
    "exact",
    "invalid_rate",
)


def make_checkpoint(parsed: argparse.Namespace) -> None:
    """Write the folder: weights as safetensors, remote code, processor, `evaluation/*.json`, README.md and picture."""
    model = IGLLMForSceneProgram.from_pretrained(parsed.model)
    if model.config.grammar is None:
        raise ValueError(f"{parsed.model} has no grammar, by which its card says it decodes: train it with sft.py")
    model.save_pretrained(parsed.out)
    IGLLMProcessor.from_pretrained(parsed.model).save_pretrained(parsed.out)
    evaluation = parsed.out / "evaluation"
    evaluation.mkdir(exist_ok=True)
    for name, source in (("fresh_scenes", parsed.report), ("real_images", parsed.real_report)):
        if source is not None:
            shutil.copy(source, evaluation / f"{name}.json")
    shutil.copy(parsed.picture, parsed.out / "example.png")
    values = _card_values(parsed, model)
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        tags=["inverse-graphics", "scene-program", "clevr", "ig-llm"],
    )
    ModelCard.from_template(data, template_path=str(TEMPLATE), **values).save(parsed.out / "README.md")


def _card_values(parsed: argparse.Namespace, model: IGLLMForSceneProgram) -> dict[str, Any]:
    config = model.config
    report = json.loads(parsed.report.read_text())
    scenes = json.loads((parsed.model / "scene_arguments.json").read_text())["train_scenes"]
    return {
        "name": parsed.out.name,
        "summary": "A small IG-LLM that reads CLEVR pictures: image in, scene program out, trained on two CPU cores.",
        "picture": "example.png",
        "image_size": "x".join(str(side) for side in reversed(config.vision_config.image_size)) + " pixels",
        "parameters": f"{model.num_parameters():,}",
        "megabytes": f"{(parsed.out / 'model.safetensors').stat().st_size / 1e6:.1f}",
        "tower_parameters": f"{model.model.vision_tower.num_parameters():,}",
        "image_tokens": config.image_seq_length,
        "layers": config.text_config.num_hidden_layers,
        "width": config.text_config.hidden_size,
        "train_scenes": f"{scenes:,}",
        **_minutes("tower", [parsed.tower]),
        **_minutes("sft", [*parsed.earlier, parsed.model]),
        "training_commands": parsed.training_commands.read_text().strip(),
        "rotation_deg": f"{report['scores']['strict/rotation_deg']:.1f}",
        "rotation_verdict": "learned" if report["scores"]["strict/rotation_deg_hi"] < 15 else "not learned",
        "fresh_scenes": report["scenes"],
        "fresh_seed": parsed.fresh_seed,
        "fresh_table": _score_table(report["scores"]),
        "fresh_commands": parsed.evaluation_commands.read_text().strip(),
        "real_section": ""
        if parsed.real_report is None
        else _real_section(json.loads(parsed.real_report.read_text())),
    }


def _minutes(name: str, runs: list[Path]) -> dict[str, str]:
    """Minutes and epochs of one or several runs after another, from what their trainers logged."""
    states = [json.loads((folder / "trainer_state.json").read_text()) for folder in runs]
    seconds = [
        next(entry["train_runtime"] for entry in reversed(state["log_history"]) if "train_runtime" in entry)
        for state in states
    ]
    return {
        f"{name}_minutes": " + ".join(f"{value / 60:.0f}" for value in seconds),
        f"{name}_epochs": " + ".join(f"{state['epoch']:g}" for state in states),
    }


def _score_table(scores: dict[str, float]) -> str:
    rows = ["| strict score | value | 95 % interval |", "|---|---|---|"]
    for name in SHOWN_SCORES:
        value, low, high = (scores[f"strict/{name}{suffix}"] for suffix in ("", "_lo", "_hi"))
        rows.append(f"| `{name}` | {value:.3f} | {low:.3f} to {high:.3f} |")
    for name in ("l2", "ace", "count_acc", "size", "color", "material", "shape"):
        rows.append(f"| `published/{name}` | {scores[f'published/{name}']:.3f} | |")
    return "\n".join(rows)


def _real_section(report: dict[str, Any]) -> str:
    rows = [
        "Three real CLEVR images (never trained on, never used to choose a checkpoint; attributes only, positions are",
        "not published), right out of the true objects:",
        "",
        "| image | objects predicted / true | size | color | material | shape | objects fully right |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, score in {**report["images"], "all": report["total"]}.items():
        counts = " | ".join(str(score[key]) for key in ("size", "color", "material", "shape", "objects"))
        rows.append(f"| {name} | {score['predicted']} / {score['true']} | {counts} |")
    return "\n".join(rows)


def main() -> None:
    """Parse and make."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="output folder of sft.py")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="runs of sft.py that it continues")
    parser.add_argument("--tower", type=Path, required=True, help="output folder of pretrain_tower.py")
    parser.add_argument("--report", type=Path, required=True, help="JSON of `igllm evaluate` on fresh scenes")
    parser.add_argument("--fresh-seed", type=int, required=True, help="seed of those scenes")
    parser.add_argument("--real-report", type=Path, help="JSON of trl_scripts.real_images")
    parser.add_argument("--picture", type=Path, required=True, help="side-by-side picture of `igllm predict --render`")
    parser.add_argument("--training-commands", type=Path, required=True, help="text file: what was run to train")
    parser.add_argument("--evaluation-commands", type=Path, required=True, help="text file: what was run to measure")
    parser.add_argument("--out", type=Path, required=True)
    make_checkpoint(parser.parse_args())


if __name__ == "__main__":
    main()
