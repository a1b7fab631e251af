"""What `benchmarks.train` compares: models that differ in number head, tokenizer or tower, and their steps."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import SFTConfig

from benchmarks.llama_tokenizer import make_llama_tokenizer
from modeling_igllm import (
    IGLLMConfig,
    IGLLMForSceneProgram,
    IGLLMImageProcessor,
    IGLLMProcessor,
    SceneProgram,
    parse_program,
)
from trl_scripts.feature_cache import cache_features
from trl_scripts.scene_collator import SceneCollator, answer_lengths
from trl_scripts.scene_trainer import SceneSFTTrainer
from trl_scripts.tiny_model import NumberHead

NumberStyle = Literal["token", "char"]
Attention = Literal["sdpa", "eager"]
NUMBER_NAMES: dict[NumberStyle, str] = {"token": "[NUM]", "char": "digits"}
# Head of each style: digits are text like any other.
ATTENTIONS: tuple[Attention, ...] = ("sdpa", "eager")
# Scenes of a micro-batch, as in the recipe.
MICRO_BATCH = 8
HEADS: dict[NumberStyle, NumberHead] = {"token": "tanh_mlp_gelu", "char": "none"}


@dataclass(frozen=True)
class Setting:
    """What all arms of one comparison share.

    Attributes:
        checkpoint: gives the sizes of the language model and, with `tower="scene"`, the trained tower.
        tower: that tower, or "clip": the published ViT-L/14 at 336 pixels with random weights (speed is the same).
        tokenizer: the project's own with its bare prompt, or "llama": 32,000 pieces with the published wording.
        step_size: scenes of one optimizer step.
        timed_steps: steps of each arm in each round; few where a step takes long.
    """

    checkpoint: Path
    tower: Literal["scene", "clip"]
    tokenizer: Literal["own", "llama"]
    step_size: int
    timed_steps: int

    @property
    def name(self) -> str:
        """As in the report."""
        return f"{self.tower} tower, {self.tokenizer} tokenizer"


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        attention: of the language model, as transformers calls it.
        grouped: micro-batches of like length, as in the recipe; else the whole step is one batch.
    """

    numbers: NumberStyle
    cached: bool
    attention: Attention = "eager"
    bf16: bool = True
    grouped: bool = True

    @property
    def name(self) -> str:
        """As in the report."""
        parts = [NUMBER_NAMES[self.numbers], "cached" if self.cached else "recomputed", self.attention]
        return ", ".join([*parts, *([] if self.bf16 else ["fp32"]), *([] if self.grouped else ["not grouped"])])


