"""The page: a picture in; the program, its objects, the 3D view and the rendered picture out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from modeling_igllm import ImageToScenePipeline, ScenePrediction, SceneProgram, SceneProgramError, parse_program

from .blender import MAX_OBJECTS, NO_BLENDER, RenderError
from .object_table import ObjectTable, object_table
from .pictures import open_picture, uploaded_file
from .view_3d import make_glb

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES_LIVE_SECONDS = 900  # uploads and results, then they are deleted
CLEAN_UP_SECONDS = 60  # between two looks for such files
CAMERA = (45, 65, 13)  # degrees, degrees, metres: about where CLEVR's camera stands
STYLE = "#program textarea {font-family: ui-monospace, monospace; font-size: 0.85em}"
INTRODUCTION = """\
# ig-llm: a picture in, a scene program out

Drop a picture of a CLEVR scene, or take an example. A small model writes the **scene program**; from the program alone
the scene is built again: as a 3D view to turn, and as a picture rendered by Blender. Change a word or a number in the
program and build it again. The model knows CLEVR's camera and lamps, three shapes, two materials, two sizes and eight
colours, with 3 to 10 objects; of any other picture it makes such a scene, too, and a wrong one.
"""

Renderer = Callable[[str], Image.Image]


def build_page(reader: ImageToScenePipeline, renderer: Renderer | None) -> gr.Blocks:
    """Lay out the page.

    Args:
        reader: Pillow image in, `ScenePrediction` out.
        renderer: program text in, picture out, or `RenderError`; None without Blender, which the page then says.
    """
    with gr.Blocks(
        title="ig-llm", analytics_enabled=False, delete_cache=(CLEAN_UP_SECONDS, FILES_LIVE_SECONDS)
    ) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            picture = gr.Image(label="Picture", sources=["upload", "clipboard"], height=300, elem_id="picture")
            rendered = gr.Image(
                label="Rendered from the program",
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                height=300,
                elem_id="rendered",
            )
            view = gr.Model3D(label="3D view: drag to turn", camera_position=CAMERA, height=300, elem_id="view")
        gr.Examples([str(path) for path in sorted(EXAMPLES.glob("*.png"))], picture, label="Examples")
        if renderer is None:
            gr.Markdown(f"*{NO_BLENDER}*")
        program = gr.Textbox(label="Scene program", lines=4, max_lines=12, buttons=["copy"], elem_id="program")
        again = gr.Button("Build and render this program", variant="primary", elem_id="again")
        objects = gr.Dataframe(
            label="Objects, and how sure the model is", interactive=False, wrap=True, elem_id="objects"
        )
        steps = _Steps(reader, renderer, Path(view.GRADIO_CACHE))
        # Two queues, each worked off by one at a time: a picture is read while another is rendered.
        read: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
        render: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "blender"}
        # Not gradio's own preprocessing, which decodes pictures of any size.
        picture.change(
            steps.read, picture, [program, objects, view], preprocess=False, api_name="read", **read
        ).success(steps.render, program, rendered, api_name="render", **render)
        again.click(steps.build, program, [objects, view], api_name="build", **read).success(
            steps.render, program, rendered, api_visibility="private", **render
        )
    return page


class _Steps:
    """What the page's events call. They share nothing between visitors: each answers from its input alone."""

    def __init__(self, reader: ImageToScenePipeline, renderer: Renderer | None, files: Path) -> None:
        """`files`: the folder of gradio's uploads and results."""
        self.reader = reader
        self.renderer = renderer
        self.files = files

    def read(self, picture: dict[str, Any] | None) -> tuple[str, ObjectTable | None, str | None]:
        """An upload -> program, table, GLB file; all empty where the picture was taken away."""
        if picture is None:
            return "", None, None
        try:
            prediction: ScenePrediction = self.reader(open_picture(uploaded_file(picture, self.files)))
        except ValueError as error:  # `PictureError`, and what the image processor does not accept
            raise _message(str(error)) from error
        if prediction.scene is None or prediction.program is None:
            raise _message(f"The model's answer is no scene program: {prediction.error}")
        if prediction.truncated:
            gr.Warning("A limit has ended the answer: the model would have gone on.")
        table = object_table(prediction.scene, prediction.confidences)
        return prediction.program, table, self._glb(prediction.scene)

    def build(self, program: str) -> tuple[ObjectTable, str | None]:
        """A program that the visitor may have changed -> table, GLB file."""
        scene = _parse(program)
        return object_table(scene, None), self._glb(scene)

    def render(self, program: str) -> Image.Image | None:
        """A program -> picture; None for an empty one, and without Blender."""
        if self.renderer is None or not program.strip():
            return None
        _parse(program)
        try:
            return self.renderer(program)
        except RenderError as error:
            raise _message(str(error)) from error

    def _glb(self, scene: SceneProgram) -> str | None:
        """A file in gradio's folder, which empties it; None, and a warning, for what the view cannot show."""
        try:
            return save_bytes_to_cache(make_glb(scene), "scene.glb", str(self.files))
        except ValueError as error:
            gr.Warning(f"No 3D view: {error}")
            return None


def _parse(program: str) -> SceneProgram:
    try:
        scene = parse_program(program)
    except SceneProgramError as error:
        raise _message(f"This is no scene program: {error}") from error
    if len(scene.objects) > MAX_OBJECTS:
        raise _message(f"This page builds at most {MAX_OBJECTS} objects, the program has {len(scene.objects)}.")
    return scene


def _message(text: str) -> gr.Error:
    """An error that the visitor sees and the server does not log."""
    return gr.Error(text, print_exception=False)
