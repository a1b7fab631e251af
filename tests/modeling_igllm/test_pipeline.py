"""`pipeline(model=folder, trust_remote_code=True)(image)` gives scenes, from a folder that works alone."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_backbones import PATCHES, TOWERS
from transformers import CLIPImageProcessorPil, pipeline

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, ImageToScenePipeline, ScenePrediction
from modeling_igllm.configuration_igllm import CUSTOM_PIPELINES
from modeling_igllm.processor_fit import check_processor_fits

COUNT = 3  # images
ROOM = 120  # tokens

SCRIPT = """
import json
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_igllm", "trl_scripts", "dataset_builders"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import torch
from transformers import pipeline

folder, resaved, *images = sys.argv[1:]
torch.set_num_threads(1)
results = []
for source in (folder, resaved):
    to_scene = pipeline(model=source, trust_remote_code=True, device="cpu")
    assert type(to_scene).__name__ == "ImageToScenePipeline"
    assert to_scene.task == "image-to-scene"
    predictions = [to_scene(images[0]), *to_scene(images, batch_size=2)]
    results.append([prediction.to_json() for prediction in predictions])
    if source == folder:
        to_scene.save_pretrained(resaved)
try:
    predictions[0].render()
except ImportError as error:
    results.append(str(error))
print("RESULTS", json.dumps(results))
"""


@pytest.fixture(scope="module")
def to_scene() -> ImageToScenePipeline:
    """A random model with the grammar of CLEVR."""
    processor = tiny.make_processor()
    model = tiny.make_model(processor, number_head="gaussian")
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=3))
    return ImageToScenePipeline(model=model, processor=processor, device="cpu", max_new_tokens=ROOM)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Image files."""
    folder = tmp_path_factory.mktemp("images")
    for index, image in enumerate(tiny.make_images(COUNT)):
        Image.fromarray(image).save(folder / f"{index}.png")
    return sorted(folder.iterdir())


def assert_equal(first: dict[str, object], second: dict[str, object]) -> None:
    """The same programs, and the same numbers up to the rounding of floats."""
    assert first["program"] == second["program"]
    assert first["truncated"] == second["truncated"]
    for key in ("number_stds", "confidences"):
        np.testing.assert_allclose(flat(first[key]), flat(second[key]), atol=1e-5)


def flat(value: object) -> list[float]:
    if isinstance(value, dict):
        return flat(list(value.values()))
    return [number for item in value for number in flat(item)] if isinstance(value, list) else [float(value)]  # type: ignore[arg-type]


def test_a_saved_pipeline_works_without_the_package_and_can_be_saved_again(
    to_scene: ImageToScenePipeline, paths: list[Path], tmp_path: Path
) -> None:
    to_scene.model.generation_config.max_new_tokens = ROOM  # what the call says is not saved
    to_scene.save_pretrained(tmp_path / "saved")
    (tmp_path / "alone.py").write_text(SCRIPT)
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", "alone.py", "saved", "resaved", *map(str, paths)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULTS"))
    *results, error = json.loads(line.removeprefix("RESULTS"))
    expected = [prediction.to_json() for prediction in to_scene(list(map(str, paths)))]
    for result in results:
        for actual, prediction in zip(result, [expected[0], *expected], strict=True):
            assert_equal(actual, prediction)
    assert "pip install 'ig-llm[render]'" in error
    saved, resaved = ({path.name for path in (tmp_path / name).iterdir()} for name in ("saved", "resaved"))
    assert saved == resaved
    assert {"pipeline_igllm.py", "processing_igllm.py", "custom_generate"} <= saved


def test_a_saved_model_names_its_pipeline_and_carries_its_code(tmp_path: Path) -> None:
    tiny.make_model(tiny.make_processor()).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["custom_pipelines"] == CUSTOM_PIPELINES
    assert (tmp_path / "pipeline_igllm.py").is_file()
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path)
    assert loaded.config.custom_pipelines == CUSTOM_PIPELINES


def test_one_image_is_one_prediction_and_a_list_a_list(to_scene: ImageToScenePipeline) -> None:
    images = [Image.fromarray(image) for image in tiny.make_images(COUNT)]
    prediction = to_scene(images[0])
    assert isinstance(prediction, ScenePrediction)
    assert prediction.scene is not None and len(prediction.scene) > 0
    assert len(prediction.number_stds) == len(prediction.numbers) > 0
    for words in prediction.confidences:
        assert words.keys() == {"object", "size", "color", "material", "shape"}
        assert all(0 < probability <= 1 for probability in words.values())
    assert to_scene(images[:1]) == [prediction]


@pytest.mark.parametrize("batch_size", [1, 2, COUNT, 7])
def test_batches_of_any_size_give_the_same(to_scene: ImageToScenePipeline, batch_size: int) -> None:
    images = [Image.fromarray(image) for image in tiny.make_images(COUNT)]
    expected = [to_scene(image).to_json() for image in images]
    for actual, single in zip(to_scene(images, batch_size=batch_size), expected, strict=True):
        assert_equal(actual.to_json(), single)


def test_images_may_be_paths_arrays_and_a_stream(to_scene: ImageToScenePipeline, paths: list[Path]) -> None:
    expected = [to_scene(path) for path in paths]
    assert to_scene([str(path) for path in paths]) == expected
    assert to_scene(tiny.make_images(COUNT)) == expected

    def stream() -> Iterator[Path]:
        yield from paths

    assert list(to_scene(stream())) == expected


