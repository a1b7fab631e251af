"""A real Llama-style tokenizer (32,000 SentencePiece pieces) without a download, for tests and benchmarks.

The pieces are those of Mistral's first models, as the `mistral-common` package ships them: byte-pair encoding with
byte fallback, as Llama's and Vicuna's tokenizers.
"""

from functools import cache
from pathlib import Path

import mistral_common
from sentencepiece import SentencePieceProcessor
from transformers import AddedToken, LlamaTokenizer
from transformers.tokenization_utils_base import generate_merges

from modeling_igllm import NUM_TOKEN

IMAGE_TOKEN = "<image>"
PAD_TOKEN = "<pad>"
RARE_TOKEN = "▸"
"""A piece that no program and no prompt needs: re-used as the number token where a tokenizer must not grow."""


def make_llama_tokenizer(number_token: bool = True) -> LlamaTokenizer:
    """A Llama tokenizer with `<unk>`, `<s>`, `</s>` (ids 0 to 2), `<image>` (32000), `<pad>` (32001), `[NUM]` (32002).

    Texts start with `<s>` unless `add_special_tokens=False`; the first two added ids are those of the LLaVA-1.5
    checkpoints on the Hub.

    Args:
        number_token: adds `[NUM]`; without it `RARE_TOKEN`, a piece of the vocabulary, is there to be re-used.
    """
    vocabulary, merges = _pieces_and_merges()
    tokenizer = LlamaTokenizer(
        vocab=dict(vocabulary),
        merges=list(merges),
        add_bos_token=True,
        extra_special_tokens={"image_token": IMAGE_TOKEN},
    )
    tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    if number_token:
        # Not a special token: decoding with skip_special_tokens=True must keep it.
        tokenizer.add_tokens([AddedToken(NUM_TOKEN, special=False, normalized=False)])
    return tokenizer


@cache
def _pieces_and_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids of the pieces, and the merges in the order of their scores."""
    model_file = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    model = SentencePieceProcessor(model_file=str(model_file))
    pieces = {model.id_to_piece(index): index for index in range(len(model))}
    scores = {piece: model.get_score(index) for piece, index in pieces.items()}
    return pieces, generate_merges(pieces, scores)
