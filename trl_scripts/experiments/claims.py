"""A published claim beside what was measured here."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from .results import Results

REPRODUCED = "reproduced: the intervals are apart in every seed"
REPRODUCED_ONCE = "reproduced in one seed: the intervals are apart"
DIRECTION = "same direction, but the intervals overlap"
MIXED = "same direction on average, but not in every seed"
GAP_CLOSES = "same direction: the gap is smaller"
GAP_UNSURE = "same direction, but the intervals overlap at the smaller size"
NOT_REPRODUCED = "not reproduced at this scale"
UNDECIDED = "not decided: the score is not defined in every seed"
NOT_RUN = "not run yet"

Interval = tuple[float, float, float]
"""A score with the lower and upper end of its 95 % interval."""

# A seed, and the intervals of the arm that is claimed to be better and of the other one.
_Pair = tuple[int, Interval, Interval]
_Found = tuple[int, Interval | None, Interval | None]


def judge(claim: dict[str, Any], results: Results | None) -> tuple[str, str]:
    """What was measured, in words, and the verdict: one of the constants of this file.

    A claim says that one arm scores better than another, and is judged seed by seed by their 95 % intervals; or that
    their gap closes with more training scenes, which is judged by the mean gap over the seeds that both sizes have,
    and by the intervals at the smaller size: where they overlap, there may have been no gap.
    Both arms answer for the same scenes, which the intervals do not use: intervals that are apart show a difference,
    those that overlap do not show that there is none.

    Args:
        claim: a `Claim` as the JSON holds it.
        results: of its experiment, None if there are none.
    """
    found = [] if results is None else _pairs(claim, results, claim["train_scenes"])
    if results is None or not found:
        return NOT_RUN, NOT_RUN
    if claim["gap_closes_from"] is not None:
        return _judge_gap(claim, found, _pairs(claim, results, claim["gap_closes_from"]))
    pairs = _defined(found)
    if len(pairs) < len(found):
        return _describe(claim, found), UNDECIDED
    sign = 1 if claim["higher"] else -1
    gains = [sign * (better[0] - worse[0]) for _, better, worse in pairs]
    if all(_apart(better, worse, claim["higher"]) for _, better, worse in pairs):
        verdict = REPRODUCED if len(pairs) > 1 else REPRODUCED_ONCE
    elif sum(gains) <= 0:
        verdict = NOT_REPRODUCED
    else:
        verdict = DIRECTION if min(gains) > 0 else MIXED
    return _describe(claim, pairs), verdict


def _judge_gap(claim: dict[str, Any], after: list[_Found], before: list[_Found]) -> tuple[str, str]:
    seeds = {seed for seed, *_ in after} & {seed for seed, *_ in before}
    if not seeds:
        return NOT_RUN, NOT_RUN
    after, before = ([pair for pair in found if pair[0] in seeds] for found in (after, before))
    if len(_defined(after)) + len(_defined(before)) < 2 * len(seeds):
        return _describe(claim, before + after), UNDECIDED
    now, then = (mean(abs(better[0] - worse[0]) for _, better, worse in _defined(part)) for part in (after, before))
    text = (
        f"`{claim['score']}` on `{claim['split']}`: a gap of {show_number(now)} between {claim['better']} and "
        f"{claim['worse']} after {claim['train_scenes']} scenes, of {show_number(then)} after "
        f"{claim['gap_closes_from']}"
    )
    if now >= then:
        return text, NOT_REPRODUCED
    had_gap = all(_apart(one, other, True) or _apart(one, other, False) for _, one, other in _defined(before))
    return text, GAP_CLOSES if had_gap else GAP_UNSURE


def _describe(claim: dict[str, Any], pairs: Sequence[_Found]) -> str:
    split, other = claim["split"], claim["worse_split"] or claim["split"]
    places = ("", "") if split == other else (f" on `{split}`", f" on `{other}`")
    texts = [
        f"seed {seed}: {claim['better']}{places[0]} {show_interval(better)}, "
        f"{claim['worse']}{places[1]} {show_interval(worse)}"
        for seed, better, worse in pairs
    ]
    where = f" on `{split}`" if split == other else ""
    return f"`{claim['score']}`{where}: {'; '.join(texts)}"


def interval(run: dict[str, Any], split: str, score: str) -> Interval | None:
    """Value and 95 % interval of a strict score of a run; None where it is not defined."""
    scores = run["splits"][split]["scores"]
    value = scores.get(f"strict/{score}")
    if value is None:
        return None
    return value, scores[f"strict/{score}_lo"], scores[f"strict/{score}_hi"]


def show_interval(values: Interval | None) -> str:
    """`0.0123 [0.0111, 0.0135]`, or `n/a`."""
    if values is None:
        return "n/a"
    return f"{show_number(values[0])} [{show_number(values[1])}, {show_number(values[2])}]"


def show_number(value: float) -> str:
    """Three significant digits, from 100 on one decimal; without an exponent down to 0.00001."""
    if abs(value) >= 100:
        return f"{value:.1f}"
    if abs(value) < 1e-5:
        return f"{value:.3g}"
    return f"{float(f'{value:.3g}'):.12f}".rstrip("0").rstrip(".")


def _pairs(claim: dict[str, Any], results: Results, train_scenes: int | None) -> list[_Found]:
    """Of every seed of which both arms were run; None where the score is not defined."""
    better = _by_seed(results, claim["better"], claim["split"], claim["score"], train_scenes)
    worse = _by_seed(results, claim["worse"], claim["worse_split"] or claim["split"], claim["score"], train_scenes)
    return [(seed, better[seed], worse[seed]) for seed in sorted(better.keys() & worse.keys())]


def _by_seed(
    results: Results, group: str, split: str, score: str, train_scenes: int | None
) -> dict[int, Interval | None]:
    return {
        run["seed"]: interval(run, split, score)
        for run in results["runs"]
        if run["group"] == group and train_scenes in (None, run["train_scenes"])
    }


def _defined(found: Sequence[_Found]) -> list[_Pair]:
    return [(seed, better, worse) for seed, better, worse in found if better is not None and worse is not None]


def _apart(better: Interval, worse: Interval, higher: bool) -> bool:
    return better[1] > worse[2] if higher else better[2] < worse[1]
