"""TRL's `SFTTrainer` with the numeric loss in it.

Every built-in `loss_type` of `SFTTrainer` computes its loss from a fused forward pass over the backbone and never
calls the model's own `forward`: a numeric head would get no gradient, and nothing would say so.
"""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import nn
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.processing_igllm import IGNORE_INDEX

from .errors import CommandError
from .fair_pairs import PRIOR_ROWS, FairPairs
from .finite_loss import ROW_INDEX, FiniteLossTrainer
from .hub_trainer import HubSFTTrainer
from .length_sampler import StepwiseLengthSampler
from .number_token_loss import NumberTokenLoss
from .scene_collator import SceneCollator
from .whole_checkpoints import WholeCheckpointTrainer

LOSS_PARTS = ("ce_loss", "number_loss", "number_token_loss", "pair_loss")
"""Names under which `SceneSFTTrainer` logs the parts of its loss, as far as a model has them."""


class SceneSFTTrainer(FiniteLossTrainer, WholeCheckpointTrainer, HubSFTTrainer):
    """`SFTTrainer` that trains on `IGLLMForSceneProgram`'s own loss, cross-entropy + float_w * number loss.

    All parts are averaged over the whole accumulated batch, so that gradient accumulation does not change the
    gradients, and logged apart as `ce_loss`, `number_loss`, `number_token_loss` and `pair_loss`.

    Args:
        number_head_learning_rate: peak learning rate of the numeric head; that of the other weights by default.
            Published: ten times theirs.
        fair_pairs: the loss of colours and shapes; its collator has taken them out of the labels.
        number_token_loss_weight: of the `NumberTokenLoss` over the digits of a digit-text model; 0 is without it.
            The other arguments are those of `SFTTrainer`.

    Raises:
        ValueError: if that weight is negative or not finite.
        CommandError: if it is not 0 and the model writes no digits, or its tokenizer joins them; in training, if no
            scene has a number, a checkpoint cannot be written (`WholeCheckpointTrainer`) or the loss is NaN
            (`FiniteLossTrainer`).
    """

    _numbers_in_batch: torch.Tensor | None = None

    def __init__(
        self,
        *args: Any,
        number_head_learning_rate: float | None = None,
        number_token_loss_weight: float = 0.0,
        fair_pairs: FairPairs | None = None,
        **kwargs: Any,
    ) -> None:
        self.number_head_learning_rate = number_head_learning_rate
        self.number_token_loss_weight = number_token_loss_weight
        self.fair_pairs = fair_pairs
        super().__init__(*args, **kwargs)
        self.add_callback(_EpochCallback(kwargs["data_collator"]))
        self.number_token_loss = self._make_number_token_loss()
        if kwargs.get("peft_config") is not None:
            keep_new_adapter_in_float32(cast(PeftModel, self.model))

    @property
    def _model_config(self) -> IGLLMConfig:
        return cast(IGLLMConfig, self.accelerator.unwrap_model(self.model).config)

    def _make_number_token_loss(self) -> NumberTokenLoss | None:
        weight, config = self.number_token_loss_weight, self._model_config
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"number_token_loss_weight must be 0 or positive, got {weight}")
        if weight == 0:
            return None
        if config.number_head != "none":
            raise CommandError(
                f"number_token_loss_weight={weight} is for digit text, but the model has "
                f"number_head={config.number_head!r}: its numbers have no digits"
            )
        return NumberTokenLoss(cast(IGLLMProcessor, self.processing_class).tokenizer, config.text_config.vocab_size)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Check that the numeric head learns at all, then train as `SFTTrainer` does."""
        # Before FSDP has dealt the weights out, all processes but the first have none to check.
        if not self.is_fsdp_enabled and self._model_config.number_head != "none":
            model = self.accelerator.unwrap_model(self.model)
            check_number_head_learns(model, self._batch_with_numbers())
        return super().train(*args, **kwargs)

    def _batch_with_numbers(self) -> dict[str, Any]:
        for batch in self.get_train_dataloader():
            if (batch["labels"] == self._model_config.num_token_id).any():  # a scene may have no objects
                return {name: batch[name] for name in batch if name not in (ROW_INDEX, PRIOR_ROWS)}
        raise CommandError("there is no batch of training scenes with a number for the numeric head to learn from")

    def row_record(self, index: int) -> dict[str, Any]:
        """The program of a row."""
        return {"program": cast(Dataset, self.train_dataset).select_columns("program")[index]["program"]}

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        """With `train_sampling_strategy="group_by_length"`, order by length within each step (see the sampler)."""
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(dataset)
        micro_batches = self.args.gradient_accumulation_steps * self.args.world_size
        lengths = dataset[self.args.length_column_name][:]
        return StepwiseLengthSampler(lengths, self.args.train_batch_size * micro_batches, self.args.seed)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the optimizer, with the numeric head in parameter groups of its own learning rate."""
        optimizer = super().create_optimizer(model)
        if self.number_head_learning_rate is None:
            return optimizer
        named = cast(nn.Module, self.model).named_parameters()
        head = {id(value) for name, value in named if "numeric_head" in name}
        for group in list(optimizer.param_groups):
            own = [value for value in group["params"] if id(value) in head]
            group["params"] = [value for value in group["params"] if id(value) not in head]
            optimizer.add_param_group({**group, "params": own, "lr": self.number_head_learning_rate})
        return optimizer

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Collect the micro-batches of one step, and count their numbers as the base class counts their tokens."""
        batches, num_items_in_batch = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._numbers_in_batch = self._count_numbers(batches, device)
        return batches, num_items_in_batch

    def _count_numbers(self, batches: list[Any], device: torch.device) -> torch.Tensor | None:
        """Count what the loss of numbers or digits is the mean of, in all micro-batches on all devices."""
        if self.number_token_loss is not None:
            masks = [self.number_token_loss.is_digit(batch["labels"], batch["number_quantities"]) for batch in batches]
        elif self._model_config.number_head != "none":
            masks = [batch["labels"] == self._model_config.num_token_id for batch in batches]
        else:
            return None
        count = sum((mask.sum() for mask in masks), torch.tensor(0)).to(device)
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
        kept = positions_with_labels(inputs["labels"])
        asked = {name: value for name, value in inputs.items() if name != PRIOR_ROWS}
        outputs = model(**asked, **counts, logits_to_keep=kept, use_cache=False)
        loss = outputs.loss
        parts = {"ce_loss": outputs.ce_loss, "number_loss": outputs.number_loss}
        if self.number_token_loss is not None:
            denominator = self._numbers_in_batch if model.training else None
            parts["number_token_loss"] = self.number_token_loss(
                outputs.logits, inputs["labels"][:, -kept:], inputs["number_quantities"][:, -kept:], denominator
            )
            loss = loss + self.number_token_loss_weight * parts["number_token_loss"]
        if self.fair_pairs is not None:
            words = counts.get("num_items_in_batch")
            parts["pair_loss"] = self.fair_pairs.loss(
                outputs.logits,
                inputs["input_ids"][:, -kept:],
                inputs[PRIOR_ROWS][:, -kept:],
                (inputs["labels"] != IGNORE_INDEX).sum() if words is None else words,
            )
            loss = loss + parts["pair_loss"]
        if model.training and self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The counts are of all devices, and data parallelism averages the gradients over them.
            loss = loss * self.accelerator.num_processes
        mode = "train" if model.training else "eval"
        for name, value in parts.items():
            if value is not None:  # a digit-text model has no number loss
                self._log_part(mode, name, value)
        return (loss, outputs) if return_outputs else loss

    def _log_part(self, mode: str, name: str, value: torch.Tensor) -> None:
        # A micro-batch holds a share of the accumulated mean: their sum is the mean itself.
        steps = self.current_gradient_accumulation_steps if mode == "train" else 1
        self._metrics[mode][name].append(float(value.detach()) * steps)


class _EpochCallback(TrainerCallback):
    """Tells the collator which epoch it draws for."""

    def __init__(self, collator: SceneCollator) -> None:
        self.collator = collator

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # Where a run is resumed within an epoch, the state's number is a fraction.
        self.collator.set_epoch(int((state.epoch or 0) + 1e-6))


def positions_with_labels(labels: torch.Tensor) -> int:
    """How many last positions of `labels` (B, L) are needed for the loss: prompts and images get no logits."""
    learned = (labels != IGNORE_INDEX).any(dim=0).nonzero()
    # The position before the first label predicts it.
    return labels.shape[1] - max(int(learned[0]) - 1, 0) if len(learned) else labels.shape[1]


def keep_new_adapter_in_float32(model: PeftModel) -> None:
    """Turn what is trained into float32, whatever the frozen weights are; for an adapter before its first step.

    Steps of 2e-5 vanish in bfloat16 weights, which TRL makes of an adapter on a quantised model, head included. What
    it rounded is read again from the frozen originals.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for trained in module.modules_to_save.values():
                trained.load_state_dict(module.original_module.state_dict())


