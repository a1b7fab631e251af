"""The card of a trained model: what it was trained on, for how long, with which settings, and how to use it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, hf_hub_download, metadata_load
from huggingface_hub.errors import EntryNotFoundError
from transformers import Trainer
from transformers.modelcard import extract_hyperparameters_from_trainer

TEMPLATE = Path(__file__).resolve().parent.parent / "model_cards" / "training.md"
TAGS = ("ig-llm", "inverse-graphics", "scene-program", "generated_from_trainer", "trl", "sft")
_OWN_LICENSE = "apache-2.0"
_LOSSES = ("loss", "ce_loss", "number_loss", "number_token_loss")
_SHOWN_LOSSES = (*_LOSSES, *(f"eval_{name}" for name in _LOSSES))


@dataclass(frozen=True)
class TrainingOrigin:
    """What a training begins with.

    Args:
        settings: what was asked for, by name; of a path only the last part is kept.
        dataset: Hub repository; None for a folder.
        base_model: Hub repository of the model that is fine-tuned; None for a folder or a new model.
        base_commit: its commit.
        license: of the base model, None if it names none that can be read. A new model has this project's.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    dataset: str | None = None
    base_model: str | None = None
    base_commit: str | None = None
    license: str | None = None


def read_origin(settings: Mapping[str, Any]) -> TrainingOrigin:
    """Describe a training by the arguments of `sft.py`, once the model that they name is loaded.

    Args:
        settings: with `dataset` and `model_name_or_path`, each a folder or a Hub repository, and `model_revision`.

    Raises:
        ValueError: if the base model's card has no readable head.
    """
    source = settings["model_name_or_path"]
    base_model = None if source is None else _hub_id(source)
    base_commit = None
    if base_model is not None:  # the cache names the folder of a snapshot after its commit
        base_commit = Path(hf_hub_download(base_model, "config.json", revision=settings["model_revision"])).parent.name
    return TrainingOrigin(
        settings={name: _without_folders(value) for name, value in settings.items() if value is not None},
        dataset=_hub_id(settings["dataset"]),
        base_model=base_model,
        base_commit=base_commit,
        license=_OWN_LICENSE if source is None else _read_license(source, base_commit),
    )


def training_card(trainer: Trainer, origin: TrainingOrigin, was_resumed: bool, name: str | None = None) -> ModelCard:
    """The card of a trainer's model as it is now, in training or after it.

    Args:
        was_resumed: whether the trainer's clock began at a checkpoint.
        name: title; the repository's or the output folder's name by default.
    """
    repository = trainer.hub_model_id or Path(str(trainer.args.output_dir)).absolute().name
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        license=origin.license,
        base_model=origin.base_model,
        datasets=origin.dataset and [origin.dataset],
        tags=list(TAGS),
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=name or repository.split("/")[-1],
        repository=repository,
        origin=origin,
        state=trainer.state,
        time=_time(trainer, was_resumed),
        losses=_last_losses(trainer.state.log_history),
        hyperparameters=_hyperparameters(trainer),
        versions={library: version(library) for library in ("transformers", "trl", "torch", "datasets")},
    )


def _hub_id(source: str) -> str | None:
    return None if Path(source).exists() else source


def _without_folders(value: object) -> object:
    return Path(value).absolute().name if isinstance(value, str) and Path(value).exists() else value


def _read_license(source: str, revision: str | None) -> str | None:
    card = Path(source) / "README.md"
    if not Path(source).is_dir():
        try:
            card = Path(hf_hub_download(source, card.name, revision=revision))
        except EntryNotFoundError:  # there is none, or we are offline and it was never fetched
            return None
    elif not card.is_file():
        return None
    return (metadata_load(card) or {}).get("license")


def _time(trainer: Trainer, was_resumed: bool) -> str | None:
    """Duration and machine; None before the end of training."""
    seconds = next((entry["train_runtime"] for entry in trainer.state.log_history if "train_runtime" in entry), None)
    if seconds is None:
        return None
    duration = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    since = " since it was last resumed" if was_resumed else ""
    return f"{duration}{since}, {trainer.args.world_size} x {trainer.args.device.type}"


def _last_losses(log_history: list[dict[str, float]]) -> dict[str, float]:
    last: dict[str, float] = {}
    for entry in log_history:
        last |= {name: entry[name] for name in _SHOWN_LOSSES if name in entry}
    return last


def _hyperparameters(trainer: Trainer) -> dict[str, object]:
    more = {name: getattr(trainer.args, name) for name in ("weight_decay", "max_grad_norm", "bf16")}
    return {**extract_hyperparameters_from_trainer(trainer), **more}
