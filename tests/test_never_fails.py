"""The figure that no decoded program fails is of every kind of model: what is decoded with what."""

from itertools import combinations, islice

from benchmarks import never_fails
from benchmarks.never_fails import HEADS, ROTATIONS, SHORT_EVERY

BATCHES = 1000  # of 100 programs


def test_every_kind_of_model_is_decoded_with_every_other_also_in_little_room() -> None:
    families, tokenizers = ("clevr", "so3", "two_d"), ("tiny", "llama")
    kinds = (families, HEADS, tokenizers, ROTATIONS)
    decoded = list(islice(never_fails.combinations(), BATCHES))
    for batches in (decoded, decoded[SHORT_EVERY - 1 :: SHORT_EVERY]):
        for first, second in combinations(range(len(kinds)), 2):
            met = {(batch[first], batch[second]) for batch in batches}
            assert len(met) == len(kinds[first]) * len(kinds[second])
