"""A page that scores one predicted program: the app of the metric's Space."""

import evaluate
import gradio

metric = evaluate.load("scene_program.py")


def score(prediction: str, reference: str) -> dict[str, float]:
    """All scores of one scene."""
    return metric.compute(predictions=[prediction], references=[reference])


if __name__ == "__main__":
    programs = [gradio.Textbox(label="Predicted program", lines=6), gradio.Textbox(label="True program", lines=6)]
    gradio.Interface(score, programs, gradio.JSON(label="Scores"), title="scene_program", api_name="score").launch()
