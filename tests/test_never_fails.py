"""The figure that no decoded program fails is of every kind of model: what is decoded with what."""

from itertools import combinations, islice

import pytest

from benchmarks import never_fails
from benchmarks.never_fails import HEADS, ROTATIONS, SHORT_EVERY

BATCHES = 1000  # of 100 programs
NEVER_MET = {("none", True)}


def test_every_kind_of_model_is_decoded_with_every_other_also_in_little_room() -> None:
    families, tokenizers = ("clevr", "so3", "two_d"), ("tiny", "llama")
    kinds = (families, HEADS, tokenizers, ROTATIONS, (False, True))
    decoded = list(islice(never_fails.combinations(), BATCHES))
    for batches in (decoded, decoded[SHORT_EVERY - 1 :: SHORT_EVERY]):
        for first, second in combinations(range(len(kinds)), 2):
            met = {(batch[first], batch[second]) for batch in batches}
            assert met == {(one, other) for one in kinds[first] for other in kinds[second]} - NEVER_MET


@pytest.mark.parametrize("feeds_back", [False, True])
def test_programs_of_numbers_that_are_fed_back_are_decoded(feeds_back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(never_fails, "BATCH_SIZE", 2)
    combination = ("clevr", "binned", "tiny", "6d", feeds_back)
    model, _ = never_fails.make_model(combination, seed=0)
    assert model.config.feed_numbers_back is feeds_back
    predictions = never_fails.decode_batch(combination, 0, 2.0)
    assert len(predictions) == 2 and all(prediction.scene is not None for prediction in predictions)
