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
from modeling_igllm.vocabulary import COLORS

from .errors import CommandError

COLOR_SHAPES = "color_shapes"
"""In a batch: the index in `FairColors.allowed` at the word of an object's colour, `NO_SHAPE` at all other tokens."""

NO_SHAPE = -1


class FairColors:
    """The cross-entropy of colours among those of each object's shape.

    Args:
        scenes: the training scenes, whose objects say which colours a shape has.
        tokenizer: the model's.
        vocab_size: size of the model's logits.

    Attributes:
        shapes: those that occur, sorted.
        allowed: (shapes + 1, vocabulary) bool, the tokens of each one's colours; at last those of all colours, for
            objects such as are not in the training scenes.

    Raises:
        CommandError: for another family than CLEVR's, or if a colour's word has several tokens.
    """

    def __init__(self, scenes: Iterable[SceneProgram], tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        tokens = {color: _token(color, tokenizer) for color in COLORS}
        pairs = {(_clevr(item).shape, _clevr(item).color) for item in chain.from_iterable(scenes)}
        self.shapes = sorted({shape for shape, _ in pairs})
        self.allowed = torch.zeros(len(self.shapes) + 1, vocab_size, dtype=torch.bool)
        for shape, color in pairs:
            self.allowed[self.shapes.index(shape), tokens[color]] = True
        self.allowed[-1, list(tokens.values())] = True

    def take_out(self, labels: torch.Tensor, scenes: Sequence[SceneProgram]) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the colours out of `labels` (B, L); a row without any, where none is asked for, stays as it is.

        Returns:
            The other labels, and `COLOR_SHAPES` (B, L).

        Raises:
            ValueError: if a row has other colours than those of its objects, in the text around the program.
        """
        is_color = self.allowed[-1][labels.clamp(min=0)] & (labels != IGNORE_INDEX)
        shapes = torch.full_like(labels, NO_SHAPE)
        for row, row_labels, scene, places in zip(shapes, labels, scenes, is_color, strict=True):
            tokens = row_labels[places].tolist()
            if len(tokens) not in (0, len(scene)):
                raise ValueError(f"{len(tokens)} words of colours for {len(scene)} objects: is one in answer_prefix?")
            row[places] = torch.tensor(
                [self._row(*pair) for pair in zip(tokens, scene, strict=False)], dtype=row.dtype
            )
        return labels.masked_fill(is_color, IGNORE_INDEX), shapes

    def loss(
        self,
        logits: torch.Tensor,
        input_ids: torch.Tensor,
        color_shapes: torch.Tensor,
        denominator: torch.Tensor | int,
    ) -> torch.Tensor:
        """Sum over the colours of a batch, divided by the `denominator`; a scalar, 0 without colours.

        That a colour comes at all is learned among all words, which one among those of the shape.

        Args:
            logits: (B, L, vocabulary); position t answers for token t + 1.
            input_ids: (B, L), with the true words.
            color_shapes: (B, L), of `take_out`.
            denominator: what the cross-entropy of the other words is divided by, so that all words weigh the same.
        """
        asked = color_shapes[:, 1:] != NO_SHAPE
        chosen = logits[:, :-1][asked].float()
        allowed = self.allowed.to(logits.device)
        among_shape = chosen.masked_fill(~allowed[color_shapes[:, 1:][asked]], -torch.inf)
        among_colors = chosen.masked_fill(~allowed[-1], -torch.inf)
        is_any = chosen.logsumexp(-1) - among_colors.logsumexp(-1)
        is_this = F.cross_entropy(among_shape, input_ids[:, 1:][asked], reduction="sum")
        return (is_any.sum() + is_this) / denominator

    def _row(self, token: int, item: SceneObject) -> int:
        """Index in `allowed` for an object whose colour is `token`."""
        shape = _clevr(item).shape
        if shape in self.shapes and self.allowed[self.shapes.index(shape), token]:
            return self.shapes.index(shape)
        return len(self.shapes)


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
