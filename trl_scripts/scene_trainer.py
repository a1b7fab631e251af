"""TRL's `SFTTrainer` with the numeric loss in it.

Every built-in `loss_type` of `SFTTrainer` computes its loss from a fused forward pass over the backbone and never
calls the model's own `forward`: a numeric head would get no gradient, and nothing would say so.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn

from modeling_igllm import IGLLMForSceneProgram

from .hub_trainer import HubSFTTrainer


class SceneSFTTrainer(HubSFTTrainer):
    """`SFTTrainer` that trains on `IGLLMForSceneProgram`'s own loss, cross-entropy + float_w * number loss.

    Both parts are averaged over the whole accumulated batch, so that gradient accumulation does not change the
    gradients, and logged apart as `ce_loss` and `number_loss`.
    """

    _numbers_in_batch: torch.Tensor | None = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Check that the numeric head learns at all, then train as `SFTTrainer` does."""
        check_number_head_learns(self.accelerator.unwrap_model(self.model), next(iter(self.get_train_dataloader())))
        return super().train(*args, **kwargs)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Collect the micro-batches of one step, and count their numbers as the base class counts their tokens."""
        batches, num_items_in_batch = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._numbers_in_batch = self._count_numbers(batches, device)
        return batches, num_items_in_batch

    def _count_numbers(self, batches: list[Any], device: torch.device) -> torch.Tensor | None:
        """Count the number tokens of all micro-batches on all devices; None for a digit-text model."""
        num_token_id = self.accelerator.unwrap_model(self.model).config.num_token_id
        if num_token_id is None:
            return None
        count = sum(((batch["labels"] == num_token_id).sum() for batch in batches), torch.tensor(0)).to(device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            count = self.accelerator.gather(count).sum()
        return count.clamp(min=1)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the model's own loss, and its outputs when asked for."""
        counts = {}
        if model.training:
            counts = {"num_items_in_batch": num_items_in_batch, "number_loss_denominator": self._numbers_in_batch}
        outputs = model(**inputs, **counts, use_cache=False)
        loss = outputs.loss
        if model.training and self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The counts are of all devices, and data parallelism averages the gradients over them.
            loss = loss * self.accelerator.num_processes
        mode = "train" if model.training else "eval"
        for name, value in (("ce_loss", outputs.ce_loss), ("number_loss", outputs.number_loss)):
            if value is not None:  # a digit-text model has no numbers
                self._log_part(mode, name, value)
        return (loss, outputs) if return_outputs else loss

    def _log_part(self, mode: str, name: str, value: torch.Tensor) -> None:
        # A micro-batch holds a share of the accumulated mean: their sum is the mean itself.
        steps = self.current_gradient_accumulation_steps if mode == "train" else 1
        self._metrics[mode][name].append(float(value.detach()) * steps)


def check_number_head_learns(model: nn.Module, batch: dict[str, Any]) -> None:
    """Make one backward pass and see that the number loss is there and reaches every parameter of the head.

    The gradients are thrown away.

    Raises:
        RuntimeError: if the batch yields no number loss or a head parameter gets no gradient. A model without a
            numeric head passes.
    """
    base = cast(IGLLMForSceneProgram, model.get_base_model() if isinstance(model, PeftModel) else model)
    if base.numeric_head is None:
        return
    was_training = model.training
    model.eval()  # no dropout, no change of batch statistics
    outputs = model(**{name: value.to(base.device) for name, value in batch.items()})
    outputs.loss.backward()
    dead = [
        name
        for name, parameter in base.numeric_head.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    trained = any(parameter.requires_grad for parameter in base.numeric_head.parameters())
    model.zero_grad()
    model.train(was_training)
    if outputs.number_loss is None or not outputs.number_loss > 0 or dead or not trained:
        raise RuntimeError(
            f"the numeric head would not learn: number loss {outputs.number_loss}, parameters without a gradient: "
            f"{dead or 'all of them are frozen'}. Check that the labels hold [NUM] and that the head is trainable."
        )
