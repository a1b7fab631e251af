"""The page of the metric's Space; needs gradio, which only the Space installs."""

import importlib.util
from pathlib import Path

import evaluate
import pytest

gradio = pytest.importorskip("gradio")

FOLDER = Path(__file__).parents[2] / "metrics" / "scene_program"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    cache = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", cache)
        patch.syspath_prepend(cache)
        spec = importlib.util.spec_from_file_location("metric_app", FOLDER / "app.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def test_page_is_built_and_names_its_fields(app):
    components = app.demo.get_config_file()["components"]
    labels = {component["props"].get("label") for component in components}
    assert {"Predicted program", "True program", "Scores", "Confusion tables"} <= labels


def test_every_example_has_scores(app):
    for example in app.EXAMPLES:
        rows, _ = app.score(*example)
        assert len(rows) > 5
    rows, tables = app.score(*app.EXAMPLES[2])
    scores = dict(rows)
    assert (scores["strict/recall@0.1m"], scores["strict/rotation_deg"]) == ("0.5", "n/a")
    assert tables["strict/confusion/shape"] == {"sphere": {"sphere": 1}, "cube": {"[missing]": 1}}


def test_a_broken_reference_is_a_message_on_the_page(app):
    with pytest.raises(gradio.Error, match="not a scene program"):
        app.score(app.TRUTH, "add(", "6d")
