"""The numbers in IG-LLM's forward pass: what is fed back, what the head says, and its loss."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import slice_logits_to_keep
from transformers.models.llava.modeling_llava import LlavaCausalLMOutputWithPast, LlavaModel
from transformers.utils.import_utils import torch_compilable_check

from .configuration_igllm import IGLLMConfig
from .number_embedding import NumberEmbedding
from .number_ranges import denormalize_numbers, denormalize_stds, normalize_numbers
from .numeric_head import NumericHead, number_loss
from .vocabulary import NO_QUANTITY, QUANTITIES


@dataclass
class IGLLMOutput(LlavaCausalLMOutputWithPast):
    """LLaVA's output, the two parts of the loss, and the numbers.

    Attributes:
        loss (`torch.Tensor`, scalar): `ce_loss + float_w * number_loss`; None without `labels`.
        ce_loss (`torch.Tensor`, scalar): Cross-entropy over the answer tokens, number tokens included.
        number_loss (`torch.Tensor`, scalar):
            Mean loss of the numbers, in normalised units, those of rotations times `config.rotation_w`; None without
            a numeric head.
        normalized_numbers (`torch.Tensor` (B, L), float32):
            The head's value at every position for which there are logits: position t holds that of token t + 1,
            should that be the number token. In normalised units (`number_ranges`). None without a numeric head.
        normalized_stds (`torch.Tensor` (B, L), float32):
            Standard deviations of these values. None if the head gives none (`linear`, `tanh_mlp_gelu`).
        numbers, number_stds (`torch.Tensor` (B, L), float32):
            The same in the program's units. If `config.number_ranges` is set, they need `number_quantities` (None
            without), and are NaN where token t + 1 is no number or lies beyond the end.
    """

    ce_loss: torch.Tensor | None = None
    number_loss: torch.Tensor | None = None
    normalized_numbers: torch.Tensor | None = None
    normalized_stds: torch.Tensor | None = None
    numbers: torch.Tensor | None = None
    number_stds: torch.Tensor | None = None


def slice_positions(values: torch.Tensor, logits_to_keep: int | torch.Tensor) -> torch.Tensor:
    """Values (B, L) at the positions for which there are logits; `logits_to_keep` as in transformers' `forward`."""
    return slice_logits_to_keep(values.unsqueeze(-1), logits_to_keep).squeeze(-1)


def build_numeric_head(config: IGLLMConfig) -> NumericHead | None:
    """The head of `config.number_head`; None for `"none"`."""
    if config.number_head == "none":
        return None
    hidden_size = config.text_config.hidden_size
    return NumericHead(hidden_size, config.number_head, config.number_bins, config.number_components)


def embed_with_numbers(
    model: LlavaModel,
    input_ids: Any,
    number_embeds: torch.Tensor,
    pixel_values: torch.Tensor | None,
    mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None,
) -> torch.Tensor:
    """Tokens, numbers and images as the embeddings (B, L, h) that go into LLaVA's language model.

    `LlavaModel.forward` takes embeddings, too, but then it no longer knows the ids of the image placeholders.
    """
    embeds = model.get_input_embeddings()(input_ids)
    embeds = embeds + number_embeds.to(embeds.dtype)
    if pixel_values is not None:
        mm_encoder_outputs = {"image": model.get_image_features(pixel_values, return_dict=True)}
    if not mm_encoder_outputs:
        return embeds
    features = torch.cat(mm_encoder_outputs["image"].pooler_output)  # type: ignore[arg-type]  # a list
    features = features.to(embeds)
    places = model.get_placeholder_mask(input_ids, inputs_embeds=embeds, image_features=features)
    return embeds.masked_scatter(places, features)


