"""A page that scores predicted programs: the app of the metric's Space."""

import math
from pathlib import Path

import evaluate
import gradio

ROTATIONS = ["6d", "9d", "quat", "aa", "euler", "euler_int"]
TRUTH = """\
add(size='large', color='red', material='metal', shape='sphere', loc=(1.000, 2.000, 0.700))
add(size='small', color='blue', material='rubber', shape='cube', loc=(-1.000, 0.500, 0.350), rotation=0.300)
"""
ConfusionTable = dict[str, dict[str, int]]
EXAMPLES = [
    [TRUTH, TRUTH, "6d"],
    [TRUTH.replace("'red'", "'green'").replace("(-1.000", "(-0.800"), TRUTH, "6d"],
    [TRUTH.splitlines()[0], TRUTH, "6d"],
    ["I see a red ball.", TRUTH, "6d"],
    ["add(x=0.310, y=0.400)", "add(x=0.300, y=0.400)", "6d"],
]

metric = evaluate.load(str(Path(__file__).with_name("scene_program.py")))


def score(prediction: str, reference: str, rotation: str) -> tuple[list[list[str]], dict[str, ConfusionTable]]:
    """Scores of one scene as rows (name, value), `n/a` where the scene leaves one undefined, and the confusion tables.

    Raises:
        gradio.Error: if the reference is no scene program; the page shows the message.
    """
    try:
        scores = metric.compute(predictions=[prediction], references=[reference], rotation=rotation, confusion=True)
    except ValueError as error:
        raise gradio.Error(str(error)) from error
    tables = {name: table for name, table in scores.items() if "/confusion/" in name}
    # One scene has no interval.
    shown = {name: value for name, value in scores.items() if name not in tables and not name.endswith(("_lo", "_hi"))}
    return [[name, "n/a" if math.isnan(value) else f"{value:.4g}"] for name, value in shown.items()], tables


demo = gradio.Interface(
    score,
    inputs=[
        gradio.Textbox(label="Predicted program", lines=6),
        gradio.Textbox(label="True program", lines=6),
        gradio.Dropdown(ROTATIONS, value="6d", label="Representation of full rotations"),
    ],
    outputs=[gradio.Dataframe(headers=["score", "value"], label="Scores"), gradio.JSON(label="Confusion tables")],
    examples=EXAMPLES,
    title="scene_program",
    description="How much of a true scene program a predicted one got right. The README explains every score.",
    api_name="score",
)

if __name__ == "__main__":
    demo.launch()
