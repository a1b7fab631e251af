"""Scores predicted scene programs against true ones: the `evaluate` module over the plain functions beside it.

`evaluate` fetches a module from the Hub with the files that this one imports and no others, so it imports a name of
each file, also of those that only its neighbours use. It reads a comment behind an import as the address of a file.
"""

# ruff: noqa: F401

import datasets
import evaluate

from .bootstrap import pooled_scores
from .confusion import ConfusionTable
from .matching import match_by_distance
from .programs import read_corpus
from .published_quirks import fill_missing_numbers
from .published_scores import published_scores
from .scoring import score_programs
from .strict_scores import strict_ratios
from .symmetry import geodesic_degrees

_DESCRIPTION = """\
Compares scene programs (one `add(...)` per object) with the true ones, by the published IG-LLM protocol
(`published/...`) and by a strict one that counts what is missing as wrong (`strict/...`).
"""

_CITATION = """\
@article{kulits2024rethinking,
    title={Re-Thinking Inverse Graphics With Large Language Models},
    author={Kulits, Peter and Feng, Haiwen and Liu, Weiyang and Abrevaya, Victoria and Black, Michael J.},
    journal={Transactions on Machine Learning Research},
    year={2024}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of str, one program per scene; a text that does not parse is an empty scene.
    references: list of str, the true programs, all of one benchmark family.
    rotation: representation of full rotations in both, one of 6d, 9d, quat, aa, euler, euler_int.
    published_quirks: compute `published/...` with the quirks of the published evaluator.
    confusion: add the tables `strict/confusion/<attribute>`, as true word -> predicted word -> count.
    unseen_shapes: for `val_ood_shape`, whose shapes have no name in training: `shape` is NaN and `shape_class` takes
        its place in `precision`, `recall`, `f1` and `exact`.

Returns:
    dict: flat; README.md explains every key. A score that is not defined on this data is NaN.

Examples:
    >>> metric = evaluate.load("metrics/scene_program")
    >>> truth = "add(size='large', color='red', material='metal', shape='sphere', loc=(1.000, 2.000, 0.700))"
    >>> scores = metric.compute(predictions=[truth], references=[truth])
    >>> scores["strict/f1@0.25m"]
    1.0
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class SceneProgramMetric(evaluate.Metric):
    """`evaluate.load("metrics/scene_program")`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[str],
        rotation: str = "6d",
        published_quirks: bool = False,
        confusion: bool = False,
        unseen_shapes: bool = False,
    ) -> dict[str, float | ConfusionTable]:
        return score_programs(predictions, references, rotation, published_quirks, confusion, unseen_shapes)
