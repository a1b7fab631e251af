"""Turn a finished training run into a checkpoint folder: weights, code, processor, and how it was trained.

```bash
python -m trl_scripts.make_checkpoint --model SFT_OUT --tower TOWER_OUT --commands train.txt \
    --summary "A small IG-LLM that reads CLEVR pictures." --machine "2 CPU cores, bfloat16 autocast" \
    --out checkpoints/ig-llm-tiny-clevr
```

A model that goes on from a checkpoint (`sft.py --model_name_or_path`) has that one's runs and commands before its own:
`--base` in the place of `--tower`.

`measure_checkpoint.py` then measures it, `checkpoint_card.py` writes its card.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .argument_types import count
from .errors import CommandError
from .evaluation import write_report
from .inference import load_checkpoint
from .measured_files import EVALUATION
from .run_clock import PEAK_MEMORY, SECONDS

LANGUAGE_MODEL = "language model and head"
ENDED = "train_runtime"  # what `Trainer` logs last; after a resume it is the time of the last part alone


def make_checkpoint(parsed: argparse.Namespace) -> None:
    """Write the folder: weights as safetensors, remote code, processor and `evaluation/training.json`.

    Raises:
        CommandError: if there is no such model or it has no grammar, or as `training_record`.
    """
    model, processor = load_checkpoint(str(parsed.model), "main")
    if model.config.grammar is None:
        raise CommandError(f"{parsed.model} has no grammar, by which its card says it decodes: train it with sft.py")
    record = training_record(parsed)
    if parsed.view_shift is not None:
        model.config.view_shift = parsed.view_shift
    model.save_pretrained(parsed.out)
    processor.save_pretrained(parsed.out)
    folder = parsed.out / EVALUATION
    folder.mkdir(exist_ok=True)
    write_report(folder / "training.json", record)


def training_record(parsed: argparse.Namespace) -> dict[str, Any]:
    """How the model was trained: what its trainers logged, and what only the trainer's user knows.

    Returns:
        `summary`, `machine` and `commands` as given; `scenes`, the number of training scenes of the language model's
        last run and those of `--base`, which are taken for others; `runs` in their order, each with `what`, `minutes`,
        `epochs`, `steps` and `peak_memory_mb` of its process, which is null if the run did not note it.

    Raises:
        CommandError: if a run is not one that has ended, or the commands cannot be read.
    """
    if parsed.base is not None and parsed.base.resolve() == parsed.out.resolve():
        raise CommandError(f"--out {parsed.out} is --base: the base's own record would be lost, name another folder")
    before: dict[str, Any] = {"scenes": 0, "runs": [_run("tower", folder) for folder in parsed.tower or ()]}
    commands = [_read_text(parsed.commands).strip()]
    if parsed.base is not None:
        before = _read_json(parsed.base / EVALUATION / "training.json")
        commands.insert(0, before["commands"])
    return {
        "summary": parsed.summary,
        "machine": parsed.machine,
        "scenes": before["scenes"] + _read_json(parsed.model / "scene_arguments.json")["train_scenes"],
        "runs": [*before["runs"], _run(LANGUAGE_MODEL, parsed.model)],
        "commands": "\n".join(commands),
    }


def _run(what: str, folder: Path) -> dict[str, Any]:
    state = _read_json(folder / "trainer_state.json")
    log = state["log_history"]
    if not any(ENDED in entry for entry in log):
        raise CommandError(f"the training in {folder} has not ended: run its command again, it goes on")
    memory = [entry[PEAK_MEMORY] for entry in log if PEAK_MEMORY in entry]
    return {
        "what": what,
        "minutes": max(entry[name] for entry in log for name in (SECONDS, ENDED) if name in entry) / 60,
        "epochs": state["epoch"],
        "steps": state["global_step"],
        "peak_memory_mb": max(memory) if memory else None,
    }


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}; name a text file of the commands that were run") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(
            f"there is no {path}: name the output folder of a training that has ended, as --base a checkpoint"
        ) from error
    except ValueError as error:
        raise CommandError(f"{path} is not JSON ({error}): run the training's command again") from error
    return content


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse and make; returns the exit code: 0, or 2 after one line on the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="output folder of sft.py")
    before = parser.add_mutually_exclusive_group(required=True)
    before.add_argument("--tower", type=Path, nargs="+", help="output folders of pretrain_tower.py")
    before.add_argument("--base", type=Path, help="checkpoint that the model went on from, on other scenes")
    parser.add_argument(
        "--commands",
        type=Path,
        required=True,
        help="text file: what was run to build and to train; after --base, since then",
    )
    parser.add_argument("--summary", required=True, help="a sentence or two: what it reads, and what was special")
    parser.add_argument("--machine", required=True, help="what it was trained on, e.g. 2 CPU cores, bfloat16 autocast")
    parser.add_argument("--view-shift", type=count, metavar="PIXELS", help="config.view_shift (default: the model's)")
    parser.add_argument("--out", type=Path, required=True)
    try:
        make_checkpoint(parser.parse_args(command_line))
    except CommandError as error:
        print(f"make_checkpoint: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
