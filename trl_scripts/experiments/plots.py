"""Plots of an experiment, drawn from its JSON alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: there is no display
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..errors import CommandError
from .claims import interval
from .results import Results

DPI = 110
_CELLS = 8  # of the two_d checkerboard, per side
_SIZES_PANELS = 3
_LOG_RATIO = 100
_SHOWN_POINTS = 250
_COLUMNS = 5  # panels in a row
_BIN_DEGREES = 4.0


def draw_plots(results: Results, folder: Path) -> dict[str, str]:
    """Draw the plots that the recipe names and whose runs are there; returns caption -> file name in `folder`."""
    drawn = {}
    for kind in results["recipe"]["plots"]:
        if not results["runs"] or (kind == "curve" and not _curve_panels(results)):
            continue
        figure, caption = _DRAW[kind](results)
        name = f"{results['experiment']}_{kind}.png"
        figure.savefig(folder / name, dpi=DPI, bbox_inches="tight")
        plt.close(figure)
        drawn[caption] = name
    return drawn


def _curve(results: Results) -> tuple[Figure, str]:
    """Scores against training steps, a line for every run (the paper's figure 5 e)."""
    panels = _curve_panels(results)
    figure, axes = _panels(len(panels))
    for (split, score), axis in zip(panels, axes, strict=True):
        for run in results["runs"]:
            points = [(int(step), scores[split][score]) for step, scores in run["curve"].items()]
            defined = np.array([point for point in points if point[1] is not None]).reshape(-1, 2)
            axis.plot(defined[:, 0], defined[:, 1], color=_color(results, run), alpha=_alpha(run), label=_label(run))
        axis.set(title=f"{score}, {split}", xlabel="training steps", ylabel=score, yscale="log")
    _legend(figure, axes)
    scenes = results["recipe"]["curve"]["scenes"]
    return figure, f"Scores in the course of training, on the first {scenes} scenes of each split."


def _curve_panels(results: Results) -> list[tuple[str, str]]:
    """(split, score) of what is defined at some step of some run; the baseline has no such scores."""
    curve = results["recipe"]["curve"]
    return [(split, score) for split in curve["splits"] for score in curve["scores"] if _has(results, split, score)]


def _has(results: Results, split: str, score: str) -> bool:
    curves = [scores for run in results["runs"] for scores in run["curve"].values()]
    return any(scores[split][score] is not None for scores in curves)


def _scatter(results: Results) -> tuple[Figure, str]:
    """True and predicted positions of `val_ood`, one panel for each arm (the paper's figure 5 b and c)."""
    runs = first_seed(results)
    figure, axes = _panels(len(runs), width=4.4, height=4.4)
    for run, axis in zip(runs, axes, strict=True):
        for column in range(0, _CELLS, 2):
            for row in range(0, _CELLS, 2):
                axis.add_patch(Rectangle((column / _CELLS, row / _CELLS), 1 / _CELLS, 1 / _CELLS, color="0.9"))
        points = np.array(_details(results, run, "val_ood", "points")).reshape(-1, 4)[:_SHOWN_POINTS]
        axis.plot(points[:, [0, 2]].T, points[:, [1, 3]].T, color="0.6", linewidth=0.5, zorder=1)
        axis.scatter(points[:, 0], points[:, 1], s=8, color="tab:red", label="truth", zorder=2)
        axis.scatter(points[:, 2], points[:, 3], s=8, color="tab:blue", label="prediction", zorder=3)
        axis.set(title=_label(run), xlim=(-0.05, 1.05), ylim=(1.05, -0.05), aspect="equal", xlabel="x", ylabel="y")
    _legend(figure, axes)
    return (
        figure,
        f"True (red) and predicted (blue) positions of `val_ood`, first {_SHOWN_POINTS} scenes; trained cells grey.",
    )


def _sizes(results: Results) -> tuple[Figure, str]:
    """The first scores of the tables against the number of training scenes (the paper's figure 4)."""
    recipe = results["recipe"]
    scores, split = recipe["scores"][:_SIZES_PANELS], recipe["splits"][0]
    figure, axes = _panels(len(scores))
    for score, axis in zip(scores, axes, strict=True):
        ends = _draw_sizes(axis, results, split, score)
        axis.set(xscale="log", xlabel="training scenes", ylabel=score, title=f"{score}, {split}")
        axis.set_xticks(recipe["train_sizes"], [str(size) for size in recipe["train_sizes"]])
        axis.minorticks_off()
        if ends and max(ends) > _LOG_RATIO * min(ends) > 0:
            axis.set_yscale("log")  # a few wild numbers would make every other difference invisible
    _legend(figure, axes)
    names = ", ".join(f"`{score}`" for score in scores)
    return figure, f"{names} on `{split}` by the number of training scenes, with 95 % intervals."


def _draw_sizes(axis: Axes, results: Results, split: str, score: str) -> list[float]:
    """Draw a line for every arm and seed; returns the ends of their intervals."""
    ends: list[float] = []
    for arm in results["recipe"]["arms"]:
        for seed in sorted({run["seed"] for run in results["runs"]}):  # an arm may have seeds of its own
            runs = [run for run in results["runs"] if (run["group"], run["seed"]) == (arm, seed)]
            found = [(run["train_scenes"], values) for run in runs if (values := interval(run, split, score))]
            if not found:
                continue
            sizes = [size for size, _ in found]
            ends += [end for _, values in found for end in values[1:]]
            middle, low, high = (np.array(column) for column in zip(*[values for _, values in found], strict=True))
            style: dict[str, Any] = {"color": _color(results, runs[0]), "alpha": _alpha(runs[0]), "capsize": 3}
            axis.errorbar(sizes, middle, [middle - low, high - middle], label=_label(runs[0]), marker="o", **style)
    return ends


def _distance(results: Results) -> tuple[Figure, str]:
    """Rotation error against the distance to the nearest training rotation."""
    figure, axes = _panels(1, width=6.0)
    for run in first_seed(results):
        pairs = np.concatenate(
            [np.array(_details(results, run, split, "rotations")).reshape(-1, 2) for split in run["splits"]]
        )
        bins = np.floor(pairs[:, 0] / _BIN_DEGREES).astype(int)
        centers = [(number + 0.5) * _BIN_DEGREES for number in np.unique(bins)]
        medians = [float(np.median(pairs[bins == number, 1])) for number in np.unique(bins)]
        axes[0].plot(centers, medians, marker="o", color=_color(results, run), label=_label(run))
    axes[0].set(xlabel="degrees to the nearest training rotation", ylabel="median error in degrees", ylim=(0, None))
    _legend(figure, axes)
    return figure, f"Rotation error by distance to the training set, all splits, in bins of {_BIN_DEGREES:g} degrees."


def _confusion(results: Results) -> tuple[Figure, str]:
    """Predicted shape by true shape and colour, of the last split (out of distribution)."""
    split = results["recipe"]["splits"][-1]
    runs = first_seed(results)
    figure, axes = _panels(len(runs), width=2.4, height=4.6)
    columns = ["cube", "cylinder", "sphere", "none"]
    for run, axis in zip(runs, axes, strict=True):
        counts = _details(results, run, split, "shape_by_color")
        shares = np.array([[row.get(name, 0) / sum(row.values()) for name in columns] for row in counts.values()])
        axis.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            axis.text(
                column,
                row,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=6,
                color="white" if share > 0.5 else "black",
            )
        axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
        axis.set_yticks(
            range(len(counts)), list(counts) if axis in axes[::_COLUMNS] else [""] * len(counts), fontsize=8
        )
        axis.set_title(_label(run), fontsize=9)
    return figure, f"Predicted shape (columns, %) by true shape and colour (rows) on `{split}`."


def _bars(results: Results) -> tuple[Figure, str]:
    """Every score of the tables as bars, a panel for each score, a group of bars for each split."""
    recipe = results["recipe"]
    runs, splits = first_seed(results), recipe["splits"]
    figure, axes = _panels(len(recipe["scores"]), width=0.1 * len(runs) * len(splits) + 2.0, height=2.6)
    for score, axis in zip(recipe["scores"], axes, strict=True):
        for place, run in enumerate(runs):
            for number, split in enumerate(splits):
                if (values := interval(run, split, score)) is None:
                    continue
                value, low, high = values
                at = number + (place + 0.5) / (len(runs) + 2)
                axis.bar(
                    at,
                    value,
                    0.9 / (len(runs) + 2),
                    color=_color(results, run),
                    label=_label(run) if number == 0 else None,
                )
                axis.errorbar(at, value, [[value - low], [high - value]], color="black", linewidth=0.8)
        # Names of splits are long, panels narrow.
        names = [split.replace("_ood_", "_ood\n") for split in splits]
        middle = 0.5 * len(runs) / (len(runs) + 2)
        axis.set_xticks([number + middle for number in range(len(splits))], names, fontsize=7)
        axis.set_title(score, fontsize=9)
        axis.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure, "The scores of the tables with 95 % intervals, first seed."


_DRAW: dict[str, Callable[[Results], tuple[Figure, str]]] = {
    "curve": _curve,
    "scatter": _scatter,
    "sizes": _sizes,
    "distance": _distance,
    "confusion": _confusion,
    "bars": _bars,
}


def _panels(count: int, width: float = 5.0, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `_COLUMNS` in a row."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    size = (width * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    panels = list(axes.flat)
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels[:count]


def _legend(figure: Figure, axes: list[Axes]) -> None:
    """Beside the panels, each label once."""
    found = [axis.get_legend_handles_labels() for axis in axes]
    by_label = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    figure.legend(by_label.values(), by_label, fontsize=8, loc="outside right upper", frameon=False)


def first_seed(results: Results) -> list[dict[str, Any]]:
    """The runs of the first seed that is there, of the largest training size that is there of it."""
    seed = min(run["seed"] for run in results["runs"])
    runs = [run for run in results["runs"] if run["seed"] == seed]
    size = max(run["train_scenes"] for run in runs)
    return [run for run in runs if run["train_scenes"] == size]


def _details(results: Results, run: dict[str, Any], split: str, name: str) -> Any:
    """What `scoring.plot_details` has kept for this plot; CommandError for a family of which it keeps nothing such."""
    details = run["splits"][split]["details"]
    if name not in details:
        family = results["recipe"]["data"]["family"]
        raise CommandError(
            f"no plot of {name} can be drawn of the family {family!r}: leave it out of the recipe's plots"
        )
    return details[name]


def _color(results: Results, run: dict[str, Any]) -> Any:
    arms = list(results["recipe"]["arms"])
    colors = plt.get_cmap("tab10" if len(arms) <= 10 else "tab20")
    return colors(arms.index(run["group"]) % colors.N)


def _alpha(run: dict[str, Any]) -> float:
    return max(0.35, 1 - 0.4 * run["seed"])


def _label(run: dict[str, Any]) -> str:
    return f"{run['group']}, seed {run['seed']}"
