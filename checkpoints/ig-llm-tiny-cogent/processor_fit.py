"""Whether a processor belongs to a model: with another one's tokenizer it would answer, but wrongly."""

from typing import TYPE_CHECKING

from PIL import Image

from .scene_grammar import FixedSlot, SceneGrammar, WordSlot
from .terminals import Terminal, encode_terminal

if TYPE_CHECKING:  # transformers would copy them into every checkpoint, and they are there anyway
    from transformers import PreTrainedTokenizerBase

    from .configuration_igllm import IGLLMConfig
    from .processing_igllm import IGLLMProcessor

_MEND = "put back the processor and tokenizer files that were saved with this model"


def check_processor_fits(config: "IGLLMConfig", processor: "IGLLMProcessor") -> None:
    """See that tokens, images and grammar mean the same to model and processor.

    Args:
        config ([`IGLLMConfig`]): Of the model.
        processor ([`IGLLMProcessor`]): That prepares its inputs and reads its answers.

    Raises:
        `ValueError`: Naming the tokenizer's folder, what differs, and what to do.
    """
    last_id = max(processor.tokenizer.get_vocab().values())
    if last_id >= config.text_config.vocab_size:
        raise _misfit(processor, f"its last token has id {last_id}", f"{config.text_config.vocab_size} embeddings")
    number_token = None if config.number_head == "none" else config.num_token_id
    expected = {
        "num_token_id": (processor.num_token_id, number_token),
        "image_token_id": (processor.image_token_id, config.image_token_index),
        "num_image_tokens": (processor.num_image_tokens, config.image_seq_length),
        "size of images": (_processed_size(processor), _model_size(config)),
    }
    for name, (has, wants) in expected.items():
        if has != wants:
            raise _misfit(processor, f"its {name} is {has}", f"{wants}")
    if config.grammar is not None:
        _check_grammar(SceneGrammar.from_dict(config.grammar), processor)


def _misfit(processor: "IGLLMProcessor", has: str, wants: str) -> ValueError:
    folder = processor.tokenizer.name_or_path
    return ValueError(f"the processor of {folder!r} does not fit the model: {has}, the model has {wants}; {_MEND}")


def _processed_size(processor: "IGLLMProcessor") -> tuple[int, int]:
    """(height, width) of what the processor makes of an image, tried out: some resize, others crop in the end."""
    pixel_values = processor.image_processor(Image.new("RGB", (64, 64)), return_tensors="np")["pixel_values"]
    height, width = pixel_values.shape[-2:]
    return height, width


def _model_size(config: "IGLLMConfig") -> tuple[int, int]:
    size = config.vision_config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _check_grammar(grammar: SceneGrammar, processor: "IGLLMProcessor") -> None:
    """The grammar's token ids are those that this tokenizer gives for its texts, and its frame is the processor's."""
    tokenizer = processor.tokenizer
    for form in grammar.forms:
        for slot in form:
            if isinstance(slot, FixedSlot):
                _check_text("fixed", slot.text, slot.token_ids, tokenizer)
            elif isinstance(slot, WordSlot):
                for word, ids in slot.choices.items():
                    _check_text("word", word, ids, tokenizer)
    _check_text("fixed", processor.answer_prefix, grammar.prefix, tokenizer)
    _check_text("fixed", processor.answer_suffix, grammar.suffix[:-1], tokenizer)
    if grammar.suffix[-1] != tokenizer.eos_token_id:
        raise _misfit(
            processor, f"its end token has id {tokenizer.eos_token_id}", f"{grammar.suffix[-1]} in its grammar"
        )
    if grammar.digits is not None:
        texts = tokenizer.batch_decode([[token] for token in grammar.digits.texts])
        for (token, wanted), text in zip(grammar.digits.texts.items(), texts, strict=True):
            if text != wanted:
                raise _misfit(processor, f"token {token} is {text!r}", f"{wanted!r} for it in its grammar")


def _check_text(kind: str, text: str, ids: tuple[int, ...], tokenizer: "PreTrainedTokenizerBase") -> None:
    written = tuple(encode_terminal(Terminal(kind, text), tokenizer)) if text else ()
    if written != tuple(ids):
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} does not fit config.grammar: it writes {text!r} as tokens "
            f"{list(written)}, the grammar as {list(ids)}; {_MEND}, or make the grammar again with set_grammar"
        )


__all__ = ["check_processor_fits"]