class NumericHeadMixin:
    """What a model with a numeric head does with numbers; its `forward` calls these in turn."""

    config: IGLLMConfig
    numeric_head: NumericHead | None
    number_embedding: NumberEmbedding | None

    def embed_numbers(
        self,
        input_ids: torch.LongTensor | None,
        number_inputs: torch.Tensor | None = None,
        number_labels: torch.Tensor | None = None,
        number_quantities: torch.Tensor | None = None,
    ) -> torch.Tensor | None:
        """Embeddings of the values that are fed back, to be added to those of the tokens.

        Args:
            input_ids (`torch.LongTensor` (B, L)): Tokens; None where embeddings without any number stand for them.
            number_inputs (`torch.Tensor` (B, L)): Normalised values at the number tokens.
            number_labels (`torch.Tensor` (B, L)):
                True values, which are fed back in training, when there are no `number_inputs`.
            number_quantities (`torch.Tensor` (B, L)): Quantities of `number_labels`.

        Returns:
            `torch.Tensor` (B, L, h), float32, 0 at all other tokens; None if the model feeds nothing back.

        Raises:
            `ValueError`: If a number token has no finite value, or there are values that cannot be fed back.
        """
        if self.number_embedding is None:
            if number_inputs is not None:
                raise ValueError("number_inputs cannot be fed back: the model has feed_numbers_back=False.")
            return None
        if number_inputs is None and number_labels is not None:
            number_inputs = normalize_numbers(number_labels, number_quantities, self.config.number_ranges)
        if input_ids is None:
            if number_inputs is not None:
                raise ValueError("Numbers are fed back at number tokens: pass input_ids, not inputs_embeds.")
            return None
        values = torch.nan if number_inputs is None else number_inputs.to(input_ids.device)
        is_number = input_ids.eq(self.config.num_token_id)  # type: ignore[arg-type]  # given if there is a head
        values = torch.where(is_number, values, torch.nan)
        torch_compilable_check(
            values.isfinite().eq(is_number),
            "The model has feed_numbers_back=True: every [NUM] of input_ids needs a finite value in number_inputs, or "
            "in number_labels with number_quantities.",
        )
        return self.number_embedding(values)

    def read_head(
        self,
        output: IGLLMOutput,
        hidden_states: torch.Tensor,
        number_quantities: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
    ) -> torch.Tensor | None:
        """Fill in the numbers of `output`; return the head's parameters (B, L, P), None without a head."""
        if self.numeric_head is None:
            return None
        parameters = self.numeric_head(hidden_states)
        output.normalized_numbers, output.normalized_stds = self.numeric_head.read(parameters)
        if self.config.number_ranges is not None:
            if number_quantities is None:
                return parameters
            # The value at position t is that of token t + 1.
            following = F.pad(number_quantities[:, 1:], (0, 1), value=NO_QUANTITY)
            number_quantities = slice_positions(following, logits_to_keep)
        output.numbers, output.number_stds = self.to_program_units(
            output.normalized_numbers, output.normalized_stds, number_quantities
        )
        return parameters

    def to_program_units(
        self, normalized: torch.Tensor, stds: torch.Tensor | None, number_quantities: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Normalised values and standard deviations of one shape -> metres, radians, …; see `denormalize_numbers`."""
        ranges = self.config.number_ranges
        numbers = denormalize_numbers(normalized, number_quantities, ranges)
        return numbers, None if stds is None else denormalize_stds(stds, number_quantities, ranges)

    def compute_number_loss(
        self,
        parameters: torch.Tensor,
        labels: torch.LongTensor,
        number_labels: torch.Tensor | None,
        number_quantities: torch.Tensor | None,
        denominator: torch.Tensor | int | None,
    ) -> torch.Tensor:
        """The head's loss over the number tokens of `labels`; see `number_loss`."""
        if self.numeric_head is None or number_labels is None:
            raise ValueError("labels need number_labels beside them: the model has a numeric head to be trained.")
        targets = normalize_numbers(number_labels, number_quantities, self.config.number_ranges)
        is_number = labels.eq(self.config.num_token_id)  # type: ignore[arg-type]
        return number_loss(
            self.numeric_head, parameters, targets, is_number, self._number_weights(number_quantities), denominator
        )

    def _number_weights(self, number_quantities: torch.Tensor | None) -> torch.Tensor | None:
        """(B, L): `config.rotation_w` at the numbers of rotations, else 1; None where that is everywhere."""
        if self.config.rotation_w == 1:
            return None
        if number_quantities is None:
            raise ValueError(
                f"The model has rotation_w={self.config.rotation_w}: number_quantities must say which numbers are of "
                "rotations."
            )
        is_rotation = number_quantities.eq(QUANTITIES.index("rotation"))
        return torch.where(is_rotation, float(self.config.rotation_w), 1.0)


__all__ = ["IGLLMOutput", "NumericHeadMixin", "build_numeric_head", "embed_with_numbers", "slice_positions"]
