"""A run of `sft.py`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor

from ..evaluation import metric_text
from ..inference import Predictor
from ..merge_adapter import merge_adapter
from ..run_clock import SECONDS, RunClock
from ..scene_trainer import LOSS_PARTS
from ..sft import train
from .callbacks import CURVE, CurveScores, ProgressLines, Scores
from .data import load_rows
from .plan import Folders, Run, sft_arguments
from .recipe import Curve, Recipe
from .scoring import score
from .trained import Trained

_LOSSES = ("loss", *LOSS_PARTS)


def train_sft(run: Run, recipe: Recipe, folders: Folders) -> Trained:
    """Train, going on from the last checkpoint; a finished training is loaded.

    It answers on the device and in the precision of its training.
    """
    arguments, training_arguments, model_arguments = sft_arguments(run, recipe, folders)
    training_arguments.disable_tqdm = True
    callbacks: list[TrainerCallback] = [RunClock(), ProgressLines(run.name)]
    if recipe.curve is not None:
        callbacks.append(CurveScores(recipe.curve.every, _curve_score(recipe.curve, recipe, folders)))
    train(arguments, training_arguments, model_arguments, callbacks)
    folder = folders.runs / run.name / "model"
    whole = _merged(folder) if model_arguments.use_peft else folder
    predictor = Predictor.load(str(whole), None, str(training_arguments.device), model_arguments.dtype)
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    log = state["log_history"]
    return Trained(
        answer=lambda split: _answer(predictor, load_rows(recipe.data, folders.data, split), recipe.eval_batch_size),
        parameters=predictor.model.num_parameters(),
        steps=state["global_step"],
        minutes=max(entry.get(SECONDS, 0.0) for entry in log) / 60,
        losses=_losses(log),
        curve={str(entry["step"]): entry[CURVE] for entry in log if CURVE in entry},
    )


def _merged(adapter: Path) -> Path:
    """A whole checkpoint of the adapter, beside it; written anew, since a kill may have left half of one."""
    folder = adapter.parent / "merged"
    merge_adapter(str(adapter), folder)
    return folder


def _curve_score(
    curve: Curve, recipe: Recipe, folders: Folders
) -> Callable[[IGLLMForSceneProgram, IGLLMProcessor], dict[str, Scores]]:
    rows = {split: load_rows(recipe.data, folders.data, split, curve.scenes) for split in curve.splits}

    def score_now(model: IGLLMForSceneProgram, processor: IGLLMProcessor) -> dict[str, Scores]:
        scores = {}
        for split, part in rows.items():
            texts = _answer(Predictor(model, processor), part, recipe.eval_batch_size)
            found = score(texts, part["program"][:], split)
            scores[split] = {name: found[f"strict/{name}"] for name in curve.scores}
        return scores

    return score_now


def _answer(predictor: Predictor, rows: Dataset, batch_size: int) -> list[str]:
    texts: list[str] = []
    for start in range(0, len(rows), batch_size):
        images = rows[start : start + batch_size]["image"]
        texts += [metric_text(prediction) for prediction in predictor.predict(images, batch_size)]
    return texts


def _losses(log: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Step -> losses, as they were logged."""
    return {
        str(entry["step"]): {name: round(float(entry[name]), 5) for name in _LOSSES if name in entry}
        for entry in log
        if "loss" in entry
    }