def build_model(setting: Setting, numbers: NumberStyle) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    """Return an untrained language model and head on a frozen tower, and the processor that fits."""
    trained = IGLLMForSceneProgram.from_pretrained(setting.checkpoint)
    processor = build_processor(setting, numbers)
    tokenizer = processor.tokenizer
    text_config = trained.config.text_config.to_dict() | {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(0)
    config = IGLLMConfig(
        vision_config=trained.config.vision_config.to_dict() if setting.tower == "scene" else None,
        text_config=text_config,
        image_token_index=processor.image_token_id,
        num_token_id=processor.num_token_id,
        number_head=HEADS[numbers],
        projector_type="mlp2x_gelu",
    )
    model = IGLLMForSceneProgram(config)
    if setting.tower == "scene":
        model.model.vision_tower.load_state_dict(trained.model.vision_tower.state_dict())
    model.model.vision_tower.requires_grad_(False)
    return model, processor


def build_processor(setting: Setting, numbers: NumberStyle) -> IGLLMProcessor:
    """Return the processor of a setting, for numbers as `[NUM]` or as digits."""
    processor = IGLLMProcessor.from_pretrained(setting.checkpoint)
    clip = setting.tower == "clip"
    wording: dict[str, Any] = {
        "image_processor": IGLLMImageProcessor() if clip else processor.image_processor,
        "num_image_tokens": 576 if clip else processor.num_image_tokens,
        "numbers": numbers,
    }
    if setting.tokenizer == "llama":
        tokenizer: PreTrainedTokenizerBase = make_llama_tokenizer(number_token=numbers == "token")
        return IGLLMProcessor(tokenizer=tokenizer, **wording)
    names = ("tokenizer", "prompt", "answer_prefix", "answer_suffix")
    return IGLLMProcessor(**wording, **{name: getattr(processor, name) for name in names})


class Training:
    """One arm with its model, data and features, of which any number of steps can be timed.

    Args:
        rows: columns `image` and `program`.
        features: folder of the feature cache.
    """

    def __init__(self, setting: Setting, arm: Arm, rows: Dataset, features: Path) -> None:
        self.setting, self.arm = setting, arm
        self.model, self.processor = build_model(setting, arm.numbers)
        self.model.set_attn_implementation({"text_config": arm.attention})
        self.rows = rows.add_column("index", list(range(len(rows))))
        self.rows = self.rows.add_column("length", answer_lengths(rows, self.processor))
        cached = cache_features(rows, self.model, self.processor, features) if arm.cached else None
        if cached is not None:
            self.rows = self.rows.remove_columns("image")
        self.collator = SceneCollator(self.processor, cached)

    def trainer(self, folder: str, callback: TrainerCallback, **overrides: Any) -> SceneSFTTrainer:
        """The trainer of `trl_scripts/sft.py` with the settings of its recipe `clevr_tiny.yaml`."""
        step_size = self.setting.step_size
        batch_size = min(MICRO_BATCH, step_size) if self.arm.grouped else step_size
        arguments: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": batch_size,
            "gradient_accumulation_steps": step_size // batch_size,
            "train_sampling_strategy": "group_by_length" if self.arm.grouped else "random",
            "learning_rate": 1.5e-3,
            "weight_decay": 0.01,
            "adam_beta2": 0.98,
            "max_grad_norm": 1.0,
            "max_length": None,
            "bf16": self.arm.bf16,
            "use_cpu": True,
            "activation_checkpointing": False,
            "logging_strategy": "no",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "remove_unused_columns": False,
            "dataset_kwargs": {"skip_prepare_dataset": True},
            "seed": 0,
        }
        trainer = SceneSFTTrainer(
            model=self.model,
            args=SFTConfig(**arguments | overrides),
            train_dataset=self.rows,
            processing_class=self.processor,
            data_collator=self.collator,
            callbacks=[callback],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def time_steps(self, steps: int) -> list[float]:
        """Seconds of each of `steps` training steps, data included, after one that is not counted."""
        clock = _StepClock()
        with tempfile.TemporaryDirectory() as folder:
            self.trainer(folder, clock, max_steps=steps + 1).train()
        return np.diff(clock.times).tolist()


class _StepClock(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())


def samples_per_second(
    setting: Setting, arms: Sequence[Arm], rows: Dataset, features: Path, steps: int, rounds: int
) -> dict[Arm, float]:
    """Measure all arms in turn, forwards and backwards, so that a slower minute of the machine is shared by all.

    The figure of an arm is that of its median step.
    """
    seconds: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in range(rounds):
        for arm in arms if turn % 2 == 0 else reversed(arms):
            # Made anew: a dozen models with their optimizers need not be in memory at once.
            seconds[arm] += Training(setting, arm, rows, features).time_steps(steps)
    return {arm: setting.step_size / float(np.median(values)) for arm, values in seconds.items()}


def answer_tokens(setting: Setting, numbers: NumberStyle, programs: list[str]) -> dict[str, float]:
    """Mean tokens of one object's line, and of a whole sequence with prompt and image."""
    processor = build_processor(setting, numbers)
    scenes = [parse_program(program) for program in programs]
    answers = np.array([len(processor.encode_answer(scene).ids) for scene in scenes])
    around = len(processor.encode_answer(SceneProgram(())).ids)  # prefix, suffix and end token
    return {
        "per_object": float((answers - around).sum() / sum(map(len, scenes))),
        "per_sequence": float(answers.mean()) + len(processor.encode_prompt_text()),
    }


@contextmanager
def feature_folder(path: Path | None) -> Iterator[Path]:
    """`path`, or a folder that is there for the time being."""
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