def check_number_head_learns(model: nn.Module, batch: dict[str, Any]) -> None:
    """Make one backward pass and see that the number loss is there and reaches every parameter of the head.

    If numbers are fed back, the parameters of their embedding are looked at, too. The gradients are thrown away.

    Raises:
        RuntimeError: if the batch yields no number loss or a parameter gets no gradient. A model without a numeric
            head passes.
    """
    base = cast(IGLLMForSceneProgram, model.get_base_model() if isinstance(model, PeftModel) else model)
    if base.numeric_head is None:
        return
    was_training = model.training
    model.eval()  # no dropout, no change of batch statistics
    outputs = model(**{name: value.to(base.device) for name, value in batch.items()})
    outputs.loss.backward()
    modules = [module for module in (base.numeric_head, base.number_embedding) if module is not None]
    dead = [
        name
        for module in modules
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    trained = all(any(parameter.requires_grad for parameter in module.parameters()) for module in modules)
    model.zero_grad()
    model.train(was_training)
    # Its sign says nothing: a negative log-likelihood may be below 0.
    if outputs.number_loss is None or not outputs.number_loss.isfinite() or dead or not trained:
        raise RuntimeError(
            f"the numeric head would not learn: number loss {outputs.number_loss}, parameters without a gradient: "
            f"{dead or 'all of them are frozen'}. Check that the labels hold [NUM] and that the head is trainable."
        )
