"""Loading that makes up no weights: transformers puts random ones where a checkpoint has none, and only warns."""

from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel


def refuse_missing(source: object, missing: Collection[str]) -> None:
    """`ValueError` if weights are `missing` (names) from the checkpoint `source`."""
    if missing:
        raise ValueError(
            f"{source} lacks {len(missing)} weights, among them {min(missing)}: fetch or save the checkpoint again. "
            "(from_pretrained with output_loading_info=True puts random ones in their place, and returns their names.)"
        )


def refuse_mismatched(source: object, mismatched: Collection[tuple[str, Any, Any]]) -> None:
    """`ValueError` if weights are `mismatched`: (name, shape in the checkpoint `source`, shape in the model)."""
    if mismatched:
        name, there, wanted = min((name, tuple(there), tuple(wanted)) for name, there, wanted in mismatched)
        raise ValueError(
            f"{source} has {len(mismatched)} weights of another shape than config.json asks for, among them {name}: "
            f"{there}, not {wanted}. Put back the config.json that was saved with these weights."
        )


def refuse_unexpected(source: object, unexpected: Collection[str]) -> None:
    """`ValueError` if the checkpoint `source` has weights (names) that the model has no place for."""
    if unexpected:
        raise ValueError(
            f"{source} has {len(unexpected)} weights that config.json has no place for, among them "
            f"{min(unexpected)}: put back the config.json that was saved with these weights."
        )


def damaged_weights(source: object, error: SafetensorError) -> ValueError:
    """The error of weights that cannot be read, with the name of the damaged file where `source` is a folder."""
    for path in sorted(Path(str(source)).glob("*.safetensors")):
        try:
            with safe_open(path, "pt"):  # reads the header, which says how long the file must be
                pass
        except SafetensorError:
            return ValueError(f"{path} is damaged ({error}): fetch or save the checkpoint again.")
    return ValueError(
        f"the weights of {source} are damaged ({error}): delete them from the cache and fetch them again."
    )


class CompleteLoadingMixin(PreTrainedModel):
    """A model that is loaded whole or not at all, from safetensors."""

    # A tower is also loaded from the folder of its pre-training, which has weights of more than the tower.
    _refuses_unexpected: ClassVar[bool] = False

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike | None,
        *model_args: Any,
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        **kwargs: Any,
    ) -> Self:
        """transformers' method, which refuses a checkpoint that does not have exactly the model's weights.

        With `output_loading_info` there is a tuple of the model and transformers' report, and nothing is refused: who
        asks for the report is to judge what is in it. Pickled weights (`.bin`) are read only with
        `use_safetensors=False` or a report.

        Raises:
            `ValueError`: If weights are damaged, missing, of another shape (unless `ignore_mismatched_sizes`) or, for
                the whole model, too many. The message names the file or folder, and one of the weights.
            `OSError`: If there is no such checkpoint, or no `*.safetensors` in it.
        """
        source = pretrained_model_name_or_path
        kwargs["output_loading_info"] = True
        if output_loading_info:
            return super().from_pretrained(
                source, *model_args, ignore_mismatched_sizes=ignore_mismatched_sizes, **kwargs
            )
        kwargs = {"use_safetensors": True} | kwargs
        try:
            # Mismatches are ignored for the report alone: transformers' own error does not say which weight.
            loaded = super().from_pretrained(source, *model_args, ignore_mismatched_sizes=True, **kwargs)
        except SafetensorError as error:
            raise damaged_weights(source, error) from error
        model, report = cast(tuple[Self, dict[str, Any]], loaded)
        refuse_missing(source, _without_shared(model, report["missing_keys"]))
        if not ignore_mismatched_sizes:
            refuse_mismatched(source, report["mismatched_keys"])
        if cls._refuses_unexpected:
            refuse_unexpected(source, report["unexpected_keys"])
        return model


def _without_shared(model: PreTrainedModel, missing: Collection[str]) -> set[str]:
    """Names in `missing` of parameters that have no other name under which they were loaded.

    PEFT's trained tokens of an output layer that is tied to the embedding are in the adapter's file but once.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    loaded = {id(parameter) for name, parameter in parameters.items() if name not in missing}
    return {name for name in missing if name not in parameters or id(parameters[name]) not in loaded}


__all__ = ["CompleteLoadingMixin", "refuse_missing"]
