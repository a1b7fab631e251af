"""Colours told from those that a shape has: what training never shows is not learned as impossible.

In CLEVR-CoGenT's condition A a cube has four colours of eight. Cross-entropy over all words teaches that the other
four are none of a cube's, and condition B asks for just those. Here it is over the colours of the object's own shape
alone. That is a softmax with the shape's prior in it, which is left out when the model is used (logit adjustment,
Menon et al. 2021), for a prior that is zero or even.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from modeling_igllm import ClevrObject, SceneObject, SceneProgram
from modeling_igllm.processing_igllm import IGNORE_INDEX
from modeling_igllm.terminals import Terminal, encode_terminal

from .errors import CommandError

COLOR_SHAPES = "color_shapes"
"""In a batch: the index in `FairColors.shapes` at the word of an object's colour, `NO_SHAPE` at all other tokens."""

NO_SHAPE = -1


class FairColors:
    """The cross-entropy of colours among those of each object's shape.

    Args:
        scenes: the training scenes, whose objects say which colours a shape has.
        tokenizer: the model's.
        vocab_size: size of the model's logits.

    Attributes:
        shapes: those that occur, sorted.
        allowed: (shapes, vocabulary) bool, the tokens of each one's colours.

    Raises:
        CommandError: for another family than CLEVR's, or if a colour's word has several tokens.
    """

    def __init__(self, scenes: Iterable[SceneProgram], tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        pairs = sorted({(_clevr(item).shape, _clevr(item).color) for item in chain.from_iterable(scenes)})
        tokens = {color: _token(color, tokenizer) for _, color in pairs}
        self.shapes = sorted({shape for shape, _ in pairs})
        self.allowed = torch.zeros(len(self.shapes), vocab_size, dtype=torch.bool)
        for shape, color in pairs:
            self.allowed[self.shapes.index(shape), tokens[color]] = True

    def take_out(self, labels: torch.Tensor, scenes: Sequence[SceneProgram]) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the colours out of `labels` (B, L); a row without any, where none is asked for, stays as it is.

        Returns:
            The other labels, and `COLOR_SHAPES` (B, L).
        """
        is_color = self.allowed.any(0)[labels.clamp(min=0)] & (labels != IGNORE_INDEX)
        shapes = torch.full_like(labels, NO_SHAPE)
        for row, scene, places in zip(shapes, scenes, is_color, strict=True):
            if places.any():
                row[places] = torch.tensor([self.shapes.index(_clevr(item).shape) for item in scene])
        return labels.masked_fill(is_color, IGNORE_INDEX), shapes

    def loss(
        self,
        logits: torch.Tensor,
        input_ids: torch.Tensor,
        color_shapes: torch.Tensor,
        denominator: torch.Tensor | int,
    ) -> torch.Tensor:
        """Sum over the colours of a batch, divided by the `denominator`; a scalar, 0 without colours.

        Args:
            logits: (B, L, vocabulary); position t answers for token t + 1.
            input_ids: (B, L), with the true words.
            color_shapes: (B, L), of `take_out`.
            denominator: what the cross-entropy of the other words is divided by, so that all words weigh the same.
        """
        asked = color_shapes[:, 1:] != NO_SHAPE
        allowed = self.allowed.to(logits.device)[color_shapes[:, 1:][asked]]
        chosen = logits[:, :-1][asked].float().masked_fill(~allowed, -torch.inf)
        return F.cross_entropy(chosen, input_ids[:, 1:][asked], reduction="sum") / denominator


def _clevr(item: SceneObject) -> ClevrObject:
    if not isinstance(item, ClevrObject):
        raise CommandError(f"a {type(item).__name__} has no colour and shape of CLEVR's: leave out --fair_colors")
    return item


def _token(color: str, tokenizer: PreTrainedTokenizerBase) -> int:
    ids = encode_terminal(Terminal("word", color), tokenizer)
    if len(ids) != 1:
        raise CommandError(
            f"the tokenizer writes {color!r} as {len(ids)} tokens: leave out --fair_colors, it needs one for each"
        )
    return ids[0]
