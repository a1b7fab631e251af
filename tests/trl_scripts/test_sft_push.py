"""`sft.py --push_to_hub` publishes a fine-tune that anyone can load, with a true card, or says at once why not."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import tiny
from huggingface_hub import ModelCard, metadata_load
from local_hub import LocalHub, logged_in_hub, run_fresh
from PIL import Image

from dataset_builders.dataset_card import write_dataset_card
from dataset_builders.painters import Painter, Picture
from dataset_builders.shards import SplitPlan, claim_folder, render_shard
from modeling_igllm import IGLLMForSceneProgram
from trl_scripts import sft
from trl_scripts.cli import main as igllm

MODEL, BASE, DATASET = "user/my-ig-llm", "user/base", "user/scenes"
SWITCHES = {
    "dataset_config": "clevr",
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "save_steps": 1,
    "logging_steps": 1,
    "learning_rate": 1e-2,
    "max_length": None,
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "remove_unused_columns": False,
    "activation_checkpointing": False,
    "disable_tqdm": True,
}


def run_sft(folder: Path, **switches: Any) -> int:
    """`sft.py --config FILE --push_to_hub` with an output folder; returns the exit code."""
    config = folder / "recipe.yaml"
    skip = {"dataset_kwargs": {"skip_prepare_dataset": True}, "output_dir": str(folder / "out")}
    config.write_text(json.dumps(SWITCHES | skip | switches))  # JSON is YAML
    return sft.main(["--config", str(config), "--push_to_hub"])


def save_scenes(folder: Path) -> Path:
    """Four black pictures of sampled CLEVR scenes in each of two splits."""
    for split in ("train", "val_id"):
        plan = SplitPlan(folder, "clevr", split, 4, seed=0, width=64, height=40, samples=1)
        claim_folder(plan)
        for shard in range(plan.num_shards):
            list(render_shard(plan, shard, Painter(lambda _: Picture(np.zeros((40, 64, 3), np.uint8)), "4.5.0")))
    write_dataset_card(folder)
    return folder


def save_base(folder: Path) -> Path:
    """A random model under a licence of its own."""
    processor = tiny.make_processor()
    tiny.make_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    return folder


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A model fine-tuned for two steps from a Hub model on a Hub dataset, pushed; the base is private by now."""
    folder = tmp_path_factory.mktemp("fine_tune")
    with logged_in_hub(folder / "cache") as hub:
        assert igllm(["push", "model", str(save_base(folder / "base")), BASE]) == 0
        assert igllm(["push", "dataset", str(save_scenes(folder / "scenes")), DATASET]) == 0
        features = folder / "out" / "features"
        names = {"model_name_or_path": BASE, "dataset": DATASET, "hub_model_id": MODEL, "feature_cache": str(features)}
        assert run_sft(folder, **names) == 0
        repository = hub.repository("models", MODEL)
        base = hub.store.repositories.pop(("models", BASE))
        yield SimpleNamespace(hub=hub, folder=folder, out=folder / "out", repository=repository, base=base)


def text_of(pushed: SimpleNamespace, name: str) -> str:
    return str(pushed.repository.at("main").files[name].content.decode())


def test_the_whole_checkpoint_arrives_and_nothing_else(pushed):
    files = set(pushed.repository.at("main").files)
    code = {path.name for path in pushed.out.glob("*.py")}
    assert {"modeling_igllm.py", "processing_igllm.py", "scene_program.py"} <= code
    saved = {"model.safetensors", "config.json", "generation_config.json", "processor_config.json"}
    assert files == code | saved | {"tokenizer.json", "tokenizer_config.json", "README.md", ".gitattributes"}
    assert (pushed.out / "training_args.bin").exists() and list((pushed.out / "features").glob("*.npy"))


def test_nothing_pushed_names_a_folder_of_this_machine_or_needs_the_base(pushed):
    for name, file in pushed.repository.at("main").files.items():
        assert str(pushed.folder).encode() not in file.content, name
    for name in ("config.json", "processor_config.json"):
        assert all("--" not in place for place in json.loads(text_of(pushed, name))["auto_map"].values())


def test_head_of_the_card_is_valid_and_complete(pushed):
    (card := ModelCard(text_of(pushed, "README.md"))).validate()
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "license": "cc-by-4.0",
        "base_model": BASE,
        "datasets": [DATASET],
        "tags": ["ig-llm", "inverse-graphics", "scene-program", "generated_from_trainer", "trl", "sft"],
    }


def test_card_says_what_was_trained_on_what_and_how_long(pushed):
    card = text_of(pushed, "README.md")
    assert f"Fine-tuned from [{BASE}](https://huggingface.co/{BASE}) at commit `{pushed.base.at('main').sha}`" in card
    assert re.search(r"2 of 2 steps, 1 epochs, \d+ seconds, 1 x cpu", card)
    state = json.loads((pushed.out / "trainer_state.json").read_text())
    last = [entry["number_loss"] for entry in state["log_history"] if "number_loss" in entry][-1]
    assert f"`number_loss` {last:.4g}" in card
    for row in (f"dataset | `{DATASET}`", "train_scenes | `4`", "learning_rate | `0.01`", "feature_cache | `features`"):
        assert f"| {row} |" in card
    assert "{" not in card.replace("{'skip", "")


def test_a_fresh_python_runs_the_code_on_the_card(pushed, tmp_path):
    Image.fromarray(tiny.make_images(1)[0]).save(tmp_path / "scene.png")
    usage = re.search(r"```python\n(.*?)```", text_of(pushed, "README.md"), re.DOTALL)[1]
    sha = pushed.repository.at("main").sha
    usage = usage.replace("<commit>", sha)
    script = f"""
{usage}
import hashlib
weights = b"".join(value.numpy().tobytes() for name, value in sorted(model.state_dict().items()))
print(json.dumps([model.config._commit_hash, prediction.program, hashlib.sha256(weights).hexdigest()]))
"""
    commit, program, weights = run_fresh(pushed.hub, tmp_path, script)
    assert commit == sha and isinstance(program, str)
    assert weights == digest(IGLLMForSceneProgram.from_pretrained(pushed.out))
    assert weights != digest(IGLLMForSceneProgram.from_pretrained(pushed.folder / "base"))


def digest(model: IGLLMForSceneProgram) -> str:
    import hashlib

    weights = b"".join(value.numpy().tobytes() for _, value in sorted(model.state_dict().items()))
    return hashlib.sha256(weights).hexdigest()
