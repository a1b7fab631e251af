"""One run: train, answer, score, and write what was measured to `result.json` in its folder."""

import json
import os
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dataset_builders.whole_file import write_whole

from .data import load_rows
from .plan import Folders, Run, sft_arguments
from .recipe import Recipe
from .scoring import plot_details, score
from .sft_run import train_sft
from .trained import Trained

RESULT = "result.json"
SETTINGS = "settings.json"
"""Written when a run begins, so that one that was killed does not go on with other settings."""

THREADS = 1  # of every run, so that those side by side and those alone take alike
_LIBRARIES = ("torch", "transformers", "trl", "datasets", "evaluate", "numpy")


def check_options(run: Run, recipe: Recipe, folders: Folders) -> None:
    """Raise CommandError for options that the trainer does not have."""
    if run.ns_vqa is None:
        sft_arguments(run, recipe, folders)
        return
    from .ns_vqa_run import ns_vqa_arguments  # the other runs need nothing of the baseline

    ns_vqa_arguments(run, recipe, folders)


def make_run(run: Run, recipe: Recipe, folders: Folders) -> None:
    """Train (or go on from the last checkpoint), score, and write `result.json`; a finished run is left as it is.

    Raises:
        CommandError: for options that the trainer does not have.
    """
    folder = folders.runs / run.name
    if (folder / RESULT).is_file():
        return
    write_json(folder / SETTINGS, run_settings(run, recipe))
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        result = _measure(_train(run, recipe, folders), run, recipe, folders)
    finally:
        torch.set_num_threads(threads)
    write_json(folder / RESULT, result)


def run_settings(run: Run, recipe: Recipe) -> dict[str, Any]:
    """What a run is made with, as its files say it."""
    return {"tower": run.tower, "settings": run.settings, "data": asdict(recipe.data)}


def _train(run: Run, recipe: Recipe, folders: Folders) -> Trained:
    if run.ns_vqa is None:
        return train_sft(run, recipe, folders)
    from .ns_vqa_run import train_ns_vqa

    return train_ns_vqa(run, recipe, folders)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is there whole or not at all; another call of the command may be writing the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1) + "\n"
    write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))


def _measure(trained: Trained, run: Run, recipe: Recipe, folders: Folders) -> dict[str, Any]:
    """Everything that the page says of a run."""
    start = time.monotonic()
    splits = {split: _measure_split(trained, split, run, recipe, folders) for split in recipe.splits}
    evaluation_minutes = (time.monotonic() - start) / 60
    return {
        "group": run.group,
        "seed": run.seed,
        "train_scenes": run.train_scenes,
        **run_settings(run, recipe),
        "parameters": trained.parameters,
        "steps": trained.steps,
        "minutes": {"train": trained.minutes, "evaluate": evaluation_minutes},
        "losses": trained.losses,
        "curve": trained.curve,
        "splits": splits,
        "machine": _machine(),
    }


def _measure_split(trained: Trained, split: str, run: Run, recipe: Recipe, folders: Folders) -> dict[str, Any]:
    rows = load_rows(recipe.data, folders.data, split)
    programs = rows["program"][:]
    start = time.monotonic()
    texts = trained.answer(split)
    seconds = time.monotonic() - start
    train_programs = load_rows(recipe.data, folders.data, "train", run.train_scenes)["program"][:]
    shown = recipe.gallery.scenes if recipe.gallery is not None and split in recipe.gallery.splits else 0
    return {
        "scenes": len(rows),
        "seconds_per_image": seconds / len(rows),
        "scores": score(texts, programs, split),
        "details": plot_details(texts, programs, train_programs),
        "gallery": [{"predicted": text, "true": program} for text, program in zip(texts, programs, strict=True)][
            :shown
        ],
    }


def _machine() -> dict[str, Any]:
    """Cores, threads and versions, for the page."""
    return {
        "cores": os.cpu_count(),
        "threads": THREADS,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {library: version(library) for library in _LIBRARIES},
    }
