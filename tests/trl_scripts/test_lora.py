"""LoRA trains what it should, and its adapter gives the same model again: reloaded, or merged into the base."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from huggingface_hub import ModelCard
from local_hub import LocalHub
from peft import PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from small_backbones import language_configs
from test_scene_trainer import make_rows, make_trainer
from test_sft_push import SWITCHES, save_base, save_scenes
from transformers import AutoModelForImageTextToText
from trl import ModelConfig

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, parse_program
from trl_scripts import sft
from trl_scripts.cli import main as igllm
from trl_scripts.errors import CommandError
from trl_scripts.lora import lora_config, model_settings, quantization_config
from trl_scripts.merge_adapter import merge_adapter
from trl_scripts.scene_collator import SceneCollator
from trl_scripts.scene_rows import load_scene_rows
from trl_scripts.scene_trainer import SceneSFTTrainer

LORA = ModelConfig(use_peft=True, lora_r=2)


def make_base(processor: IGLLMProcessor, folder: Path, language: str = "llama") -> IGLLMForSceneProgram:
    """A random model, saved and loaded as a base is."""
    torch.manual_seed(0)
    text = language_configs(len(processor.tokenizer))[language]
    ids = {"num_token_id": processor.num_token_id, "image_token_index": processor.image_token_id}
    IGLLMForSceneProgram.from_backbones(tiny.tower_config(), text, **ids).save_pretrained(folder)
    return IGLLMForSceneProgram.from_pretrained(folder)


def train_briefly(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> None:
    """Three large steps on all that is trainable."""
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model.train()(**batch).loss.backward()
        optimizer.step()
    model.eval()


@pytest.mark.parametrize(
    ("language", "train_number_token"), [("llama", False), ("llama", True), ("smollm", False), ("smollm", True)]
)
def test_an_adapter_is_the_same_model_reloaded_and_merged(
    language: str, train_number_token: bool, processor: IGLLMProcessor, tmp_path: Path
) -> None:
    base = make_base(processor, tmp_path / "base", language)
    model = get_peft_model(base, lora_config(base, LORA, train_number_token))
    batch = dict(tiny.make_batch(processor))
    before = model(**batch).logits
    train_briefly(model, batch)
    expected = model(**batch)
    assert not torch.allclose(expected.logits, before, atol=0.1)
    model.save_pretrained(tmp_path / "adapter")
    on_base = PeftModel.from_pretrained(IGLLMForSceneProgram.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    by_auto = AutoModelForImageTextToText.from_pretrained(tmp_path / "adapter", trust_remote_code=True)
    for loaded in (on_base, by_auto):
        output = loaded.eval()(**batch)
        torch.testing.assert_close(output.logits, expected.logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(output.numbers, expected.numbers, rtol=0, atol=1e-5)
    merged = on_base.merge_and_unload()
    assert type(merged) is IGLLMForSceneProgram
    torch.testing.assert_close(merged(**batch).logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(merged(**batch).numbers, expected.numbers, rtol=0, atol=1e-5)


def test_generation_goes_through_the_adapter(processor: IGLLMProcessor, tmp_path: Path) -> None:
    base = make_base(processor, tmp_path)
    model = get_peft_model(base, lora_config(base, LORA))
    train_briefly(model, dict(tiny.make_batch(processor)))
    prompt = processor.encode_prompt(tiny.make_images(2))
    generated = model.generate(**prompt, max_new_tokens=8)
    merged = model.merge_and_unload().generate(**prompt, max_new_tokens=8)
    assert torch.equal(generated.sequences, merged.sequences)
    torch.testing.assert_close(generated.numbers, merged.numbers, rtol=0, atol=1e-5, equal_nan=True)


def test_what_is_trained_is_named_by_default_and_by_choice(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, feed_numbers_back=True)
    config = lora_config(model, LORA)
    assert config is not None
    assert config.modules_to_save == ["multi_modal_projector", "numeric_head", "number_embedding"]
    wrapped = {name for name, module in get_peft_model(model, config).named_modules() if name.endswith(".lora_A")}
    assert len(wrapped) == 7 * 2
    assert all("language_model" in name for name in wrapped)
    chosen = ModelConfig(
        use_peft=True, lora_target_modules=["q_proj", "v_proj"], lora_modules_to_save=["numeric_head"]
    )
    config = lora_config(tiny.make_model(processor), chosen)
    assert config is not None
    assert (config.target_modules, config.modules_to_save) == ({"q_proj", "v_proj"}, ["numeric_head"])
    assert lora_config(model, ModelConfig()) is None


def test_a_digit_text_model_has_no_number_token_to_train() -> None:
    processor = tiny.make_processor(numbers="char")
    with pytest.raises(CommandError, match="number token"):
        lora_config(tiny.make_model(processor, number_head="none"), LORA, train_number_token=True)


def test_the_number_token_is_not_trained_alone(processor: IGLLMProcessor) -> None:
    with pytest.raises(CommandError, match="give --use_peft, too"):
        lora_config(tiny.make_model(processor), ModelConfig(), train_number_token=True)


def make_lora_trainer(processor: IGLLMProcessor, folder: Path, model: Any, **overrides: Any) -> SceneSFTTrainer:
    """A trainer of a new adapter on `model`."""
    plain = make_trainer(processor, folder)
    return SceneSFTTrainer(
        model=model,
        args=plain.args,
        peft_config=lora_config(model, LORA),
        train_dataset=make_rows(),
        processing_class=processor,
        data_collator=SceneCollator(processor),
        **overrides,
    )


def test_a_bfloat16_base_gets_a_float32_adapter(processor: IGLLMProcessor, tmp_path: Path) -> None:
    model = tiny.make_model(processor).to(torch.bfloat16)
    head = {name: value.clone() for name, value in model.numeric_head.state_dict().items()}
    trainer = make_lora_trainer(processor, tmp_path, model)
    trained = [value for value in trainer.model.parameters() if value.requires_grad]
    frozen = [value for value in trainer.model.parameters() if not value.requires_grad]
    assert {value.dtype for value in trained} == {torch.float32}
    assert torch.bfloat16 in {value.dtype for value in frozen}
    copy = trainer.model.base_model.model.numeric_head.modules_to_save["default"]
    assert all(torch.equal(value, head[name]) for name, value in copy.state_dict().items())
    trainer.train()
    assert not torch.equal(copy.layers[1].weight, head["layers.1.weight"])


@pytest.mark.parametrize("with_adapter", [False, True])
def test_the_numeric_head_has_a_learning_rate_of_its_own(
    with_adapter: bool, processor: IGLLMProcessor, tmp_path: Path
) -> None:
    if with_adapter:
        model = tiny.make_model(processor)
        trainer = make_lora_trainer(processor, tmp_path, model, number_head_learning_rate=0.5)
    else:
        trainer = make_trainer(processor, tmp_path)
        trainer.number_head_learning_rate = 0.5
    optimizer = trainer.create_optimizer()
    rates = {id(value): group["lr"] for group in optimizer.param_groups for value in group["params"]}
    named = {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named) == len(rates)
    for name, value in named.items():
        assert rates[id(value)] == (0.5 if "numeric_head" in name else trainer.args.learning_rate), name


def train_from_command_line(base: str, data: Path, out: Path) -> None:
    """Train an adapter by `sft.py`."""
    switches = {name: value for name, value in SWITCHES.items() if value is not None}
    switches |= {"dataset": data, "model_name_or_path": base, "output_dir": out, "number_head_learning_rate": 0.1}
    command = [part for name, value in switches.items() for part in (f"--{name}", str(value))]
    command += ["--max_length", "4096", "--use_peft", "--lora_r", "2", "--lora_dropout", "0.0"]
    assert sft.main(command) == 0


def test_training_from_the_command_line_and_merging(tmp_path: Path) -> None:
    base, out = save_base(tmp_path / "base"), tmp_path / "out"
    data = save_scenes(tmp_path / "scenes")
    train_from_command_line(str(base), data, out)
    names = set(load_file(out / "adapter_model.safetensors"))
    assert all("lora_" in name or "numeric_head" in name or "multi_modal_projector" in name for name in names)
    merge_adapter(str(out), tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", trust_remote_code=True).eval()
    adapted = PeftModel.from_pretrained(IGLLMForSceneProgram.from_pretrained(base), out).eval()
    batch = dict(tiny.make_batch(IGLLMProcessor.from_pretrained(tmp_path / "merged")))
    expected, actual = adapted(**batch), merged(**batch)
    torch.testing.assert_close(actual.logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual.numbers, expected.numbers, rtol=0, atol=1e-5)
    untrained = IGLLMForSceneProgram.from_pretrained(base).eval()
    assert not torch.allclose(untrained(**batch).numbers, actual.numbers, atol=1e-3)
    # The base has no grammar: it came with the adapter, as did the card.
    scenes = [parse_program(text) for text in load_scene_rows(str(data), "clevr", "train")["program"]]
    grammar = IGLLMProcessor.from_pretrained(tmp_path / "merged").make_grammar(scenes)
    assert untrained.config.grammar is None
    assert merged.config.grammar == grammar.to_dict()
    card = ModelCard.load(tmp_path / "merged" / "README.md")
    assert (card.data.library_name, card.data.license, card.data.base_model) == ("transformers", "cc-by-4.0", None)
    assert "lora" not in card.data.tags
    assert "| lora_r | `2` |" in card.text


def test_an_adapter_is_merged_into_the_commit_that_it_was_trained_on(hub: LocalHub, tmp_path: Path) -> None:
    base, out = save_base(tmp_path / "base"), tmp_path / "out"
    assert igllm(["push", "model", str(base), "user/base"]) == 0
    train_from_command_line("user/base", save_scenes(tmp_path / "scenes"), out)
    assert PeftConfig.from_pretrained(out).revision == hub.repository("models", "user/base").at("main").sha
    processor = IGLLMProcessor.from_pretrained(out)
    adapted = PeftModel.from_pretrained(IGLLMForSceneProgram.from_pretrained(base), out).eval()
    tiny.make_model(processor, seed=1).save_pretrained(base)
    assert igllm(["push", "model", str(base), "user/base"]) == 0
    merge_adapter(str(out), tmp_path / "merged")
    merged = IGLLMForSceneProgram.from_pretrained(tmp_path / "merged").eval()
    batch = dict(tiny.make_batch(processor))
    torch.testing.assert_close(merged(**batch).logits, adapted(**batch).logits, rtol=1e-5, atol=1e-5)


def test_an_adapter_without_its_grammar_is_not_merged(processor: IGLLMProcessor, tmp_path: Path) -> None:
    model = make_base(processor, tmp_path / "base")
    get_peft_model(model, lora_config(model, LORA)).save_pretrained(tmp_path / "adapter")
    with pytest.raises(OSError, match=r"grammar\.json"):
        merge_adapter(str(tmp_path / "adapter"), tmp_path / "merged")
    (tmp_path / "adapter" / "grammar.json").write_text("{}")
    with pytest.raises(ValueError, match="grammar is damaged"):
        merge_adapter(str(tmp_path / "adapter"), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_report_names_the_adapter_and_no_revision_of_a_new_model() -> None:
    new = {"model_name_or_path": None, "model_revision": None, "use_peft": False}
    assert model_settings(ModelConfig()) == new
    settings = model_settings(ModelConfig(model_name_or_path="user/base", use_peft=True, lora_r=8))
    assert settings["model_revision"] == "main"
    assert settings["lora_r"] == 8


def test_without_a_wish_nothing_is_quantised() -> None:
    assert quantization_config(ModelConfig()) is None


@pytest.mark.slow
def test_an_adapter_trains_on_a_base_in_four_bits(processor: IGLLMProcessor, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs pip install -e .[quantized]")
    text = language_configs(len(processor.tokenizer))["llama"]
    text.update({"hidden_size": 64, "intermediate_size": 128, "head_dim": 32})  # 4-bit blocks are 64 long
    ids = {"num_token_id": processor.num_token_id, "image_token_index": processor.image_token_id}
    model = IGLLMForSceneProgram.from_backbones(tiny.tower_config(), text, **ids).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "base")
    arguments = ModelConfig(dtype="bfloat16", load_in_4bit=True, use_bnb_nested_quant=True, use_peft=True)
    loading = {"dtype": "bfloat16", "quantization_config": quantization_config(arguments), "device_map": "cpu"}
    quantised = IGLLMForSceneProgram.from_pretrained(tmp_path / "base", **loading)
    assert sum(type(module).__name__ == "Linear4bit" for module in quantised.modules()) == 7 * 2
    trainer = make_lora_trainer(processor, tmp_path / "out", quantised)
    assert {value.dtype for value in trainer.model.parameters() if value.requires_grad} == {torch.float32}
    trainer.train()
    losses = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert losses["number_loss"] > 0
