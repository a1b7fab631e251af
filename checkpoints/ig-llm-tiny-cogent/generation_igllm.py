"""Generation of scene programs: transformers' `generate`, plus the values of the number tokens."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.generation import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput

from .modeling_numbers import NumericHeadMixin
from .vocabulary import NO_QUANTITY


@dataclass
class SceneGenerateOutput(GenerateDecoderOnlyOutput):
    """Result of greedy search or sampling.

    Attributes:
        sequences (`torch.LongTensor` (B, T)): Prompt and generated tokens.
        numbers (`torch.Tensor` (B, T), float32):
            Value of every generated number token, in the program's units, NaN at all other tokens. None without a
            numeric head.
        number_stds (`torch.Tensor` (B, T), float32):
            Standard deviations of `numbers`; None if the head gives none (`linear`, `tanh_mlp_gelu`).
    """

    numbers: torch.Tensor | None = None
    number_stds: torch.Tensor | None = None


@dataclass
class SceneBeamOutput(GenerateBeamDecoderOnlyOutput):
    """Result of beam search: `sequences` (B * num_return_sequences, T), the rest as in [`SceneGenerateOutput`]."""

    numbers: torch.Tensor | None = None
    number_stds: torch.Tensor | None = None


@dataclass
class NumberSteps:
    """What the numeric head said in each step of a generation, should the token chosen in it be the number token.

    Attributes:
        prompt_length: Tokens before the first step's.
        values, stds: Normalised, one (B,) for each step; `stds` stays empty if the head gives none.
    """

    prompt_length: int
    values: list[torch.Tensor] = field(default_factory=list)
    stds: list[torch.Tensor] = field(default_factory=list)

    def append(self, outputs: ModelOutput) -> None:
        """Note the head's answer at the last position of a forward pass."""
        self.values.append(outputs["normalized_numbers"][:, -1])
        if outputs.get("normalized_stds") is not None:
            self.stds.append(outputs["normalized_stds"][:, -1])


