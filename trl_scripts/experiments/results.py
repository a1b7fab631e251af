"""What an experiment has measured so far, as one JSON from which its page and plots are made."""

import json
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
_CHANGEABLE = {"report_to"}  # where a run logs changes nothing that is measured


def check_settings(runs: list[Run], recipe: Recipe, folders: Folders) -> None:
    """See that the runs in the output folder, finished or killed, are those of this recipe: a page shows them all.

    Raises:
        CommandError: for one that was made with other settings, or scored on other scenes.
    """
    for run in runs:
        folder = folders.runs / run.name
        if (folder / RESULT).is_file():
            result = _read(folder / RESULT)
            _check_same(run, result, folder)
            _check_scenes(recipe, result, folder)
        elif (folder / SETTINGS).is_file():
            _check_same(run, _read(folder / SETTINGS), folder)


def _check_same(run: Run, begun: dict[str, Any], folder: Path) -> None:
    before, now = ({"tower": one["tower"], **one["settings"]} for one in (begun, run_settings(run)))
    for name in sorted({**before, **now}.keys() - _CHANGEABLE):
        if before.get(name) != now.get(name):
            raise CommandError(
                f"{folder} was run with {name}={before.get(name)!r}, the recipe now says {now.get(name)!r}: "
                "remove that folder or choose another --out"
            )


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
        raise CommandError(f"cannot read the results {path}: {error}; run the experiment again") from error


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
