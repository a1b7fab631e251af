"""Colours and shapes told from those that go with each other: what training never shows is not learned as impossible.

In CLEVR-CoGenT's condition A a cube has four colours of eight. Cross-entropy over all words teaches that the other
four are none of a cube's, and that what is red is no cube; condition B asks for just those pairs. Here a colour is
told from the colours of the object's own shape alone, and a shape from the shapes of its own colour. That is a softmax
with the frequencies of the training scenes in it, which are left out when the model is used (logit adjustment, Menon
et al. 2021): then all words are even.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from modeling_igllm import ClevrObject, SceneObject, SceneProgram
from modeling_igllm.processing_igllm import IGNORE_INDEX
from modeling_igllm.terminals import Terminal, encode_terminal
from modeling_igllm.vocabulary import COLORS, SHAPES

from .errors import CommandError

PRIOR_ROWS = "prior_rows"
"""In a batch: the row of `FairPairs.log_priors` at the word of a colour or shape, `NO_PRIOR` at all other tokens."""

NO_PRIOR = -1
_PARTNERS = {"color": "shape", "shape": "color"}
_WORDS = {"color": COLORS, "shape": SHAPES}


class FairPairs:
    """The cross-entropy of colours and shapes among those that go with the object's shape or colour.

    Args:
        scenes: the training scenes, which say what goes together, and how often.
        tokenizer: the model's.
        vocab_size: size of the model's logits.

    Attributes:
        rows: (attribute, word of its partner), such as ("color", "cube"), or (attribute, None) -> row of `log_priors`.
        log_priors: (rows, vocabulary), the logarithm of how often a word goes with that partner, -inf for never and
            for all other tokens; with None, for pairs such as are not in the training scenes, all words are even.

    Raises:
        CommandError: for another family than CLEVR's, or if a colour or shape has several tokens.
    """

    def __init__(self, scenes: Iterable[SceneProgram], tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        self._tokens = {word: _token(word, tokenizer) for words in _WORDS.values() for word in words}
        pairs = Counter(
            (attribute, words[partner], words[attribute])
            for words in map(_words, chain.from_iterable(scenes))
            for attribute, partner in _PARTNERS.items()
        )
        keys = sorted({(attribute, partner) for attribute, partner, _ in pairs})
        self.rows: dict[tuple[str, str | None], int] = {key: row for row, key in enumerate([*keys, *_UNKNOWN])}
        counts = torch.zeros(len(self.rows), vocab_size)
        for (attribute, partner, word), count in pairs.items():
            counts[self.rows[attribute, partner], self._tokens[word]] = count
        for attribute, words_of_it in _WORDS.items():
            counts[self.rows[attribute, None], [self._tokens[word] for word in words_of_it]] = 1
        self.log_priors = (counts / counts.sum(1, keepdim=True)).log()
        self._any = torch.tensor([self.rows[attribute, None] for attribute, _ in self.rows])

    def take_out(self, labels: torch.Tensor, scenes: Sequence[SceneProgram]) -> tuple[torch.Tensor, torch.Tensor]:
        """Take colours and shapes out of `labels` (B, L).

        A row in which no colour is asked for stays as it is: its colours are random, and say nothing of its shapes.

        Returns:
            The other labels, and `PRIOR_ROWS` (B, L).

        Raises:
            CommandError: if a row has other colours or shapes than those of its objects, around the program.
        """
        priors = torch.full_like(labels, NO_PRIOR)
        colors, shapes = (self._places(labels, attribute) for attribute in ("color", "shape"))
        for row, scene in enumerate(scenes):
            if not colors[row].any():
                continue
            for attribute, places in (("color", colors[row]), ("shape", shapes[row])):
                if int(places.sum()) != len(scene):
                    raise CommandError(
                        f"{int(places.sum())} words of {attribute}s are learned for {len(scene)} objects: the text "
                        "around the program (answer_prefix, answer_suffix) has one of them; leave out --fair_pairs"
                    )
                priors[row, places] = torch.tensor([self._row(attribute, item) for item in scene])
        return labels.masked_fill(priors != NO_PRIOR, IGNORE_INDEX), priors

    def loss(
        self, logits: torch.Tensor, input_ids: torch.Tensor, prior_rows: torch.Tensor, denominator: torch.Tensor | int
    ) -> torch.Tensor:
        """Sum over the colours and shapes of a batch, divided by the `denominator`; a scalar, 0 without any.

        That a colour (or a shape) comes at all is learned among all words, which one among those of its partner.

        Args:
            logits: (B, L, vocabulary); position t answers for token t + 1.
            input_ids: (B, L), with the true words.
            prior_rows: (B, L), of `take_out`.
            denominator: what the cross-entropy of the other words is divided by, so that all words weigh the same.
        """
        asked = prior_rows[:, 1:] != NO_PRIOR
        rows = prior_rows[:, 1:][asked]
        chosen = logits[:, :-1][asked].float()
        log_priors = self.log_priors.to(logits.device)
        among_all = chosen.masked_fill(log_priors[self._any.to(logits.device)[rows]].isinf(), -torch.inf)
        is_any = chosen.logsumexp(-1) - among_all.logsumexp(-1)
        is_this = F.cross_entropy(chosen + log_priors[rows], input_ids[:, 1:][asked], reduction="sum")
        return (is_any.sum() + is_this) / denominator

    def _places(self, labels: torch.Tensor, attribute: str) -> torch.Tensor:
        words = [self._tokens[word] for word in _WORDS[attribute]]
        return torch.isin(labels, torch.tensor(words))

    def _row(self, attribute: str, item: SceneObject) -> int:
        """Row of `log_priors` for the word of an object's attribute."""
        words = _words(item)
        row = self.rows.get((attribute, words[_PARTNERS[attribute]]))
        if row is None or self.log_priors[row, self._tokens[words[attribute]]].isinf():
            return self.rows[attribute, None]
        return row


_UNKNOWN = tuple((attribute, None) for attribute in _PARTNERS)


def _words(item: SceneObject) -> dict[str, str]:
    if not isinstance(item, ClevrObject):
        raise CommandError(f"a {type(item).__name__} has no colour and shape of CLEVR's: leave out --fair_pairs")
    return {"color": item.color, "shape": item.shape}


def _token(word: str, tokenizer: PreTrainedTokenizerBase) -> int:
    ids = encode_terminal(Terminal("word", word), tokenizer)
    if len(ids) != 1:
        raise CommandError(
            f"the tokenizer writes {word!r} as {len(ids)} tokens: leave out --fair_pairs, it needs one for each"
        )
    return ids[0]
