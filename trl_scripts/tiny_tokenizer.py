"""A tokenizer of about 350 tokens for small models that write scene programs.

Every fixed text and every word of the CLEVR, 2D and posed families is one token, also with shuffled attributes and
synonyms; all other text (numbers written out, shape ids, prompts) falls back to bytes.
"""

from collections.abc import Iterator

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from modeling_igllm import (
    NUM_TOKEN,
    ClevrObject,
    Point2D,
    PosedObject,
    Rotation,
    SceneProgram,
    program_terminals,
)
from modeling_igllm.vocabulary import SPELLINGS

IMAGE_TOKEN = "<image>"
# Random attribute orders that are looked at; every pair of neighbours occurs in far fewer.
SHUFFLES = 300


def build_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the pieces of scene programs, `<pad>`, `<s>`, `</s>`, `<image>` and `[NUM]`.

    Texts start with `<s>` unless `add_special_tokens=False`. A piece is found only where it is tokenised alone, as
    `encode_terminals` does; inside a longer text it is bytes.
    """
    specials = ["<pad>", "<s>", "</s>", IMAGE_TOKEN]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = sorted({byte_level.pre_tokenize_str(text)[0][0] for text in _program_pieces()} - set(alphabet))
    vocabulary = {token: index for index, token in enumerate([*specials, *alphabet, *pieces])}
    # No merges: a text that is a piece as a whole is that token, anything else its bytes.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    # Not a special token: decoding with skip_special_tokens=True must keep it (STACK).
    tokenizer.add_tokens([AddedToken(NUM_TOKEN, special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _program_pieces() -> Iterator[str]:
    """Every fixed text and word that `program_terminals` can write, with repetitions."""
    rng = np.random.default_rng(0)
    for words in SPELLINGS.values():
        for spellings in words.values():
            yield from spellings
    for scene in _sample_scenes():
        for shuffle in [False] + SHUFFLES * [True]:
            terminals = program_terminals(scene, numbers="token", rng=rng, shuffle_attributes=shuffle)
            yield from (terminal.text for terminal in terminals if terminal.kind == "fixed")


def _sample_scenes() -> list[SceneProgram]:
    """A one-object scene of every statement shape; rotations of all lengths share their fixed texts."""
    origin = (0.0, 0.0, 0.0)
    rotation = Rotation.from_matrix(np.eye(3), "6d")
    return [
        SceneProgram((Point2D(0.5, 0.5),)),
        SceneProgram((ClevrObject("small", "red", "metal", "sphere", origin),)),
        SceneProgram((ClevrObject("small", "red", "metal", "cube", origin, 0.0),)),
        SceneProgram((PosedObject("red", "chair", origin, rotation),)),
    ]
