"""`igllm experiment NAME`: data, towers, runs, results and pages of one recipe."""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dataset_builders.die_with_parent import die_with_parent

from ..errors import CommandError
from ..feature_cache import cache_features
from ..image_augmentation import family_augmentation
from ..tiny_model import build_tiny_model
from .data import build_data, load_rows
from .gallery import draw_galleries
from .overview import overview_page
from .page import experiment_page
from .plan import Folders, Run, choose_runs, plan_runs
from .plots import draw_plots
from .probe import probe_position
from .recipe import Recipe, experiment_name, load_recipe, recipe_names, recipe_path
from .results import PREPARATION, Results, check_page, check_settings, collect_results, read_results
from .run import RESULT, check_options, make_run, write_json
from .scoring import score
from .smoke import make_smoke
from .towers import make_tower


def run_experiment(parsed: argparse.Namespace) -> int:
    """Make or continue an experiment, and write its pages.

    Raises:
        CommandError: for a bad recipe, arm or seed, or an output folder or page of another recipe or of more runs.
    """
    path = recipe_path(parsed.name)
    recipe, name = load_recipe(path), experiment_name(path)
    folders = Folders(parsed.data, parsed.out, name)
    pages = parsed.pages
    if parsed.smoke:
        recipe = make_smoke(recipe)
        smoke = parsed.out / "smoke"
        folders, pages = Folders(smoke / "data", smoke, name), smoke / "pages"
    if parsed.report_to is not None:
        recipe = replace(recipe, training={**recipe.training, "report_to": parsed.report_to})
    runs = plan_runs(recipe)
    chosen = choose_runs(runs, parsed.arms, parsed.seeds)
    for run in chosen:  # a wrong option is refused before anything is rendered
        check_options(run, recipe, folders)
    check_settings(runs, recipe, folders)
    shown = [run for run in runs if run in chosen or _is_finished(run, folders)]
    check_page(pages / f"{name}.json", shown, recipe)  # not after hours of training
    _prepare(recipe, chosen, folders)
    _make_runs(chosen, recipe, folders, parsed.jobs)
    # Meanwhile another call may have written it.
    check_page(pages / f"{name}.json", [run for run in runs if _is_finished(run, folders)], recipe)
    results = collect_results(name, recipe, runs, folders)
    write_pages(results, recipe, folders, pages)
    print(pages / f"{name}.md")
    return 0


def write_pages(results: Results, recipe: Recipe, folders: Folders, pages: Path) -> None:
    """Write the JSON, the plots and the page of an experiment, and the overview of all."""
    pages.mkdir(parents=True, exist_ok=True)
    write_json(pages / f"{results['experiment']}.json", results)
    pictures = draw_plots(results, pages)
    if recipe.gallery is not None and results["runs"]:
        scenes = recipe.gallery.scenes
        images = {
            split: load_rows(recipe.data, folders.data, split, scenes)["image"][:] for split in recipe.gallery.splits
        }
        pictures |= draw_galleries(results, images, pages)
    (pages / f"{results['experiment']}.md").write_text(experiment_page(results, pictures), encoding="utf-8")
    write_overview(pages)


def write_overview(pages: Path) -> None:
    """Write README.md of the pages, from the project's recipes and the JSON files that are there."""
    recipes = {name: asdict(load_recipe(recipe_path(name))) for name in recipe_names()}
    results = {path.stem: read_results(path) for path in sorted(pages.glob("*.json"))}
    known = {**recipes, **{name: one["recipe"] for name, one in results.items() if name not in recipes}}
    (pages / "README.md").write_text(overview_page(known, results), encoding="utf-8")


def _prepare(recipe: Recipe, runs: Sequence[Run], folders: Folders) -> None:
    """Data, towers and cached features; the minutes that they took are added up over all calls."""
    path = folders.out / folders.experiment / PREPARATION
    report: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"minutes": {}, "probes": {}}

    def spend(what: str, start: float) -> None:
        report["minutes"][what] = report["minutes"].get(what, 0.0) + (time.monotonic() - start) / 60
        write_json(path, report)

    start = time.monotonic()
    build_data(recipe.data, folders.data)
    spend("data", start)
    _check_scores(recipe, folders)
    for name in dict.fromkeys(run.tower for run in runs if run.tower is not None):
        plan = recipe.towers[name]
        if plan.data is not None:
            start = time.monotonic()
            build_data(plan.data, folders.data)
            spend(f"data of {name}", start)
        tower = make_tower(name, plan, folders.data, plan.data or recipe.data, folders.towers)
        start = time.monotonic()
        copies = max(int(run.settings.get("feature_copies", 1)) for run in runs if run.tower == name)
        model, processor = build_tiny_model(tower)
        rows = load_rows(recipe.data, folders.data, "train")
        mean = processor.image_processor.image_mean
        augmentation = family_augmentation(recipe.data.family, mean) if copies > 1 else None
        cache_features(rows, model, processor, folders.features, copies, augmentation)
        if recipe.position_probe is not None and name not in report["probes"]:
            probed = load_rows(recipe.data, folders.data, recipe.position_probe)
            report["probes"][name] = probe_position(model, processor, probed, recipe.position_probe)
        spend(f"features of {name}", start)


def _check_scores(recipe: Recipe, folders: Folders) -> None:
    """Refuse a score that the metric does not have for this family, before hours of training."""
    split = recipe.splits[0]
    program = load_rows(recipe.data, folders.data, split, 1)["program"][:]
    known = [name.removeprefix("strict/") for name in score(program, program, split) if name.startswith("strict/")]
    curve = [] if recipe.curve is None else recipe.curve.scores
    for name in (*recipe.scores, *curve, *(claim.score for claim in recipe.claims)):
        if name not in known:
            names = [one for one in known if not one.endswith(("_lo", "_hi"))]
            raise CommandError(f"the recipe names the score {name!r}: the metric has {', '.join(names)}")


def _make_runs(runs: Sequence[Run], recipe: Recipe, folders: Folders, jobs: int) -> None:
    """Make the runs, `jobs` at a time, each in one thread."""
    unfinished = [run for run in runs if not _is_finished(run, folders)]
    print(f"{len(runs) - len(unfinished)} of {len(runs)} runs are finished", file=sys.stderr)
    tasks: dict[str, list[Run]] = {}
    for run in unfinished:
        tasks.setdefault(run.training_name, []).append(run)
    if jobs == 1 or len(tasks) < 2:
        for task in tasks.values():
            _work(task, recipe, folders)
        return
    # torch's threads and the trainer's state are of a process: they must not be inherited.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), die_with_parent) as pool:
        futures = [pool.submit(_work, task, recipe, folders) for task in tasks.values()]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _is_finished(run: Run, folders: Folders) -> bool:
    return (folders.runs / run.name / RESULT).is_file()


def _work(runs: Sequence[Run], recipe: Recipe, folders: Folders) -> None:
    """Make runs that share a training, one after the other."""
    for run in runs:
        print(f"{run.name} begins", file=sys.stderr, flush=True)
        make_run(run, recipe, folders)
