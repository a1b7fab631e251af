"""Generation of scene programs: transformers' `generate`, plus the values of the number tokens."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.generation import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput

from .numeric_head import NumericHead


@dataclass
class SceneGenerateOutput(GenerateDecoderOnlyOutput):
    """Result of greedy search or sampling.

    Attributes:
        sequences (`torch.LongTensor` (B, T)): Prompt and generated tokens.
        numbers (`torch.Tensor` (B, T), float32):
            Value of every generated number token, NaN at all other tokens. None without a numeric head.
    """

    numbers: torch.Tensor | None = None


@dataclass
class SceneBeamOutput(GenerateBeamDecoderOnlyOutput):
    """Result of beam search: `sequences` (B * num_return_sequences, T) and `numbers` as in [`SceneGenerateOutput`]."""

    numbers: torch.Tensor | None = None


class SceneGenerationMixin(GenerationMixin):
    """Reads the numeric head during generation.

    Greedy search and sampling read each value in the very pass that predicts its token, so there is no second
    forward pass over the program (the published system makes one). Beam search reorders sequences under way; there
    the values are read by one pass over the winners.

    Decoding under a grammar belongs to `generate`'s `logits_processor`: nothing here depends on how tokens are chosen.
    """

    config: Any
    model: Any
    numeric_head: NumericHead | None

    def generate(  # type: ignore[override]
        self, inputs: torch.Tensor | None = None, image_features: torch.Tensor | None = None, **kwargs: Any
    ) -> SceneGenerateOutput | SceneBeamOutput | torch.LongTensor:
        """transformers' `generate`, batched (left-padded prompts) and with a key-value cache.

        Args:
            inputs (`torch.LongTensor` (B, L), *optional*): Prompts; `input_ids` in `kwargs` is the same.
            image_features (`torch.Tensor` (B, image_seq_length, tower hidden size), *optional*):
                Cached output of `encode_images`, in the place of `pixel_values`.
            kwargs: Everything `GenerationMixin.generate` takes.

        Returns:
            [`SceneGenerateOutput`] or [`SceneBeamOutput`]; with `return_dict_in_generate=False` the token ids alone.

        Raises:
            `ValueError`: If images come both as `image_features` and in another form.
        """
        if image_features is not None:
            if kwargs.get("pixel_values") is not None or kwargs.get("mm_encoder_outputs") is not None:
                raise ValueError("Pass one of pixel_values, image_features and mm_encoder_outputs, not several.")
            with torch.no_grad():
                kwargs["mm_encoder_outputs"] = self.model.project_image_features(image_features)
        return super().generate(inputs, **kwargs)  # type: ignore[misc,return-value]

    @torch.no_grad()
    def read_numbers(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """Values of the number tokens in finished sequences, by one forward pass (the published second pass).

        Args:
            input_ids (`torch.LongTensor` (B, T)): Prompt and answer, padded on either side.
            attention_mask (`torch.Tensor` (B, T), *optional*): 0 at padding.
            kwargs: The images, as for `forward`.

        Returns:
            `torch.Tensor` (B, T), float32: Value of every number token, NaN elsewhere.
        """
        if self.numeric_head is None:
            raise ValueError("This model has number_head='none': its numbers are in the text.")
        if attention_mask is not None:
            kwargs["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **kwargs)
        return self._align_numbers(input_ids, self.numeric_head(outputs.last_hidden_state[:, :-1]), offset=1)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: torch.LongTensor, number_steps: list[torch.Tensor] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Keep the list that collects the numbers out of `forward`."""
        return super().prepare_inputs_for_generation(input_ids, **kwargs)  # type: ignore[misc]

    def _update_model_kwargs_for_generation(  # type: ignore[override]
        self, outputs: ModelOutput, model_kwargs: dict[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Note the head's answer for the token that is about to be chosen."""
        if model_kwargs.get("number_steps") is not None:
            model_kwargs["number_steps"].append(outputs["numbers"][:, -1])
        return super()._update_model_kwargs_for_generation(outputs, model_kwargs, **kwargs)

    def _sample(  # type: ignore[override]
        self, input_ids: torch.LongTensor, **kwargs: Any
    ) -> SceneGenerateOutput | torch.LongTensor:
        """Greedy search and sampling, with the numbers read on the way."""
        if self.numeric_head is None:
            return super()._sample(input_ids, **kwargs)  # type: ignore[misc,return-value]
        number_steps: list[torch.Tensor] = []
        result = super()._sample(input_ids, number_steps=number_steps, **kwargs)  # type: ignore[misc]
        if isinstance(result, torch.Tensor):
            return result
        generated = result.sequences.shape[1] - input_ids.shape[1]
        # A loop that stops late (synchronised or deferred) has run steps whose tokens are dropped.
        predicted = torch.stack(number_steps[:generated], dim=1).to(result.sequences.device)
        numbers = self._align_numbers(result.sequences, predicted, offset=input_ids.shape[1])
        return SceneGenerateOutput(**result, numbers=numbers)

    def _beam_search(  # type: ignore[override]
        self, input_ids: torch.LongTensor, generation_config: Any = None, **kwargs: Any
    ) -> SceneBeamOutput | torch.LongTensor:
        """Beam search, then one pass over the winners for their numbers."""
        result: Any = super()._beam_search(  # type: ignore[misc]
            input_ids, generation_config=generation_config, **kwargs
        )
        if isinstance(result, torch.Tensor) or self.numeric_head is None:
            return result
        # Inputs hold num_beams equal rows per image, results num_return_sequences.
        beams, returned = generation_config.num_beams, generation_config.num_return_sequences
        rows = torch.arange(0, input_ids.shape[0], beams, device=input_ids.device).repeat_interleave(returned)
        attention_mask = torch.ones_like(result.sequences)
        if kwargs.get("attention_mask") is not None:
            attention_mask[:, : input_ids.shape[1]] = kwargs["attention_mask"][rows]
        features = kwargs["mm_encoder_outputs"]["image"].pooler_output
        winners = BaseModelOutputWithPooling(
            pooler_output=[features[row] for row in rows.tolist()]  # type: ignore[arg-type]
        )
        numbers = self.read_numbers(result.sequences, attention_mask, mm_encoder_outputs={"image": winners})
        numbers[:, : input_ids.shape[1]] = torch.nan
        return SceneBeamOutput(**result, numbers=numbers)

    def _align_numbers(self, sequences: torch.LongTensor, predicted: torch.Tensor, offset: int) -> torch.Tensor:
        """Place the answers for tokens offset, offset + 1, … at those tokens, NaN where a token is no number token."""
        numbers = torch.full(sequences.shape, torch.nan, dtype=torch.float32, device=sequences.device)
        is_number = sequences[:, offset:] == self.config.num_token_id
        numbers[:, offset:] = torch.where(is_number, predicted, torch.nan)
        return numbers


__all__ = ["SceneBeamOutput", "SceneGenerateOutput", "SceneGenerationMixin"]
