"""What an experiment has measured so far, as one JSON from which its page and plots are made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import CommandError
from .plan import Folders, Run
from .recipe import Recipe
from .run import RESULT, SETTINGS, run_settings
from .towers import read_tower_report

Results = dict[str, Any]
PREPARATION = "preparation.json"
# Where a run logs changes nothing that is measured; the others were in recipes once and now are set by sft.py.
_CHANGEABLE = {"report_to", "remove_unused_columns", "dataset_kwargs"}


def check_settings(runs: list[Run], recipe: Recipe, folders: Folders) -> None:
    """See that the runs in the output folder, finished or killed, are those of this recipe: a page shows them all.

    Raises:
        CommandError: for one that was made with other settings or data, or scored on other scenes.
    """
    for run in runs:
        folder = folders.runs / run.name
        if (folder / RESULT).is_file():
            result = _read(folder / RESULT)
            _check_same(result, run_settings(run, recipe), folder)
            _check_scenes(recipe, result, folder)
        elif (folder / SETTINGS).is_file():
            _check_same(_read(folder / SETTINGS), run_settings(run, recipe), folder)


def check_page(path: Path, runs: Sequence[Run], recipe: Recipe) -> None:
    """See that a page that is there shows no run that the new one would lack: it may be of another --out or recipe.

    Args:
        path: JSON of the page.
        runs: those that are finished when the new one is written.

    Raises:
        CommandError: for a run that is not among them, or was made with other settings or data.
    """
    if not path.is_file():
        return
    shown = {(run.group, run.train_scenes, run.seed): run for run in runs}
    way_out = "choose another --pages, or remove that file if it is to be replaced"
    for run in read_results(path)["runs"]:
        title = f"{run['group']} ({run['train_scenes']} scenes, seed {run['seed']})"
        found = shown.get((run["group"], run["train_scenes"], run["seed"]))
        if found is None:
            raise CommandError(f"{path} shows the finished run {title}, which is not in this --out: {way_out}")
        for name, before, now in _differences(run, run_settings(found, recipe)):
            raise CommandError(f"{path} shows {title} with {name}={before!r}, the recipe says {now!r}: {way_out}")


def _check_same(begun: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    for name, was, is_now in _differences(begun, now):
        raise CommandError(
            f"{folder} was run with {name}={was!r}, the recipe now says {is_now!r}: "
            "remove that folder or choose another --out"
        )


def _differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, then, now) of what `run_settings` says otherwise of two runs.

    Data that was not noted may have been the same. How many scenes there are of each split is left to `_check_scenes`:
    the first ones stay as they are, whatever their number.
    """
    known = begun.get("data", {}).keys() & now["data"].keys() - {"splits"}
    before, after = (
        {"tower": one["tower"], **one["settings"], **{f"data.{name}": one["data"][name] for name in known}}
        for one in (begun, now)
    )
    names = sorted({**before, **after}.keys() - _CHANGEABLE)
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _check_scenes(recipe: Recipe, result: dict[str, Any], folder: Path) -> None:
    for split in recipe.splits:
        scenes = result["splits"].get(split, {"scenes": 0})["scenes"]
        if scenes != recipe.data.splits[split]:
            raise CommandError(
                f"{folder} was scored on {scenes} scenes of {split!r}, the recipe now says "
                f"{recipe.data.splits[split]}: remove its {RESULT} and it is scored again"
            )


def collect_results(name: str, recipe: Recipe, runs: list[Run], folders: Folders) -> Results:
    """Everything that the page of an experiment says; `runs` are all that the recipe asks for."""
    finished = [_read(path) for run in runs if (path := folders.runs / run.name / RESULT).is_file()]
    used = sorted({run["tower"] for run in finished if run["tower"] is not None})
    towers = {tower: read_tower_report(folders.towers / tower) for tower in used}
    preparation = folders.out / name / PREPARATION
    return {
        "experiment": name,
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "planned": [{"group": run.group, "train_scenes": run.train_scenes, "seed": run.seed} for run in runs],
        "preparation": _read(preparation) if preparation.is_file() else {},
        "towers": towers,
        "runs": finished,
    }


def total_minutes(results: Results) -> float:
    """Minutes of data, features, towers, training and evaluation, as far as they were spent for this page."""
    preparation = sum(results["preparation"].get("minutes", {}).values())
    towers = sum(tower["minutes"] for tower in results["towers"].values())
    return float(preparation + towers + sum(sum(run["minutes"].values()) for run in results["runs"]))


def missing_runs(results: Results) -> list[dict[str, Any]]:
    """The runs that the recipe asks for and that are not finished."""
    done = [{name: run[name] for name in ("group", "train_scenes", "seed")} for run in results["runs"]]
    return [run for run in results["planned"] if run not in done]


def read_results(path: Path) -> Results:
    """The JSON of an experiment, as `write_json` wrote it.

    Raises:
        CommandError: if it cannot be read.
    """
    try:
        return _read(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read the results {path}: {error}; remove it and run again") from error


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