def test_transparency_of_a_file_is_white_as_everywhere(to_scene: ImageToScenePipeline, tmp_path: Path) -> None:
    image = Image.new("RGBA", (tiny.WIDTH, tiny.HEIGHT), (0, 0, 0, 0))
    image.save(tmp_path / "clear.png")
    inputs = to_scene.preprocess(str(tmp_path / "clear.png"))
    white = to_scene.processor.encode_prompt([Image.new("RGB", image.size, "white")])
    assert (inputs["pixel_values"] == white["pixel_values"]).all()


class Server(BaseHTTPRequestHandler):
    """Serves `files`."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Image.Image], list[str]]]:
    """A picture as a PNG -> all forms of text that stand for it: an address, base64, and base64 as a data address."""
    monkeypatch.setattr(Server, "files", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def texts(image: Image.Image, **options: Any) -> list[str]:
        stream = io.BytesIO()
        image.save(stream, "PNG", **options)
        Server.files["/picture.png"] = stream.getvalue()
        lines = base64.encodebytes(stream.getvalue()).decode()
        address = f"http://127.0.0.1:{server.server_port}/picture.png"
        return [address, lines, f"data:image/png;base64,{lines.replace(chr(10), '')}"]

    yield texts
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_text_stands_for_is_read_as_a_file_is(to_scene: ImageToScenePipeline, sources, tmp_path: Path) -> None:
    clear = Image.new("RGBA", (tiny.WIDTH, tiny.HEIGHT), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((tiny.HEIGHT, tiny.WIDTH), 100 << 8, np.uint16))
    for image in (clear, deep):
        image.save(tmp_path / "image.png")
        expected = to_scene.preprocess(str(tmp_path / "image.png"))["pixel_values"]
        for text in sources(image):
            assert torch.equal(to_scene.preprocess(text)["pixel_values"], expected)


def test_what_a_file_may_not_be_a_text_may_not_stand_for(to_scene: ImageToScenePipeline, sources) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for text in sources(frames[0].resize((400, 400)), save_all=True, append_images=frames[1:]):
        with pytest.raises(ValueError, match=f"{re.escape(text[:20])}.*several frames"):
            to_scene(text)
    for text in sources(Image.new("1", (8193, 1))):
        with pytest.raises(ValueError, match="8193 x 1 pixels: more than 8192"):
            to_scene(text)


def test_an_address_with_nothing_behind_it_is_an_error(to_scene: ImageToScenePipeline, sources) -> None:
    address, *_ = sources(Image.new("RGB", (8, 8)))
    with pytest.raises(Exception, match=r"404.*gone\.png"):
        to_scene(address.replace("picture", "gone"))


def test_decoding_is_that_of_generate_scene(to_scene: ImageToScenePipeline, processor: IGLLMProcessor) -> None:
    images = tiny.make_images(1)
    output = to_scene.model.generate_scene(**processor.encode_prompt(images), max_new_tokens=ROOM)
    assert to_scene(images[0]).numbers == processor.decode_scene(output.sequences, output.numbers)[0].numbers
    short = to_scene(images[0], max_new_tokens=20)
    assert short.truncated and short.error is None
    assert to_scene(images[0], do_sample=True, temperature=2.0, generator=None).error is None
    with pytest.raises(TypeError, match="num_beams"):
        to_scene(images[0], num_beams=2)


@pytest.mark.parametrize(
    ("image", "error", "said"),
    [
        ("missing.png", ValueError, "missing.png"),
        (Path("missing.png"), FileNotFoundError, "missing.png"),
        (3, TypeError, "int"),
        (tuple(tiny.make_images(2)), ValueError, "2 images as one input: several images come as a list"),
    ],
)
def test_what_is_no_image_is_named(to_scene: ImageToScenePipeline, image: object, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        to_scene(image)


def test_a_checkpoint_that_lacks_a_weight_is_refused(to_scene: ImageToScenePipeline, tmp_path: Path) -> None:
    to_scene.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["numeric_head.layers.3.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights, among them numeric_head\.layers\.3\.weight"):
        pipeline(model=str(tmp_path), trust_remote_code=True, device="cpu")


def test_a_processor_that_crops_fits_a_tower_of_that_size(processor: IGLLMProcessor) -> None:
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    cropping = IGLLMProcessor(
        CLIPImageProcessorPil(**sizes), processor.tokenizer, num_image_tokens=PATCHES, prompt="<image>"
    )
    config = tiny.make_config(processor, vision_config=TOWERS["clip"])
    check_processor_fits(config, cropping)
    cropping.image_processor.crop_size = {"height": 24, "width": 32}
    with pytest.raises(ValueError, match=r"size of images is \(24, 32\), the model has \(32, 32\)"):
        check_processor_fits(config, cropping)


def test_a_checkpoint_without_a_grammar_says_what_to_do(processor: IGLLMProcessor) -> None:
    without = ImageToScenePipeline(model=tiny.make_model(processor), processor=processor, device="cpu")
    with pytest.raises(ValueError, match=r"set_grammar\(processor\.make_grammar\(scenes\)\)"):
        without(tiny.make_images(1)[0])
