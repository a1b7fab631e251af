"""Two processes make the step of one: the losses are averaged over all numbers and tokens of all of them."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import yaml
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from peft import PeftModel, get_peft_model
from processes import run_processes
from safetensors.torch import load_file
from small_backbones import PATCHES, TOWERS, language_configs
from test_scene_trainer import make_trainer
from test_sft_push import SWITCHES, save_base, save_scenes
from trl import ModelConfig

import trl_scripts
from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from trl_scripts.lora import lora_config
from trl_scripts.scene_trainer import keep_new_adapter_in_float32

SCRIPTS = Path(trl_scripts.__file__).parent
Arrays = dict[str, np.ndarray]


def one_step(folder: Path, batch_size: int, accumulation: int) -> Arrays:
    """Parameters after one plain gradient step over all eight rows."""
    trainer = make_trainer(
        tiny.make_processor(),
        folder,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=1.0,
    )
    trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {name: value.detach().numpy().copy() for name, value in model.named_parameters()}


def test_two_processes_make_the_step_of_one(tmp_path: Path) -> None:
    before = {name: value.numpy() for name, value in tiny.make_model(tiny.make_processor()).state_dict().items()}
    one = one_step(tmp_path / "one", 8, 1)
    first, second = run_processes(2, one_step, tmp_path / "two", 2, 2)
    assert sum(not np.array_equal(one[name], before[name]) for name in one) > 10
    for name, expected in one.items():
        assert np.array_equal(first[name], second[name]), name
        np.testing.assert_allclose(first[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def make_mixed_model() -> tuple[PeftModel, IGLLMProcessor]:
    """What the published recipe trains, in small: frozen bfloat16 base, float32 adapter, recomputed activations."""
    processor = tiny.make_processor(num_image_tokens=PATCHES)
    processor.image_processor.size = {"height": 32, "width": 32}
    torch.manual_seed(0)
    text = language_configs(len(processor.tokenizer))["llama"]
    ids = {"num_token_id": processor.num_token_id, "image_token_index": processor.image_token_id}
    base = IGLLMForSceneProgram.from_backbones(TOWERS["clip"], text, **ids).to(torch.bfloat16)
    model = get_peft_model(base, lora_config(base, ModelConfig(use_peft=True, lora_r=4, lora_dropout=0.0)))
    keep_new_adapter_in_float32(model)
    for name, value in model.named_parameters():
        if "lora_B" in name:  # begins at 0, and then lora_A has no gradient
            torch.nn.init.normal_(value, std=0.1)
    model.train().activation_checkpointing_enable()
    model.enable_input_require_grads()
    return model, processor


def gradients(model: torch.nn.Module) -> Arrays:
    """Whole gradients by name."""
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    whole = {name: grad.full_tensor() if hasattr(grad, "full_tensor") else grad for name, grad in found.items()}
    return {name: grad.numpy().copy() for name, grad in whole.items()}


def sharded_gradients(recipe: dict[str, Any]) -> Arrays:
    """Gradients of two rows, one in each process, of a model that accelerate has sharded as `recipe` says."""
    torch.distributed.init_process_group("gloo")
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    model, processor = make_mixed_model()
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=recipe["fsdp_config"]["fsdp_version"],
        auto_wrap_policy=recipe["fsdp_config"]["fsdp_auto_wrap_policy"],
        transformer_cls_names_to_wrap=recipe["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"].split(","),
        reshard_after_forward=recipe["fsdp_config"]["fsdp_reshard_after_forward"],
        cpu_ram_efficient_loading=False,
    )
    # accelerate itself shards on GPUs alone; its function needs no more than this of an Accelerator.
    accelerator: Any = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin),
        mixed_precision=recipe["mixed_precision"],
        is_main_process=rank == 0,
        device=torch.device("cpu"),
        torch_device_mesh=None,
    )
    model = fsdp2_prepare_model(accelerator, model)
    batch = tiny.make_batch(processor)
    counts = {
        "num_items_in_batch": (batch["labels"][:, 1:] != -100).sum(),
        "number_loss_denominator": (batch["labels"] == processor.num_token_id).sum(),
    }
    row = {name: value[rank : rank + 1] for name, value in batch.items()}
    (model(**row, **counts, use_cache=False).loss * count).backward()
    return gradients(model)


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")
def test_weights_dealt_out_by_the_fsdp_recipe_have_the_gradients_of_one_process() -> None:
    recipe = yaml.safe_load((SCRIPTS / "recipes" / "fsdp.yaml").read_text())
    model, processor = make_mixed_model()
    model(**tiny.make_batch(processor), use_cache=False).loss.backward()
    one = gradients(model)
    assert any("numeric_head" in name for name in one) and any("lora_A" in name for name in one)
    for sharded in run_processes(2, sharded_gradients, recipe):
        assert set(sharded) == set(one)
        for name, expected in one.items():
            # The frozen base answers in bfloat16.
            np.testing.assert_allclose(sharded[name], expected, rtol=0, atol=0.02 * abs(expected).max(), err_msg=name)


@pytest.mark.slow
def test_accelerate_launch_with_two_processes_makes_the_step_of_one(tmp_path: Path) -> None:
    base, scenes = save_base(tmp_path / "base"), save_scenes(tmp_path / "scenes")
    saved = []
    for count in (1, 2):
        out = tmp_path / f"out_{count}"
        switches = {"dataset": str(scenes), "model_name_or_path": str(base), "output_dir": str(out), "max_steps": 1}
        switches |= {"per_device_train_batch_size": 4 // count, "optim": "sgd", "max_grad_norm": 0.0}
        config = tmp_path / f"recipe_{count}.yaml"
        config.write_text(json.dumps(SWITCHES | switches))  # JSON is YAML
        # With --cpu accelerate starts a single process, whatever their number; the recipe's use_cpu is what counts.
        launch = [sys.executable, "-m", "accelerate.commands.launch", *(["--multi_gpu"] if count > 1 else [])]
        launch += ["--num_processes", str(count), "--num_machines", "1", "--main_process_port", "0"]
        launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
        command = [*launch, str(SCRIPTS / "sft.py"), "--config", str(config)]
        done = subprocess.run(command, cwd=SCRIPTS.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"{count} x cpu" in (out / "README.md").read_text()
        saved.append(load_file(out / "model.safetensors"))
    start = load_file(base / "model.safetensors")
    assert not torch.equal(saved[0]["lm_head.weight"], start["lm_head.weight"])
    for name, expected in saved[0].items():
        torch.testing.assert_close(saved[1][name], expected, rtol=1e-4, atol=1e-6, msg=name)