class SceneGenerationMixin(NumericHeadMixin, GenerationMixin):
    """Reads the numeric head during generation.

    Greedy search and sampling read each value in the very pass that predicts its token, so there is no second
    forward pass over the program (the published system makes one). Beam search reorders sequences under way; there
    the values are read by one pass over the winners.

    Decoding under a grammar belongs to `generate`'s `logits_processor`: nothing here depends on how tokens are chosen.
    """

    model: Any

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
            `ValueError`: If images come both as `image_features` and in another form, or the model scales its numbers
                by quantity and has no grammar that tells quantities apart.
        """
        if self.config.number_ranges is not None and self.config.grammar is None:
            raise ValueError(
                "The model scales each quantity by a range of its own (number_ranges), and only a grammar tells which "
                "number is which quantity: model.set_grammar(processor.make_grammar(scenes))."
            )
        if image_features is not None:
            if kwargs.get("pixel_values") is not None or kwargs.get("mm_encoder_outputs") is not None:
                raise ValueError("Pass one of pixel_values, image_features and mm_encoder_outputs, not several.")
            with torch.no_grad():
                kwargs["mm_encoder_outputs"] = self.model.project_image_features(image_features)
        return super().generate(inputs, **kwargs)  # type: ignore[misc,return-value]

    @torch.no_grad()
    def read_numbers(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        number_quantities: torch.Tensor | None = None,
        number_inputs: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Values of the number tokens in finished sequences, by one forward pass (the published second pass).

        Args:
            input_ids (`torch.LongTensor` (B, T)): Prompt and answer, padded on either side.
            attention_mask (`torch.Tensor` (B, T), *optional*): 0 at padding.
            number_quantities, number_inputs (`torch.Tensor` (B, T), *optional*): As for `forward`.
            kwargs: The images, as for `forward`.

        Returns:
            `torch.Tensor` (B, T), float32: Value of every number token in the program's units, NaN elsewhere.

        Raises:
            `ValueError`: If the model has no numeric head, or needs quantities or inputs that are not given.
        """
        return self._read_finished(input_ids, attention_mask, number_quantities, number_inputs, **kwargs)[0]

    def _read_finished(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None,
        number_quantities: torch.Tensor | None,
        number_inputs: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`read_numbers`, and the standard deviations beside it."""
        if self.numeric_head is None:
            raise ValueError("This model has number_head='none': its numbers are in the text.")
        if attention_mask is not None:
            kwargs["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        number_embeds = self.embed_numbers(input_ids, number_inputs)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            number_embeds=number_embeds,
            use_cache=False,
            return_dict=True,
            **kwargs,
        )
        values, stds = self.numeric_head.read(self.numeric_head(outputs.last_hidden_state[:, :-1]))
        aligned_stds = None if stds is None else self._align_numbers(input_ids, stds, offset=1)
        return self.to_program_units(self._align_numbers(input_ids, values, offset=1), aligned_stds, number_quantities)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: torch.LongTensor,
        number_steps: NumberSteps | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Keep what the head said out of `forward`, unless it is to be fed back.

        `inputs_embeds` is named because transformers asks this signature whether prompts may come as embeddings.
        """
        inputs = super().prepare_inputs_for_generation(  # type: ignore[misc]
            input_ids, inputs_embeds=inputs_embeds, **kwargs
        )
        if self.number_embedding is not None and number_steps is not None and inputs.get("input_ids") is not None:
            values = self._align_numbers(input_ids, number_steps.values, offset=number_steps.prompt_length)
            inputs["number_inputs"] = values[:, -inputs["input_ids"].shape[1] :]
        return inputs

    def _update_model_kwargs_for_generation(  # type: ignore[override]
        self, outputs: ModelOutput, model_kwargs: dict[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Note the head's answer for the token that is about to be chosen."""
        if model_kwargs.get("number_steps") is not None:
            model_kwargs["number_steps"].append(outputs)
        return super()._update_model_kwargs_for_generation(outputs, model_kwargs, **kwargs)

    def _sample(  # type: ignore[override]
        self, input_ids: torch.LongTensor, **kwargs: Any
    ) -> SceneGenerateOutput | torch.LongTensor:
        """Greedy search and sampling, with the numbers read on the way."""
        if self.numeric_head is None:
            return super()._sample(input_ids, **kwargs)  # type: ignore[misc,return-value]
        number_steps = NumberSteps(input_ids.shape[1])
        result = super()._sample(input_ids, number_steps=number_steps, **kwargs)  # type: ignore[misc]
        if isinstance(result, torch.Tensor):
            return result
        offset = number_steps.prompt_length
        values = self._align_numbers(result.sequences, number_steps.values, offset)
        stds = self._align_numbers(result.sequences, number_steps.stds, offset) if number_steps.stds else None
        quantities = self._number_quantities(result.sequences, offset)
        numbers, number_stds = self.to_program_units(values, stds, quantities)
        return SceneGenerateOutput(**result, numbers=numbers, number_stds=number_stds)

    def _beam_search(  # type: ignore[override]
        self, input_ids: torch.LongTensor, generation_config: Any = None, **kwargs: Any
    ) -> SceneBeamOutput | torch.LongTensor:
        """Beam search, then one pass over the winners for their numbers."""
        if self.number_embedding is not None:
            raise ValueError(
                f"num_beams={generation_config.num_beams} cannot feed numbers back, which the model needs "
                "(feed_numbers_back=True): beams change places, and their numbers do not. Use num_beams=1."
            )
        if self.numeric_head is not None and kwargs.get("inputs_embeds") is not None:
            raise ValueError(
                f"num_beams={generation_config.num_beams} reads its numbers by a second pass over prompt and answer, "
                "which needs the prompt's tokens: pass input_ids, not inputs_embeds, or use num_beams=1."
            )
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
        # A prompt of text alone has none.
        images = {
            name: BaseModelOutputWithPooling(
                pooler_output=[encoded.pooler_output[row] for row in rows.tolist()]  # type: ignore[arg-type]
            )
            for name, encoded in (kwargs.get("mm_encoder_outputs") or {}).items()
        }
        quantities = self._number_quantities(result.sequences, input_ids.shape[1])
        numbers, stds = self._read_finished(result.sequences, attention_mask, quantities, mm_encoder_outputs=images)
        for values in (numbers, stds):
            if values is not None:
                values[:, : input_ids.shape[1]] = torch.nan
        return SceneBeamOutput(**result, numbers=numbers, number_stds=stds)

    def _assisted_decoding(  # type: ignore[override]
        self, input_ids: torch.LongTensor, **kwargs: Any
    ) -> GenerateDecoderOnlyOutput | torch.LongTensor:
        """Refused where there are numbers to be read: transformers' loop would return none."""
        if self.numeric_head is not None:
            raise ValueError(
                "Assisted decoding (assistant_model, prompt_lookup_num_tokens) does not read the numeric head. Leave "
                "these out, or use generate_scene, which guesses ahead by itself and gives the same programs."
            )
        return super()._assisted_decoding(input_ids, **kwargs)  # type: ignore[misc,return-value]

    def _number_quantities(self, sequences: torch.LongTensor, offset: int) -> torch.Tensor | None:
        """Quantities (B, T) of the numbers in answers that begin at `offset`; None if the model needs none."""
        if self.config.number_ranges is None:
            return None
        # The grammar knows: the text alone says it only with a tokenizer at hand.
        automaton = self.grammar_automaton  # type: ignore[attr-defined]  # of `GrammarGenerationMixin`
        answers = [automaton.quantities(answer) for answer in sequences[:, offset:].tolist()]
        quantities = torch.full(sequences.shape, NO_QUANTITY, device=sequences.device)
        quantities[:, offset:] = torch.tensor(answers, device=sequences.device)
        return quantities

    def _align_numbers(
        self, sequences: torch.LongTensor, predicted: torch.Tensor | list[torch.Tensor], offset: int
    ) -> torch.Tensor:
        """Place the answers for tokens offset, offset + 1, … at those tokens, NaN where a token is no number token.

        `predicted` is (B, N) or, step by step, a list of (B,). It may hold more answers than there are tokens: a loop
        that stops late (synchronised or deferred) has run steps whose tokens are dropped.
        """
        numbers = torch.full(sequences.shape, torch.nan, dtype=torch.float32, device=sequences.device)
        answered = sequences.shape[1] - offset
        if answered > 0:  # less than 0 while a prompt goes in by chunks
            steps = torch.stack(predicted, dim=1) if isinstance(predicted, list) else predicted
            is_number = sequences[:, offset:].eq(self.config.num_token_id)  # type: ignore[arg-type]  # there is a head
            numbers[:, offset:] = torch.where(is_number, steps[:, :answered].to(sequences.device), torch.nan)
        return numbers


__all__ = ["NumberSteps", "SceneBeamOutput", "SceneGenerateOutput", "SceneGenerationMixin"]
