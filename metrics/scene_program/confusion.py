"""Confusion tables: which word was predicted for which."""

from collections import Counter

import numpy as np

from .matching import Pairs
from .programs import Corpus

MISSING = "[missing]"
"""Predicted "word" of a true object that no predicted one was matched to; no word of the language has brackets."""

EXTRA = "[extra]"
"""True "word" of a predicted object that no true one was matched to."""

ConfusionTable = dict[str, dict[str, int]]


def confusion_tables(corpus: Corpus, pairs: Pairs) -> dict[str, ConfusionTable]:
    """Attribute -> true word -> predicted word -> number of objects, over all scenes.

    Args:
        corpus: the scenes.
        pairs: `match_by_distance` of its objects.
    """
    missing = np.setdiff1d(np.arange(len(corpus.true.positions)), pairs.true)
    extra = np.setdiff1d(np.arange(len(corpus.predicted.positions)), pairs.predicted)
    tables: dict[str, ConfusionTable] = {}
    for name, true in corpus.true.words.items():
        predicted = corpus.predicted.words[name]
        counts = Counter(zip(true[pairs.true].tolist(), predicted[pairs.predicted].tolist(), strict=True))
        counts.update((word, MISSING) for word in true[missing].tolist())
        counts.update((EXTRA, word) for word in predicted[extra].tolist())
        tables[name] = _nested(counts)
    return tables


def _nested(counts: Counter[tuple[str, str]]) -> ConfusionTable:
    table: ConfusionTable = {}
    for (true, predicted), count in sorted(counts.items()):
        table.setdefault(true, {})[predicted] = count
    return table
