"""Write the card of a checkpoint from what was measured: README.md with `model-index`, and `.eval_results`.

```bash
python -m trl_scripts.checkpoint_card checkpoints/ig-llm-tiny-clevr
```

No figure is typed by hand. All come from the checkpoint's weights and the files of its folder `evaluation`:
`training.json` (make_checkpoint.py), `scenes.json`, `reading.json`, `real_images.json` (measure_checkpoint.py) and
`robustness.json` (benchmarks/robustness.py). The text is `model_cards/checkpoint.md`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import (
    EvalResult,
    EvalResultEntry,
    ModelCard,
    ModelCardData,
    eval_result_entries_to_yaml,
    parse_eval_result_entries,
)
from jinja2 import Environment, StrictUndefined

from modeling_igllm import IGLLMForSceneProgram

from .errors import CommandError
from .measured_files import Figures, Measured, read_measured

TEMPLATE = Path(__file__).resolve().parent.parent / "model_cards" / "checkpoint.md"
RESULTS = Path(".eval_results") / "ig_llm.yaml"
"""Where the Hub looks for results, and our file there (https://huggingface.co/docs/hub/eval-results)."""

PLACEHOLDER = "ig-llm/scenes"
"""Stands where the Hub asks for a dataset, as long as the scenes are not published: nothing of ours is there."""

TASK = "image-text-to-text"
# What the card, the model index and the results show, in this order.
STRICT = (
    *("count_exact", "size", "color", "material", "shape", "l2"),
    *("precision@0.5m", "recall@0.5m", "f1@0.25m", "f1@0.5m", "exact", "invalid_rate"),
)
PUBLISHED = ("l2", "ace", "count_acc", "size", "color", "material", "shape")
ATTRIBUTES = ("size", "color", "material", "shape", "objects")
ROBUSTNESS = ("count_exact", "size", "color", "material", "shape", "f1@0.5m", "exact", "l2")


def write_card(checkpoint: Path, benchmark: str = PLACEHOLDER) -> None:
    """Write README.md and `.eval_results` into a checkpoint's folder.

    Args:
        checkpoint: with weights, `evaluation/*.json` and `example.png`.
        benchmark: USER/NAME of the Hub dataset of the scenes (`igllm push dataset`); card and results say so where
            it is the placeholder.

    Raises:
        CommandError: if a file or figure is missing; the message names it and the command that measures it. Nothing
            is written then.
    """
    measured = read_measured(checkpoint)
    card = make_card(checkpoint, measured, benchmark)
    results = eval_result_entries_to_yaml(result_entries(measured, benchmark))
    place = checkpoint / RESULTS
    place.parent.mkdir(exist_ok=True)
    place.write_text(yaml.safe_dump(results, sort_keys=False), encoding="utf-8")
    card.save(checkpoint / "README.md")


def make_card(checkpoint: Path, measured: Measured, benchmark: str) -> ModelCard:
    """The card of a checkpoint. Errors as of `write_card`."""
    if not (checkpoint / "example.png").is_file():
        raise CommandError(
            f"there is no {checkpoint / 'example.png'}: python -m trl_scripts.measure_checkpoint makes it"
        )
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["inverse-graphics", "scene-program", "clevr", "ig-llm"],
        model_name=checkpoint.resolve().name,
        eval_results=index_entries(measured, benchmark),
    )
    # Jinja's default writes nothing for a value that is not there.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    # `card_data` stands first, between its two lines of dashes, as `ModelCard.from_template` wants it.
    return ModelCard(template.render(card_data=data.to_yaml(), **_values(checkpoint, measured, benchmark)))


def index_entries(measured: Measured, benchmark: str) -> list[EvalResult]:
    """The strict scores of every split, for `model-index`."""
    return [
        EvalResult(
            task_type=TASK,
            task_name="Image to scene program",
            dataset_type=benchmark,
            dataset_name=f"IG-LLM {report.text('config')}, {report.text('split')}",
            dataset_config=report.text("config"),
            dataset_split=report.text("split"),
            metric_type="scene_program",
            metric_name=f"strict/{name}",
            metric_value=round(report.number("scores", f"strict/{name}"), 4),
        )
        for report in measured.splits
        for name in STRICT
    ]


def result_entries(measured: Measured, benchmark: str) -> list[EvalResultEntry]:
    """The strict scores of every split, for `.eval_results`; tasks are `<config>_<split>_<score>`, `_at_` for `@`."""
    entries = []
    unpublished = f" of igllm build, not published ({benchmark} is a placeholder)" if benchmark == PLACEHOLDER else ""
    for report in measured.splits:
        config, split = report.text("config"), report.text("split")
        seeds = ", ".join(map(str, report.items("seeds")))
        for name in STRICT:
            low, high = (report.number("scores", f"strict/{name}_{end}") for end in ("lo", "hi"))
            entries.append(
                EvalResultEntry(
                    dataset_id=benchmark,
                    task_id=f"{config}_{split}_{name.replace('@', '_at_')}",
                    value=round(report.number("scores", f"strict/{name}"), 4),
                    date=report.text("date"),
                    notes=f"strict protocol, {report.number('scenes'):.0f} scenes of seed {seeds}{unpublished}, "
                    f"95 % interval {low:.3f} to {high:.3f}",
                )
            )
    return entries


