"""A saved folder works alone: in a Python that cannot import this package, with equal outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, SceneTowerModel

SCRIPT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_igllm", "trl_scripts", "dataset_builders"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor

folder, batch_file, result_file, resaved = sys.argv[1:]
torch.set_num_threads(1)
batch = torch.load(batch_file, weights_only=True)
results = {}
for auto_class in (AutoModel, AutoModelForImageTextToText):
    model = auto_class.from_pretrained(folder, trust_remote_code=True)
    assert type(model).__name__ == "IGLLMForSceneProgram"
    output = model(**batch)
    results[auto_class.__name__] = {"logits": output.logits.detach(), "numbers": output.numbers.detach()}
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
image_processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
assert type(image_processor).__name__ == "IGLLMImageProcessor"
assert AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type == "igllm"
prompt = processor.encode_prompt(batch["pixel_values"].new_zeros(1, 3, 40, 64))
generated = model.generate(**prompt, max_new_tokens=6)
results["sequences"] = generated.sequences
results["scenes"] = [str(p.scene) for p in processor.decode_scene(batch["input_ids"], batch["number_labels"])]
torch.save(results, result_file)
model.save_pretrained(resaved)
processor.save_pretrained(resaved)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model and processor."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    processor = tiny.make_processor()
    tiny.make_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_folder_works_without_the_package(saved: Path, tmp_path: Path) -> None:
    model, processor = IGLLMForSceneProgram.from_pretrained(saved), IGLLMProcessor.from_pretrained(saved)
    batch = dict(tiny.make_batch(processor))
    torch.save(batch, tmp_path / "batch.pt")
    script = tmp_path / "alone.py"
    script.write_text(SCRIPT)
    arguments = [saved, tmp_path / "batch.pt", tmp_path / "results.pt", tmp_path / "resaved"]
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", str(script), *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = torch.load(tmp_path / "results.pt", weights_only=True)
    expected = model(**batch)
    for auto_class in ("AutoModel", "AutoModelForImageTextToText"):
        torch.testing.assert_close(results[auto_class]["logits"], expected.logits)
        torch.testing.assert_close(results[auto_class]["numbers"], expected.numbers)
    prompt = processor.encode_prompt(torch.zeros(1, 3, tiny.HEIGHT, tiny.WIDTH))
    assert torch.equal(results["sequences"], model.generate(**prompt, max_new_tokens=6).sequences)
    assert results["scenes"] == [str(tiny.SHORT_SCENE), str(tiny.LONG_SCENE)]
    # What was loaded from the folder alone can be saved again, and is complete.
    assert python_files(tmp_path / "resaved") == python_files(saved)
    assert auto_maps(tmp_path / "resaved") == auto_maps(saved)


def test_checkpoint_carries_code_and_auto_map(saved: Path) -> None:
    assert {"modeling_igllm.py", "scene_program.py", "processing_igllm.py"} <= python_files(saved)
    config_map, processor_map = auto_maps(saved)
    assert config_map == {
        "AutoConfig": "configuration_igllm.IGLLMConfig",
        "AutoModel": "modeling_igllm.IGLLMForSceneProgram",
        "AutoModelForImageTextToText": "modeling_igllm.IGLLMForSceneProgram",
    }
    assert processor_map == {"AutoProcessor": "processing_igllm.IGLLMProcessor"}


def test_checkpoint_code_imports_only_what_the_hub_allows(saved: Path) -> None:
    from transformers.dynamic_module_utils import get_imports

    imported = {name for file in saved.glob("*.py") for name in get_imports(file)}
    third_party = imported - set(sys.stdlib_module_names)
    assert third_party <= {"torch", "transformers", "numpy", "PIL", "huggingface_hub", "safetensors"}


def test_tower_folder_carries_its_own_code(tmp_path: Path) -> None:
    SceneTowerModel(tiny.tower_config()).save_pretrained(tmp_path)
    configuration = {"configuration_igllm.py", "number_ranges.py", "vision_towers.py", "vocabulary.py"}
    assert {"modeling_scene_tower.py", "complete_loading.py", *configuration} == python_files(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == {
        "AutoConfig": "configuration_igllm.SceneTowerConfig",
        "AutoModel": "modeling_scene_tower.SceneTowerModel",
    }


def python_files(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*.py")}


def auto_maps(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of the configuration and of the processor."""
    config, processor = (json.loads((folder / name).read_text()) for name in ("config.json", "processor_config.json"))
    return config["auto_map"], processor["auto_map"]
