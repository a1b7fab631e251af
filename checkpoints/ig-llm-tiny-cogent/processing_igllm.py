"""Processor of IG-LLM: image and scene program in, model inputs out, and generated tokens back to a scene."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import BatchFeature, PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

from .image_processing_igllm import IGLLMImageProcessor
from .rotations import representation_size
from .scene_grammar import SceneGrammar
from .scene_prediction import ScenePrediction
from .scene_program import SceneProgram
from .terminals import (
    NUMBER_STYLES,
    EncodedTerminals,
    Terminal,
    decode_terminals,
    encode_terminals,
    number_token_id,
    program_terminals,
)
from .vocabulary import NO_QUANTITY, NUM_TOKEN

PUBLISHED_PROMPT = "<image>\nWhat Python Blender code could be used to produce the scene?"
PUBLISHED_ANSWER_PREFIX = "The scene can be produced with:\n```python\n"
PUBLISHED_ANSWER_SUFFIX = "```"
IGNORE_INDEX = -100


class IGLLMProcessor(ProcessorMixin):
    r"""
    Image processor, tokenizer and the wording around a scene program (defaults: the published wording, SCENE_PROGRAM).

    Args:
        image_processor ([`IGLLMImageProcessor`]): Or another image processor with `pixel_values` of one size.
        tokenizer ([`PreTrainedTokenizerFast`]): With pad and end tokens, `<image>`, and `[NUM]` if `numbers="token"`.
        chat_template (`str`, *optional*): transformers' own field; `encode_prompt` and `encode_training` use none.
        num_image_tokens (`int`, defaults to 576): Placeholders per image; the model's `image_seq_length`.
        prompt (`str`): Text before the answer, with one `<image>` in it.
        answer_prefix, answer_suffix (`str`): Text around the program in the answer.
        rotation (`str`, defaults to `"6d"`): Representation of full rotations in the model's text and numbers.
        numbers (`"token"`, `"char"` or `"text"`, defaults to `"token"`):
            `"token"` writes `[NUM]` and leaves values to the numeric head; the others write digits.
        image_token (`str`, defaults to `"<image>"`): Placeholder token.
        num_token (`str`, defaults to `"[NUM]"`):
            The token that stands for a number if `numbers="token"`: one that was added for it, or a rare one of a
            vocabulary that must not grow (the published way). Programs as text always say `[NUM]`.
    """

    def __init__(
        self,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        num_image_tokens: int = 576,
        prompt: str = PUBLISHED_PROMPT,
        answer_prefix: str = PUBLISHED_ANSWER_PREFIX,
        answer_suffix: str = PUBLISHED_ANSWER_SUFFIX,
        rotation: str = "6d",
        numbers: str = "token",
        image_token: str = "<image>",
        num_token: str = NUM_TOKEN,
    ):
        if numbers not in NUMBER_STYLES:
            raise ValueError(f"numbers must be one of {', '.join(NUMBER_STYLES)}; got {numbers!r}.")
        if prompt.count(image_token) != 1:
            raise ValueError(f"prompt must hold {image_token!r} once, got {prompt!r}.")
        representation_size(rotation)
        if num_image_tokens < 1:
            raise ValueError(f"num_image_tokens must be positive, got {num_image_tokens}.")
        self.num_image_tokens = num_image_tokens
        self.prompt = prompt
        self.answer_prefix = answer_prefix
        self.answer_suffix = answer_suffix
        self.rotation = rotation
        self.numbers = numbers
        self.image_token = image_token
        self.num_token = num_token
        image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        if not isinstance(image_token_id, int) or image_token_id == tokenizer.unk_token_id:
            raise ValueError(f"The tokenizer has no token {image_token!r}; add it as a special token.")
        self.image_token_id = image_token_id
        for name, token_id in (("pad_token", tokenizer.pad_token_id), ("eos_token", tokenizer.eos_token_id)):
            if token_id is None:
                raise ValueError(f"The tokenizer has no {name}: batches are padded and answers end; set it.")
        self.num_token_id = number_token_id(tokenizer, num_token) if numbers == "token" else None
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: str, processor_dict: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """Load the tokenizer and, by its class, the image processor of this folder.

        AutoImageProcessor would ask for `trust_remote_code` to load a class that is at hand here.
        """
        saved = (processor_dict or {}).get("image_processor", {})
        if saved.get("image_processor_type") != IGLLMImageProcessor.__name__:
            return super()._get_arguments_from_pretrained(pretrained_model_name_or_path, processor_dict, **kwargs)
        image_processor = IGLLMImageProcessor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        # Without a configuration AutoTokenizer would read the model's, and stop to ask whether it may run its code.
        try:
            tokenizer = cls._load_tokenizer_from_pretrained(
                "tokenizer", pretrained_model_name_or_path, config=PreTrainedConfig(), **kwargs
            )
        except OSError:  # there is none: the message says where
            raise
        except Exception as error:  # the tokenizers library has no error class of its own
            raise ValueError(
                f"the tokenizer of {str(pretrained_model_name_or_path)!r} is damaged ({error}): fetch or save the "
                "checkpoint again"
            ) from error
        return [image_processor, tokenizer]

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The text that one `<image>` becomes: a placeholder for every image token."""
        return self.image_token * self.num_image_tokens

    def encode_prompt(self, images: Any | None, batch_size: int | None = None) -> BatchFeature:
        """Inputs for `generate`, left-padded by construction: every prompt is the same.

        Args:
            images: One image or a list of them, or None where cached image features take their place.
            batch_size (`int`, *optional*): Number of prompts; needed without images, else the number of images.

        Returns:
            `input_ids` and `attention_mask` (B, L), and `pixel_values` if there are images.
        """
        if (images is None) == (batch_size is None):
            raise ValueError("Give either images, or the batch_size of prompts for cached image features.")
        image_inputs = {} if images is None else self.image_processor(images, return_tensors="pt")
        prompt = torch.tensor(self.encode_prompt_text())
        input_ids = prompt.repeat(len(image_inputs["pixel_values"]) if batch_size is None else batch_size, 1)
        return BatchFeature({"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), **image_inputs})

    def encode_training(
        self,
        images: Any | None,
        scenes: Sequence[SceneProgram],
        not_asked: Sequence[Collection[str]] | None = None,
        **augmentation: Any,
    ) -> BatchFeature:
        """Inputs and labels for training, right-padded.

        Args:
            images: Images, one for each scene, or None where cached image features take their place.
            scenes (`Sequence[SceneProgram]`): The answers; a single scene goes in as a list of one.
            not_asked (*optional*):
                For each scene, attributes whose words are in the input and no labels, because the image does not say
                them: `{"color"}` where an object's colour has no name.
            augmentation: `rng`, `shuffle_attributes` and `sample_synonyms` of `program_terminals`.

        Returns:
            `input_ids`, `attention_mask`, `labels` (-100 at prompt and padding), `number_labels` (NaN where there is
            no number token) and `number_quantities` (index in `QUANTITIES` at number tokens and at digits of numbers,
            `NO_QUANTITY` elsewhere), each (B, L), and `pixel_values` if there are images.
        """
        prompt = self.encode_prompt_text()
        answers = [self.encode_answer(scene, **augmentation) for scene in scenes]
        inputs = _pad_right(prompt, answers, self.tokenizer.pad_token_id, self.num_token_id)
        if not_asked is not None:
            _drop_labels(inputs["labels"][:, len(prompt) :], answers, not_asked)
        if images is not None:
            inputs.update(self.image_processor(images, return_tensors="pt"))
            if len(inputs["pixel_values"]) != len(scenes):
                raise ValueError(f"Got {len(inputs['pixel_values'])} images for {len(scenes)} scenes.")
        return BatchFeature(inputs)

    def decode_scene(
        self,
        sequences: torch.Tensor,
        numbers: torch.Tensor | None = None,
        prompt_length: int | None = None,
        *,
        number_stds: torch.Tensor | None = None,
        truncated: torch.Tensor | None = None,
        word_probabilities: Sequence[Sequence[Mapping[str, float]]] | None = None,
    ) -> list[ScenePrediction]:
        """Turn the result of `generate_scene` or `generate` into scenes.

        Args:
            sequences (`torch.Tensor` (B, T)): Prompts and answers, as in `.sequences`.
            numbers (`torch.Tensor` (B, T), *optional*): As in `.numbers`; required if `numbers="token"`.
            prompt_length (`int`, *optional*): Tokens before the answer; by default those of `encode_prompt`.
            number_stds (`torch.Tensor` (B, T), *optional*): As in `.number_stds`.
            truncated (`torch.BoolTensor` (B,), *optional*):
                As in `.truncated`; by default the answers without an end token, which holds for free decoding only:
                under a grammar every answer ends with one.
            word_probabilities (*optional*): As in `.word_probabilities`.

        Raises:
            `ValueError`: If the sequences do not begin with the prompt of `encode_prompt` and no length is given, or
                numbers are missing. A text that is no program is no such error: see `ScenePrediction.error`.
        """
        if prompt_length is None:
            prompt_length = self._own_prompt_length(sequences)
        if numbers is None and self.numbers == "token":
            raise ValueError("This processor writes numbers as [NUM]: pass `numbers`, the values from `generate`.")
        answers = sequences[:, prompt_length:].tolist()
        count = len(answers)
        values, stds = (
            count * [None] if given is None else given[:, prompt_length:].tolist() for given in (numbers, number_stds)
        )
        cut = count * [None] if truncated is None else truncated.tolist()
        words = count * [None] if word_probabilities is None else word_probabilities
        return [self._decode_answer(*answer) for answer in zip(answers, values, stds, cut, words, strict=True)]

    def make_grammar(self, scenes: Iterable[SceneProgram], max_objects: int | None = None) -> SceneGrammar:
        """The grammar of these scenes' family in this processor's tokens and wording, for `model.set_grammar`.

        Args:
            scenes: The training scenes, or some that show all that there is ([`SceneGrammar.from_scenes`]).
            max_objects (`int`, *optional*): Most objects of a program; by default the most that occur in `scenes`.
        """
        return SceneGrammar.from_scenes(
            (scene.with_rotation(self.rotation) for scene in scenes),
            self.tokenizer,
            numbers=self.numbers,
            prefix=self.answer_prefix,
            suffix=self.answer_suffix,
            max_objects=max_objects,
            num_token=self.num_token,
        )

    def encode_prompt_text(self) -> list[int]:
        """Token ids of the prompt, with a placeholder for every image token and the tokenizer's start token."""
        text = self.prompt.replace(self.image_token, self.image_token * self.num_image_tokens)
        return list(self.tokenizer(text)["input_ids"])

    def encode_answer(self, scene: SceneProgram, **augmentation: Any) -> EncodedTerminals:
        """Prefix, program (rotations in the processor's own representation), suffix and end token as token ids."""
        program = program_terminals(scene.with_rotation(self.rotation), numbers=self.numbers, **augmentation)
        terminals = [*_fixed_terminals(self.answer_prefix), *program, *_fixed_terminals(self.answer_suffix)]
        ids, values, quantities, attributes = encode_terminals(terminals, self.tokenizer, self.num_token)
        end = self.tokenizer.eos_token_id
        return EncodedTerminals([*ids, end], values, [*quantities, NO_QUANTITY], [*attributes, None])

    def _own_prompt_length(self, sequences: torch.Tensor) -> int:
        """Length of this processor's prompt, which must open every sequence."""
        prompt = self.encode_prompt_text()
        if sequences[:, : len(prompt)].tolist() != len(sequences) * [prompt]:
            raise ValueError("The sequences do not begin with this processor's own prompt: pass prompt_length.")
        return len(prompt)

    def _decode_answer(
        self,
        ids: list[int],
        values: list[float] | None,
        stds: list[float] | None,
        truncated: bool | None,
        words: Sequence[Mapping[str, float]] | None,
    ) -> ScenePrediction:
        """One answer, up to its end token, as a prediction."""
        has_end = self.tokenizer.eos_token_id in ids
        if has_end:
            ids = ids[: ids.index(self.tokenizer.eos_token_id)]

        def at_numbers(row: list[float] | None) -> list[float] | None:
            if row is None or self.num_token_id is None:
                return None
            return [value for value, token_id in zip(row, ids, strict=False) if token_id == self.num_token_id]

        return ScenePrediction.from_text(
            self._decode_text(ids),
            at_numbers(values),
            rotation=self.rotation,
            number_stds=at_numbers(stds),
            confidences=words,
            truncated=not has_end if truncated is None else truncated,
        )

    def _decode_text(self, ids: list[int]) -> str:
        """The text of an answer.

        Token by token: terminals are tokenised alone, so a SentencePiece tokenizer begins each with a space of its
        own, which decoding the sequence as a whole would write into the words. The number token is `[NUM]`, whatever
        its own text is (`num_token`). A token that the tokenizer does not know (embeddings are often padded) is no
        text of any program, rather than none.
        """
        texts = {token_id: self._decode_token(token_id) for token_id in set(ids)}
        if self.num_token_id is not None:
            texts[self.num_token_id] = NUM_TOKEN
        return "".join(texts[token_id] for token_id in ids)

    def _decode_token(self, token_id: int) -> str:
        if token_id >= len(self.tokenizer):
            return "\N{REPLACEMENT CHARACTER}"
        return decode_terminals([[token_id]], self.tokenizer)


def _fixed_terminals(text: str) -> list[Terminal]:
    """`text` as a terminal of its own; none if it is empty."""
    return [Terminal("fixed", text)] if text else []


def _pad_right(
    prompt: list[int], answers: list[EncodedTerminals], pad_token_id: int, num_token_id: int | None
) -> dict[str, torch.Tensor]:
    """Batch `answers` behind one `prompt` as tensors (B, L)."""
    shape = len(answers), len(prompt) + max(len(answer.ids) for answer in answers)
    input_ids = torch.full(shape, pad_token_id)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORE_INDEX)
    number_labels = torch.full(shape, torch.nan)
    number_quantities = torch.full(shape, NO_QUANTITY)
    for row, (ids, values, quantities, _) in enumerate(answers):
        answer, end = torch.tensor(ids), len(prompt) + len(ids)
        input_ids[row, :end] = torch.tensor(prompt + ids)
        attention_mask[row, :end] = 1
        labels[row, len(prompt) : end] = answer
        number_quantities[row, len(prompt) : end] = torch.tensor(quantities)
        if num_token_id is not None:
            number_labels[row, len(prompt) : end][answer == num_token_id] = torch.tensor(values)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "labels": labels,
        "number_labels": number_labels,
        "number_quantities": number_quantities,
    }


def _drop_labels(labels: torch.Tensor, answers: list[EncodedTerminals], not_asked: Sequence[Collection[str]]) -> None:
    """Take the words of each answer's `not_asked` attributes out of `labels` (B, answer)."""
    for row, answer, names in zip(labels, answers, not_asked, strict=True):
        is_dropped = [attribute in names for attribute in answer.attributes]
        row[: len(is_dropped)][is_dropped] = IGNORE_INDEX


IGLLMProcessor.register_for_auto_class()

__all__ = ["IGNORE_INDEX", "IGLLMProcessor"]