def read_results(path: Path) -> list[EvalResultEntry]:
    """A file of `.eval_results`, as huggingface_hub reads it."""
    return parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))


def score_table(report: Figures) -> str:
    """The scores of one split as Markdown, with intervals where the metric gives them."""
    rows = []
    for name in STRICT:
        value, low, high = (report.number("scores", f"strict/{name}{end}") for end in ("", "_lo", "_hi"))
        rows.append([f"`strict/{name}`", f"{value:.3f}", f"{low:.3f} to {high:.3f}"])
    for name in PUBLISHED:
        rows.append([f"`published/{name}`", f"{report.number('scores', f'published/{name}'):.3f}", "none"])
    return table(["score", "value", "95 % interval"], rows)


def real_images_table(measured: Measured) -> str:
    """What is right in each real image, and in all of them."""
    figures = measured.real_images
    rows = []
    for name, keys in {**{name: ("images", name) for name in figures.value("images")}, "all": ("total",)}.items():
        counts = {key: f"{figures.number(*keys, key):.0f}" for key in ("predicted", "true", *ATTRIBUTES)}
        rows.append([name, f"{counts['predicted']} / {counts['true']}", *(counts[key] for key in ATTRIBUTES)])
    return table(["image", "objects predicted / true", *ATTRIBUTES[:-1], "objects fully right"], rows)


def robustness_table(measured: Measured) -> str:
    """The scores of the plain pictures in points of a hundred (`l2`: metres), then how far each rendering is off."""
    figures = measured.robustness
    plain = [figures.number("plain", name) for name in ROBUSTNESS]
    rows = [
        [
            "plain",
            *(
                f"{value:.3f}" if name == "l2" else f"{100 * value:.1f}"
                for name, value in zip(ROBUSTNESS, plain, strict=True)
            ),
        ]
    ]
    for variant in figures.value("variants"):
        cells = [figures.number("variants", variant, "difference", name) for name in ROBUSTNESS]
        shown = [
            f"{cell:+.3f}" if name == "l2" else f"{cell:+.1f}" for name, cell in zip(ROBUSTNESS, cells, strict=True)
        ]
        rows.append([figures.text("variants", variant, "what"), *shown])
    return table(["rendering", *(f"`{name}`" for name in ROBUSTNESS)], rows)


def training_table(measured: Measured) -> str:
    """The runs of the training in their order."""
    rows = []
    for run in measured.training.parts("runs"):
        # A run of before the clock was there has not noted it.
        is_noted = run.content.get("peak_memory_mb") is not None
        memory = f"{run.number('peak_memory_mb'):,.0f} MB" if is_noted else "not noted"
        minutes, steps = f"{run.number('minutes'):.0f}", f"{run.number('steps'):,.0f}"
        rows.append([run.text("what"), minutes, f"{run.number('epochs'):g}", steps, memory])
    return table(["run", "minutes", "epochs", "steps", "peak memory"], rows)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _values(checkpoint: Path, measured: Measured, benchmark: str) -> dict[str, Any]:
    """What the template asks for."""
    model = IGLLMForSceneProgram.from_pretrained(checkpoint)
    return {
        "name": checkpoint.resolve().name,
        "benchmark": benchmark,
        "is_placeholder": benchmark == PLACEHOLDER,
        "results": RESULTS.as_posix(),
        "config": model.config,
        "parameters": model.num_parameters(),
        "tower_parameters": model.model.vision_tower.num_parameters(),
        "megabytes": (checkpoint / "model.safetensors").stat().st_size / 1e6,
        "training": measured.training,
        "training_table": training_table(measured),
        "reading": measured.reading,
        "splits": [(report, score_table(report)) for report in measured.splits],
        "rotation_deg": measured.splits[0].number("scores", "strict/rotation_deg"),
        "rotation_deg_high": measured.splits[0].number("scores", "strict/rotation_deg_hi"),
        "real_images_table": real_images_table(measured),
        "robustness": measured.robustness,
        "other_blenders": [name for name in measured.robustness.value("variants") if name.startswith("Blender")],
        "robustness_table": robustness_table(measured),
    }


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse and write; returns the exit code: 0, or 2 after one line on the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--benchmark", default=PLACEHOLDER, help="USER/NAME of the scenes on the Hub (default: a placeholder)"
    )
    parsed = parser.parse_args(command_line)
    try:
        write_card(parsed.checkpoint, parsed.benchmark)
    except CommandError as error:
        print(f"checkpoint_card: {error}", file=sys.stderr)
        return 2
    print(parsed.checkpoint / "README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
