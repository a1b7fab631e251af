"""Loading that makes up no weights: transformers puts random ones where a checkpoint has none, and only warns."""

from collections.abc import Collection
from os import PathLike
from typing import Any, Self, cast

from transformers import PreTrainedModel


def refuse_missing(source: object, missing: Collection[str]) -> None:
    """`ValueError` if weights are `missing` (names) from the checkpoint `source`."""
    if missing:
        raise ValueError(
            f"{source} lacks {len(missing)} weights, among them {min(missing)}: fetch or save the checkpoint again. "
            "(from_pretrained with output_loading_info=True puts random ones in their place, and returns their names.)"
        )


class CompleteLoadingMixin(PreTrainedModel):
    """A model that is loaded whole or not at all."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike | None,
        *model_args: Any,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Self:
        """transformers' method, which refuses a checkpoint that lacks weights.

        With `output_loading_info` there is a tuple of the model and transformers' report, and nothing is refused: who
        asks for the report is to judge what is missing in it.

        Raises:
            `ValueError`: If weights are missing.
        """
        loaded = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
        )
        if output_loading_info:
            return loaded
        model, report = cast(tuple[Self, dict[str, Any]], loaded)
        refuse_missing(pretrained_model_name_or_path, report["missing_keys"])
        return model


__all__ = ["CompleteLoadingMixin", "refuse_missing"]
