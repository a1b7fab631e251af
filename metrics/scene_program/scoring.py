"""All scores of predicted scene programs from one plain function, for callers with and without `evaluate`."""

import math
from collections.abc import Sequence

from .bootstrap import pooled_scores
from .confusion import ConfusionTable, confusion_tables
from .matching import match_by_distance
from .programs import Point2D, read_corpus
from .published_scores import published_scores
from .strict_scores import strict_ratios


def score_programs(
    predictions: Sequence[str],
    references: Sequence[str],
    rotation: str = "6d",
    published_quirks: bool = False,
    confusion: bool = False,
    unseen_shapes: bool = False,
) -> dict[str, float | ConfusionTable]:
    """Scores predicted programs by both protocols (METRICS); README.md explains every key.

    Args:
        predictions: one program text per scene; what is no program of the references' family is an empty scene.
        references: as many true programs, all of one benchmark family.
        rotation: representation of full rotations in both, a key of `modeling_igllm.REPRESENTATION_SIZES`.
        published_quirks: compute the published group as the published evaluator did, with its quirks.
        confusion: add `strict/confusion/<attribute>`, as true word -> predicted word -> number of objects.
        unseen_shapes: the references hold shapes that no model can name (BENCHMARKS, `val_ood_shape`): `shape` is
            NaN, and `shape_class` takes its place in every score that compares words.

    Returns:
        A flat dict of `published/<score>`, `strict/<score>`, `strict/<score>_lo` and `strict/<score>_hi`; only scores
        that the family has, NaN where this data leaves one undefined.

    Raises:
        ValueError: no scenes, different lengths, a reference that does not parse, references of no or several
            families, an unknown `rotation`.
    """
    corpus = read_corpus(predictions, references, rotation, unseen_shapes=unseen_shapes)
    pairs = match_by_distance(corpus.predicted, corpus.true)
    scores: dict[str, float | ConfusionTable] = {}
    if published_quirks:
        quirky = read_corpus(predictions, references, rotation, True, unseen_shapes)
        published = published_scores(quirky, match_by_distance(quirky.predicted, quirky.true), quirks=True)
    else:
        published = published_scores(corpus, pairs, quirks=False)
    scores |= {f"published/{name}": score for name, score in published.items()}
    scores |= {f"strict/{name}": score for name, score in pooled_scores(strict_ratios(corpus, pairs)).items()}
    if unseen_shapes and corpus.kind is not Point2D:
        keys = ("published/shape", "strict/shape", "strict/shape_lo", "strict/shape_hi")
        scores |= dict.fromkeys(keys, math.nan)
    if confusion:
        tables = confusion_tables(corpus, pairs)
        scores |= {f"strict/confusion/{name}": table for name, table in tables.items()}
    return scores
