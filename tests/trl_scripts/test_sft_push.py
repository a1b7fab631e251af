"""`sft.py --push_to_hub` publishes a fine-tune that anyone can load, with a true card, or says at once why not."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import tiny
from datasets import Dataset, load_dataset
from huggingface_hub import ModelCard, metadata_load
from local_hub import TOKEN, logged_in_hub, run_fresh
from peft import LoraConfig
from PIL import Image
from trl import SFTConfig

from dataset_builders.dataset_card import write_dataset_card
from dataset_builders.painters import Painter, Picture
from dataset_builders.shards import SplitPlan, claim_folder, render_shard
from modeling_igllm import IGLLMForSceneProgram, parse_program
from trl_scripts import sft
from trl_scripts.cli import main as igllm
from trl_scripts.errors import CommandError
from trl_scripts.hub_trainer import HubSFTTrainer
from trl_scripts.training_card import read_origin

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
    "activation_checkpointing": False,
    "disable_tqdm": True,
}


def run_sft(folder: Path, **switches: Any) -> int:
    """`sft.py --config FILE --push_to_hub` with an output folder; returns the exit code."""
    config = folder / "recipe.yaml"
    config.write_text(json.dumps(SWITCHES | {"output_dir": str(folder / "out")} | switches))  # JSON is YAML
    return sft.main(["--config", str(config), "--push_to_hub"])


def save_scenes(folder: Path, seed: int = 0) -> Path:
    """Four black pictures of sampled CLEVR scenes in each of two splits."""
    for split in ("train", "val_id"):
        plan = SplitPlan(folder, "clevr", split, 4, seed=seed, width=64, height=40, samples=1)
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
    """A model fine-tuned for two steps from a Hub model on a Hub dataset, pushed; the base is gone by now."""
    folder = tmp_path_factory.mktemp("fine_tune")
    with logged_in_hub(folder / "cache") as hub:
        assert igllm(["push", "model", str(save_base(folder / "base")), BASE]) == 0
        assert igllm(["push", "dataset", str(save_scenes(folder / "scenes")), DATASET]) == 0
        features = folder / "out" / "features"
        names = {"model_name_or_path": BASE, "dataset": DATASET, "hub_model_id": MODEL, "feature_cache": str(features)}
        assert run_sft(folder, **names) == 0
        repository = hub.repository("models", MODEL)
        base = hub.store.repositories.pop(("models", BASE))
        sha = repository.at("main").sha
        yield SimpleNamespace(hub=hub, folder=folder, out=folder / "out", repository=repository, sha=sha, base=base)


def text_of(pushed: SimpleNamespace, name: str) -> str:
    return str(pushed.repository.at(pushed.sha).files[name].content.decode())


def test_the_whole_checkpoint_arrives_and_nothing_else(pushed):
    files = set(pushed.repository.at(pushed.sha).files)
    code = {path.name for path in pushed.out.glob("*.py")}
    assert {"modeling_igllm.py", "processing_igllm.py", "scene_program.py"} <= code
    saved = {"model.safetensors", "config.json", "generation_config.json", "processor_config.json"}
    saved |= {"custom_generate/generate.py"}
    assert files == code | saved | {"tokenizer.json", "tokenizer_config.json", "README.md", ".gitattributes"}
    assert (pushed.out / "training_args.bin").exists() and list((pushed.out / "features").rglob("*.safetensors"))


def test_the_model_knows_the_grammar_of_its_training_scenes(pushed):
    scenes = [parse_program(text) for text in load_dataset(str(pushed.folder / "scenes"), split="train")["program"]]
    grammar = json.loads(text_of(pushed, "config.json"))["grammar"]
    assert grammar == tiny.make_processor().make_grammar(scenes).to_dict()
    assert grammar["max_objects"] == max(len(scene) for scene in scenes)


def test_nothing_pushed_names_a_folder_of_this_machine_or_needs_the_base(pushed):
    for name, file in pushed.repository.at(pushed.sha).files.items():
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
    assert re.search(r"2 of 2 steps, epoch 1, \d+ seconds, 1 x cpu", card)
    state = json.loads((pushed.out / "trainer_state.json").read_text())
    last = [entry["number_loss"] for entry in state["log_history"] if "number_loss" in entry][-1]
    assert f"`number_loss` {last:.4g}" in card
    for row in (
        f"dataset | `{DATASET}`",
        "train_scenes | `4`",
        "learning_rate | `0.01`",
        "feature_cache | `features`",
    ):
        assert f"| {row} |" in card
    assert "{" not in card.replace("{'skip", "")


def test_a_fresh_python_runs_the_code_on_the_card(pushed, tmp_path):
    Image.fromarray(tiny.make_images(1)[0]).save(tmp_path / "scene.png")
    usage = re.search(r"```python\n(.*?)```", text_of(pushed, "README.md"), re.DOTALL)[1]
    usage = usage.replace("<commit>", pushed.sha)
    script = f"""
{usage}
import hashlib
weights = b"".join(value.numpy().tobytes() for name, value in sorted(to_scene.model.state_dict().items()))
print(json.dumps([prediction.text, hashlib.sha256(weights).hexdigest()]))
"""
    pushed.repository.add_commit("main", "newer and broken", {})  # what a pinned revision protects from
    text, weights = run_fresh(pushed.hub, tmp_path, script)
    assert isinstance(text, str)
    assert weights == digest(IGLLMForSceneProgram.from_pretrained(pushed.out))
    assert weights != digest(IGLLMForSceneProgram.from_pretrained(pushed.folder / "base"))


def digest(model: IGLLMForSceneProgram) -> str:
    """Of all weights, in the order of their names."""
    weights = b"".join(value.numpy().tobytes() for _, value in sorted(model.state_dict().items()))
    return hashlib.sha256(weights).hexdigest()


def test_every_commit_on_the_way_is_a_whole_checkpoint(pushed):
    *pushes, _ = pushed.repository.history(pushed.sha)
    assert [commit.summary for commit in pushes] == [
        "Model save",
        "Training in progress, step 2",
        "Training in progress, step 1",
    ]
    assert all(commit.files.keys() == pushes[0].files.keys() for commit in pushes)
    assert "1 of 2 steps" in pushes[2].files["README.md"].content.decode()
    assert pushes[2].files["model.safetensors"] != pushes[0].files["model.safetensors"]


def test_local_folders_go_by_their_names_to_a_private_branch(hub, tmp_path):
    names = {"model_name_or_path": str(save_base(tmp_path / "base")), "dataset": str(save_scenes(tmp_path / "scenes"))}
    where = {"hub_model_id": "mine", "hub_private_repo": True, "hub_revision": "draft", "hub_strategy": "end"}
    assert run_sft(tmp_path, **names, **where) == 0
    repository = hub.repository("models", "user/mine")
    assert repository.private and len(repository.history("main")) == 1
    (pushed, _) = repository.history("draft")
    card = pushed.files["README.md"].content.decode()
    assert metadata_load(tmp_path / "out" / "README.md").keys().isdisjoint({"base_model", "datasets"})
    assert "license: cc-by-4.0" in card and 'repository = "user/mine"' in card
    assert "| dataset | `scenes` |" in card and "| model_name_or_path | `base` |" in card
    assert str(tmp_path) not in card
    # The same command again trains nothing, sends no weights again, and says that its clock is another.
    assert run_sft(tmp_path, **names, **where) == 0
    again = repository.at("draft")
    assert again.parent == pushed.sha and len(hub.uploads) == 1
    assert {name for name in again.files if again.files[name] != pushed.files[name]} == {"README.md"}
    assert re.search(
        r"2 of 2 steps, epoch 1, \d+ seconds since it was last", again.files["README.md"].content.decode()
    )


def test_licence_of_the_card_is_the_bases_or_for_a_new_model_the_projects(hub, tmp_path):
    base = save_base(tmp_path / "base")
    assert read_origin({"model_name_or_path": str(base), "dataset": "user/scenes"}).license == "cc-by-4.0"
    (base / "README.md").unlink()
    assert read_origin({"model_name_or_path": str(base), "dataset": "user/scenes"}).license is None
    assert igllm(["push", "model", str(base), BASE]) == 0
    named = read_origin({"model_name_or_path": BASE, "model_revision": "main", "dataset": "user/scenes"})
    assert (named.license, named.base_commit) == (None, hub.repository("models", BASE).at("main").sha)
    new = read_origin({"model_name_or_path": None, "tower": str(base), "dataset": str(tmp_path)})
    assert (new.license, new.base_model, new.dataset) == ("apache-2.0", None, None)


def test_training_outlives_a_lost_hub(hub, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client waits before each of its retries
    names = {"model_name_or_path": str(save_base(tmp_path / "base")), "dataset": str(save_scenes(tmp_path / "scenes"))}
    hub.uploads_to_drop = 1000
    assert run_sft(tmp_path, **names, hub_model_id=MODEL) == 2
    out = tmp_path / "out"
    warnings = [record.getMessage() for record in caplog.records if "training goes on" in record.getMessage()]
    assert [f"checkpoint-{step} was not pushed" in line for step, line in enumerate(warnings, 1)] == [True, True]
    line = capsys.readouterr().err.splitlines()[-1]
    command = f"igllm push model {out} {MODEL}"
    assert "nothing was committed" in line and line.endswith(f"The trained model is in {out}: `{command}`")
    assert len(hub.repository("models", MODEL).history()) == 1
    hub.uploads_to_drop = 0
    assert igllm(command.split()[1:]) == 0
    card = hub.repository("models", MODEL).at("main").files["README.md"].content.decode()
    assert "2 of 2 steps" in card


@pytest.mark.parametrize(
    ("switches", "token", "expected"),
    [
        ({}, "hf_wrong", "the Hub refused the token: run `hf auth login`"),
        ({"hub_token": "hf_wrong"}, TOKEN, "the Hub refused the token: run `hf auth login`"),
        ({}, None, "not logged in: run `hf auth login`"),
        ({"hub_model_id": "another/public"}, TOKEN, "this token may not write to another/public"),
        ({"hub_model_id": "another/new"}, TOKEN, "this token may not write to another/new"),
        ({"hub_model_id": "user/ig llm"}, TOKEN, "user/ig llm: "),
        ({"hub_model_id": "user/public", "hub_private_repo": True}, TOKEN, "user/public exists and is public"),
        ({"hub_revision": "refs/pr/1"}, TOKEN, f"{MODEL}: "),
        ({"use_peft": True}, TOKEN, "an adapter alone is not pushed: train without --push_to_hub"),
        ({"hub_strategy": "checkpoint"}, TOKEN, "--hub_strategy checkpoint would publish the optimizer's state"),
    ],
)
def test_a_refusal_comes_in_one_line_before_anything_else(
    hub, tmp_path, capsys, monkeypatch, switches, token, expected
):
    for repo_id, owner in (("user/public", TOKEN), ("another/public", "hf_token_of_another")):
        huggingface_hub.HfApi(token=owner).create_repo(repo_id)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nowhere/token")
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    nothing = {"model_name_or_path": "nowhere", "dataset": "nowhere", "hub_model_id": MODEL}
    assert run_sft(tmp_path, **nothing | switches) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sft.py: ") and expected in line


def test_an_adapter_alone_is_refused_before_training(hub, processor, tmp_path):
    arguments = SFTConfig(str(tmp_path), push_to_hub=True, hub_model_id=MODEL, use_cpu=True, bf16=False)
    with pytest.raises(CommandError, match="an adapter alone is not pushed"):
        HubSFTTrainer(
            model=tiny.make_model(processor),
            args=arguments,
            train_dataset=Dataset.from_dict({"text": ["none"]}),
            processing_class=processor.tokenizer,
            peft_config=LoraConfig(target_modules=["q_proj"]),
        )
