"""Pages say what their JSON says: verdicts by intervals, missing runs by name, minutes added up."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import experiment_files
import pytest

from trl_scripts.experiments.claims import (
    DIRECTION,
    GAP_CLOSES,
    GAP_UNSURE,
    MIXED,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    REPRODUCED_ONCE,
    UNDECIDED,
    judge,
    show_number,
)
from trl_scripts.experiments.overview import overview_page
from trl_scripts.experiments.page import experiment_page
from trl_scripts.experiments.recipe import load_recipe

MACHINE = {"cores": 2, "threads": 1, "system": "Linux x86_64", "python": "3.11", "versions": {"torch": "2.13.0"}}


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    content = experiment_files.recipe_content(tmp_path)
    return asdict(load_recipe(experiment_files.write_recipe(tmp_path, content)))


def make_run(group: str, seed: int, mse: tuple[float, float, float] | None, scenes: int = 8) -> dict[str, Any]:
    names = ("strict/mse", "strict/mse_lo", "strict/mse_hi")
    split = {"scenes": 4, "scores": dict(zip(names, mse or (None, None, None), strict=True))}
    return {
        "group": group,
        "seed": seed,
        "train_scenes": scenes,
        "tower": None,
        "steps": 4,
        "parameters": 1234567,
        "minutes": {"train": 10.0, "evaluate": 1.5},
        "splits": {"val_id": split, "val_ood": split},
        "machine": MACHINE,
    }


def make_results(recipe: dict[str, Any], *runs: dict[str, Any]) -> dict[str, Any]:
    planned = [{"group": arm, "train_scenes": 8, "seed": seed} for seed in (0, 1) for arm in ("digits", "head")]
    preparation = {"minutes": {"data": 2.0, "features of random": 1.0}, "probes": {}}
    return {
        "experiment": "tiny",
        "recipe": recipe,
        "planned": planned,
        "preparation": preparation,
        "towers": {},
        "runs": list(runs),
    }


GOOD, BETTER, BAD = (0.2, 0.15, 0.25), (0.1, 0.05, 0.18), (0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("head", "digits", "verdict"),
    [
        ([GOOD], [BAD], REPRODUCED_ONCE),
        ([GOOD, BETTER], [BAD], REPRODUCED_ONCE),  # the other arm's second seed is not run yet
        ([GOOD, BETTER], [BAD, BAD], REPRODUCED),
        ([BETTER], [GOOD], DIRECTION),
        ([BETTER, GOOD], [BAD, BETTER], MIXED),
        ([BAD], [GOOD], NOT_REPRODUCED),
        ([GOOD], [GOOD], NOT_REPRODUCED),
        ([GOOD], [None], UNDECIDED),  # it was run
        ([GOOD, GOOD], [BAD, None], UNDECIDED),
        ([], [BAD], NOT_RUN),
    ],
)
def test_a_verdict_is_by_the_intervals_of_every_seed(recipe: dict[str, Any], head, digits, verdict) -> None:
    runs = [
        make_run(group, seed, mse)
        for group, part in (("head", head), ("digits", digits))
        for seed, mse in enumerate(part)
    ]
    text, found = judge(recipe["claims"][0], make_results(recipe, *runs))
    assert found == verdict
    assert text == NOT_RUN if verdict == NOT_RUN else text.startswith("`mse` on `val_id`: seed 0: head 0.")


def test_more_can_be_better(recipe: dict[str, Any]) -> None:
    results = make_results(recipe, make_run("head", 0, GOOD), make_run("digits", 0, BAD))
    assert judge({**recipe["claims"][0], "higher": True}, results)[1] == NOT_REPRODUCED


def test_a_gap_is_compared_with_that_of_another_size(recipe: dict[str, Any]) -> None:
    claim = {**recipe["claims"][0], "train_scenes": 8, "gap_closes_from": 2}
    runs = [make_run("head", 0, BETTER), make_run("digits", 0, GOOD), make_run("head", 0, GOOD, 2)]
    assert judge(claim, make_results(recipe, *runs))[1] == NOT_RUN
    text, verdict = judge(claim, make_results(recipe, *runs, make_run("digits", 0, BAD, 2)))
    assert (verdict, text) == (
        GAP_CLOSES,
        "`mse` on `val_id`: a gap of 0.1 between head and digits after 8 scenes, of 0.3 after 2",
    )


def test_a_gap_of_one_outlier_is_no_gap(recipe: dict[str, Any]) -> None:
    claim = {**recipe["claims"][0], "train_scenes": 8, "gap_closes_from": 2}
    runs = [make_run("head", 0, BETTER), make_run("digits", 0, GOOD), make_run("head", 0, GOOD, 2)]
    assert judge(claim, make_results(recipe, *runs, make_run("digits", 0, (748.0, 0.24, 2160.0), 2)))[1] == GAP_UNSURE


def test_a_gap_is_that_of_the_seeds_that_both_sizes_have(recipe: dict[str, Any]) -> None:
    claim = {**recipe["claims"][0], "train_scenes": 8, "gap_closes_from": 2}
    runs = [make_run("head", 0, BETTER), make_run("digits", 0, GOOD)]
    runs += [make_run("head", 0, GOOD, 2), make_run("digits", 0, BAD, 2)]
    runs += [make_run("head", 1, GOOD, 2), make_run("digits", 1, GOOD, 2)]  # nothing of this seed after 8 scenes
    text, verdict = judge(claim, make_results(recipe, *runs))
    assert verdict == GAP_CLOSES and "a gap of 0.1 " in text and "of 0.3 after 2" in text
    runs += [make_run("head", 1, None), make_run("digits", 1, GOOD)]
    text, verdict = judge(claim, make_results(recipe, *runs))
    assert verdict == UNDECIDED and "head n/a" in text


def test_one_arm_can_be_compared_between_splits(recipe: dict[str, Any]) -> None:
    run = make_run("head", 0, GOOD)
    run["splits"]["val_ood"] = make_run("head", 0, BAD)["splits"]["val_ood"]
    claim = {**recipe["claims"][0], "worse": "head", "worse_split": "val_ood"}
    text, verdict = judge(claim, make_results(recipe, run))
    assert verdict == REPRODUCED_ONCE
    assert text == "`mse`: seed 0: head on `val_id` 0.2 [0.15, 0.25], head on `val_ood` 0.5 [0.4, 0.6]"


def test_a_page_adds_up_minutes_and_names_what_is_missing(recipe: dict[str, Any]) -> None:
    results = make_results(recipe, make_run("head", 0, GOOD), make_run("head", 1, BETTER), make_run("digits", 0, BAD))
    page = experiment_page(results, {"A caption.": "tiny_bars.png"})
    assert page.startswith("# Tiny\n\n**38 minutes of computing in all** (2 cores, Linux x86_64, 1 thread per run).")
    assert "3 of 4 runs, 1 of 2 seeds complete. **Not run: digits (8 scenes, seed 1).**" in page
    assert "| head | 8 | mean | **0.15** | n/a |" in page
    assert "| digits | 8 | 0 | 0.5 [0.4, 0.6] | n/a |" in page
    assert "not available" in page and "1,234,567" in page and "torch 2.13.0" in page
    assert "![tiny_bars](tiny_bars.png)\n\n*A caption.*" in page


def test_there_is_no_mean_where_a_seed_has_no_score(recipe: dict[str, Any]) -> None:
    page = experiment_page(make_results(recipe, make_run("head", 0, BETTER), make_run("head", 1, None)), {})
    assert "| head | 8 | 1 | n/a | n/a |\n| head | 8 | mean | n/a | n/a |" in page


def test_a_page_says_what_its_runs_do_not_have_in_common(recipe: dict[str, Any]) -> None:
    results = make_results(recipe, make_run("head", 0, GOOD), make_run("digits", 0, BAD))
    page = experiment_page(results, {})
    assert "All arms take 4 steps" in page and "NS-VQA has" not in page
    results["runs"][1] |= {"steps": 9, "machine": {**MACHINE, "versions": {"torch": "2.14.0"}}}
    page = experiment_page(results, {})
    assert "Steps of the arms differ." in page and "All arms take" not in page
    assert "Versions: torch 2.13.0 or 2.14.0." in page


def test_a_page_without_a_run_says_so(recipe: dict[str, Any]) -> None:
    page = experiment_page(make_results(recipe), {})
    assert "0 of 4 runs, 0 of 2 seeds complete." in page
    assert page.count("| not run |") >= 4


def test_the_overview_has_every_claim_of_every_recipe(recipe: dict[str, Any]) -> None:
    other = {**recipe, "title": "Other", "unreported": {"A claim on zero shots.": "nothing to compare"}}
    results = make_results(recipe, make_run("head", 0, GOOD), make_run("digits", 0, BAD))
    page = overview_page({"tiny": recipe, "other": other}, {"tiny": results})
    assert "**26 minutes of computing in all.**" in page
    assert "| [tiny](tiny.md) | Tiny | 2 of 4 runs | 26 |" in page
    assert "| other | Other | not run yet |  |" in page
    assert f"| The head is better. | figure 5 | not available | other | {NOT_RUN} | {NOT_RUN} |" in page
    assert REPRODUCED_ONCE in page and "every seed" not in page
    assert "| A claim on zero shots. |  | not available | other | nothing to compare | not compared |" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.0, "1"),
        (12.345, "12.3"),
        (126.44, "126.4"),
        (0.00004, "0.00004"),
        (3.2e-7, "3.2e-07"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert show_number(value) == text
