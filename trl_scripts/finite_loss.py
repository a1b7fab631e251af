"""Training that stops at the step whose loss is no number, and keeps the batch for whoever looks for the reason.

`Trainer` itself would log the mean of earlier losses in its place, and go on with weights that are lost.
"""

import json
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer

from .errors import CommandError

ROW_INDEX = "row_index"
"""Where a batch holds the numbers of its rows, (B,) int64; `FiniteLossTrainer` takes it out again."""


class NonFiniteLossError(CommandError):
    """A loss or gradient was NaN or infinite; the message names the file of the batch."""


class FiniteLossTrainer(Trainer):
    """Trainer that stops before a step whose loss or gradient is NaN or infinite.

    Rows of the training data should have an `index`, their number in the dataset.

    Raises:
        NonFiniteLossError: then. `non_finite_step_<N>.json` in the output folder names the rows of the micro-batch (of
            the whole step, if it is the gradient), `.safetensors` holds the tensors of the (last) micro-batch. The
            weights of that step are not saved.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data_collator = _WithRowIndex(self.data_collator)
        self._rows: list[int] = []  # of the micro-batch at hand
        self._step_rows: list[int] = []  # of the step so far
        self._inputs: dict[str, Any] = {}

    @abstractmethod
    def row_record(self, index: int) -> dict[str, Any]:
        """What to save of a row of the training data, as JSON."""

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """As of `Trainer`, once for each step."""
        self._step_rows = []
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        kept = dict(inputs)
        self._rows = kept.pop(ROW_INDEX, torch.tensor([], dtype=torch.int64)).tolist()
        self._inputs = super()._prepare_inputs(kept)
        return self._inputs

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As of `Trainer`; looks at the loss."""
        loss = super().training_step(*args, **kwargs)
        self._step_rows += self._rows
        if not loss.isfinite():
            self._stop("loss", float(loss), self._rows)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        # A gradient scaler (float16) skips steps of infinite gradients by itself.
        if self.accelerator.scaler is None and not math.isfinite(float(norm)):
            self._stop("gradient", float(norm), self._step_rows)
        return norm

    def _stop(self, what: str, value: float, rows: Sequence[int]) -> None:
        step = self.state.global_step + 1
        rank = f"_rank_{self.args.process_index}" if self.args.world_size > 1 else ""
        path = Path(str(self.args.output_dir)) / f"non_finite_step_{step}{rank}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        records = [{"index": index, **self.row_record(index)} for index in rows]
        content = {"step": step, "epoch": self.state.epoch, what: str(value), "rows": records}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        save_file(dict(_named_tensors(self._inputs)), path.with_suffix(".safetensors"))
        raise NonFiniteLossError(
            f"the {what} of step {step} is {value}: training has stopped before it; its rows are in {path}, its "
            "tensors beside it. Look at them, or train with a lower --learning_rate in another --output_dir"
        )


class _WithRowIndex:
    """Adds the rows' numbers to a collator's batches; rows without `index` are let pass."""

    def __init__(self, collator: Callable[[list[Any]], dict[str, Any]]) -> None:
        self.collator = collator

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        batch = self.collator(rows)
        return {**batch, ROW_INDEX: torch.tensor([row["index"] for row in rows])} if "index" in rows[0] else batch


def _named_tensors(inputs: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a batch by name; of dictionaries in it as `targets.heatmap`."""
    for name, value in inputs.items():
        if isinstance(value, dict):
            yield from _named_tensors(value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value.detach().cpu().contiguous().clone()
