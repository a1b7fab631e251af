"""`igllm evaluate`: predict a split of a built dataset and score it with the project's metric."""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evaluate as evaluate_library
from datasets import Dataset
from tqdm import tqdm

from dataset_builders.camera import Camera
from modeling_igllm import ScenePrediction, SceneProgram, format_program, parse_program

from .camera_space import camera_space_scores, check_clevr_scenes, load_cameras
from .errors import CommandError
from .inference import Predictor
from .scene_rows import load_scene_rows

METRIC = Path(__file__).resolve().parent.parent / "metrics" / "scene_program"


def run_evaluate(parsed: argparse.Namespace) -> int:
    """Print a table of scores and, with --out, write them as JSON; those of pictures afterwards."""
    rows = load_scene_rows(parsed.dataset, parsed.config, parsed.split)
    cameras = _load_what_else_is_needed(parsed, [parse_program(text) for text in rows["program"]])
    predictor = Predictor.load(
        parsed.model, parsed.revision, parsed.device, parsed.dtype, not parsed.no_grammar, parsed.view_shift
    )
    predictions, measured = evaluate_rows(predictor, rows, parsed.split, parsed.batch_size)
    scores = measured.pop("scores")
    if cameras is not None:
        scores |= evaluate_cameras(predictions, rows, cameras)
    report = {
        "model": parsed.model,
        "dataset": parsed.dataset,
        "config": parsed.config,
        "split": parsed.split,
        **measured,
    }
    _tell(scores, report, parsed.out)
    if parsed.image_space:  # rendering takes hours, and a scene may fail: what is above is told by then
        pictures = _image_space_scores(predictions, rows, parsed.meshes)
        _tell(pictures, {**report, "scores": json_scores(scores)}, parsed.out)
    return 0


def _tell(scores: dict[str, Any], report: dict[str, Any], out: Path | None) -> None:
    """Print scores, and write the report with them beside those that it has."""
    print(format_scores(scores, report["scenes"]))
    if out is not None:
        write_report(out, {**report, "scores": {**report.get("scores", {}), **json_scores(scores)}})


def _load_what_else_is_needed(parsed: argparse.Namespace, references: list[SceneProgram]) -> list[Camera] | None:
    """The cameras if they are asked for; CommandError for what could not be done after hours of predicting."""
    if parsed.out is not None and (parsed.out.is_dir() or not parsed.out.parent.is_dir()):
        raise CommandError(f"cannot write {parsed.out}: --out must be a file in a folder that is there")
    if parsed.image_space:
        from .image_space import check_scenes_can_be_drawn  # torchmetrics takes seconds

        check_scenes_can_be_drawn(references, parsed.meshes)
    if not parsed.camera_space:
        return None
    check_clevr_scenes(references)
    return load_cameras(parsed.dataset, parsed.config, parsed.split)


def evaluate_rows(
    predictor: Predictor, rows: Dataset, split: str, batch_size: int
) -> tuple[list[ScenePrediction], dict[str, Any]]:
    """Predict and score rows of `split`, or of a slice of it.

    Returns:
        The predictions, and what was measured: `scenes`, `grammar`, `view_shift`, `truncated` (answers that a limit
        ended, named on standard error), `seconds_per_image` and `scores`, which may be NaN.
    """
    start = time.monotonic()
    predictions = predict_rows(predictor, rows, batch_size)
    seconds = time.monotonic() - start
    truncated = sum(prediction.truncated for prediction in predictions)
    if truncated:
        print(f"igllm evaluate: a limit ended {truncated} of {len(rows)} outputs", file=sys.stderr)
    texts = [metric_text(prediction) for prediction in predictions]
    return predictions, {
        "scenes": len(rows),
        "grammar": predictor.use_grammar,
        "view_shift": predictor.view_shift,
        "truncated": truncated,
        "seconds_per_image": seconds / len(rows),
        "scores": score_texts(texts, list(rows["program"]), split),
    }


def evaluate_cameras(predictions: list[ScenePrediction], rows: Dataset, cameras: Sequence[Camera]) -> dict[str, float]:
    """Return `camera_space_scores` at the size of the dataset's pictures."""
    references = [parse_program(text) for text in rows["program"]]
    scenes = [prediction.scene for prediction in predictions]
    return camera_space_scores(scenes, references, cameras, rows[0]["image"].size)


def predict_rows(predictor: Predictor, rows: Dataset, batch_size: int) -> list[ScenePrediction]:
    """Return the predictions for the images of `rows`."""
    predictions: list[ScenePrediction] = []
    for start in tqdm(range(0, len(rows), batch_size), desc="predict", unit="batch"):
        predictions += predictor.predict(rows[start : start + batch_size]["image"], batch_size)
    return predictions


def metric_text(prediction: ScenePrediction) -> str:
    """Return the program as the metric reads it, with 6d rotations; one that does not parse is as it came."""
    return prediction.text if prediction.scene is None else format_program(prediction.scene.with_rotation("6d"))


def score_texts(texts: list[str], references: list[str], split: str) -> dict[str, Any]:
    """Return every score of the project's metric for predicted and true programs of `split`, or of a slice of it."""
    unseen_shapes = split.partition("[")[0] == "val_ood_shape"
    metric = evaluate_library.load(str(METRIC))
    return metric.compute(predictions=texts, references=references, unseen_shapes=unseen_shapes)


def json_scores(scores: dict[str, Any]) -> dict[str, float | None]:
    """Return the scores with null for NaN (undefined on this data) and infinity: JSON has neither."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def format_scores(scores: dict[str, Any], num_scenes: int) -> str:
    """Return a table: one line per score, with its 95 % interval where the metric gives one."""
    lines = [f"{'score':32}{'value':>10}   95 % interval ({num_scenes} scenes)"]
    for name, value in scores.items():
        if name.endswith(("_lo", "_hi")):
            continue
        interval = f"   [{scores[f'{name}_lo']:.3f}, {scores[f'{name}_hi']:.3f}]" if f"{name}_lo" in scores else ""
        lines.append(f"{name:32}{value:>10.3f}{interval}")
    return "\n".join(lines)


def _image_space_scores(predictions: list[ScenePrediction], rows: Dataset, meshes: Path | None) -> dict[str, float]:
    """Return the scores of the rendered programs, at the size of the dataset's pictures."""
    from .image_space import image_space_scores  # torchmetrics takes seconds

    references = [parse_program(text) for text in rows["program"]]
    scenes = [prediction.scene for prediction in predictions]
    return image_space_scores(scenes, references, rows[0]["image"].size, meshes)


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON; CommandError if that cannot be done."""
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
