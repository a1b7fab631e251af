"""The metric as `evaluate` loads it: from a copy of the files that the main file names."""

from pathlib import Path

import evaluate
import numpy as np
import pytest

from metrics.scene_program.scoring import score_programs

FOLDER = Path(__file__).parents[2] / "metrics" / "scene_program"
RED = "add(size='large', color='red', material='metal', shape='sphere', loc=(1.000, 0.000, 0.700))"


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    cache = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", cache)
        patch.syspath_prepend(cache)
        patch.chdir(FOLDER.parents[1])
        yield evaluate.load("metrics/scene_program", cache_dir=str(cache / "data"))


def test_module_gives_the_scores_of_the_plain_function(metric):
    scores = metric.compute(predictions=[RED, ""], references=[RED, RED], published_quirks=True, confusion=True)
    np.testing.assert_equal(scores, score_programs([RED, ""], [RED, RED], published_quirks=True, confusion=True))


def test_batches_and_combine_work(metric):
    metric.add_batch(predictions=[RED], references=[RED])
    metric.add(prediction="", reference=RED)
    assert metric.compute()["strict/recall@0.5m"] == 0.5
    combined = evaluate.combine({"a": metric, "b": metric}, force_prefix=True)
    assert combined.compute(predictions=[RED], references=[RED])["a_strict/exact"] == 1


def test_a_none_prediction_is_refused(metric):
    with pytest.raises(ValueError, match="expected format"):
        metric.compute(predictions=[None], references=[RED])


def test_main_file_names_every_other_file():
    """Otherwise a module loaded from the Hub would lack it."""
    imports = evaluate.loading.get_imports(FOLDER / "scene_program.py")
    named = {name for kind, name, _, _ in imports if kind == "internal"}
    assert named == {path.stem for path in FOLDER.glob("*.py")} - {"scene_program", "app"}
