"""What `benchmarks.train` compares: models that differ in number head, tokenizer or tower, and their training steps."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl import SFTConfig

from benchmarks.llama_tokenizer import make_llama_tokenizer
from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMImageProcessor, IGLLMProcessor, parse_program
from trl_scripts.feature_cache import cache_features
from trl_scripts.scene_collator import SceneCollator, answer_lengths
from trl_scripts.scene_trainer import SceneSFTTrainer

NumberStyle = Literal["token", "char"]
NUMBER_NAMES: dict[NumberStyle, str] = {"token": "[NUM]", "char": "digits"}
# Head of each style: digits are text like any other.
HEADS = {"token": "tanh_mlp_gelu", "char": "none"}


@dataclass(frozen=True)
class Setting:
    """What all arms of one comparison share.

    Attributes:
        checkpoint: gives the sizes of the language model and, with `tower="scene"`, the trained tower.
        tower: that tower, or "clip": the published ViT-L/14 at 336 pixels with random weights (speed is the same).
        tokenizer: the project's own with its bare prompt, or "llama": 32,000 pieces with the published wording.
    """

    checkpoint: Path
    tower: Literal["scene", "clip"]
    tokenizer: Literal["own", "llama"]
    batch_size: int

    @property
    def name(self) -> str:
        """As in the report."""
        return f"{self.tower} tower, {self.tokenizer} tokenizer"


@dataclass(frozen=True)
class Arm:
    """One way to train. `attention` is the language model's implementation in transformers."""

    numbers: NumberStyle
    cached: bool
    attention: Literal["sdpa", "eager"] = "eager"
    bf16: bool = True
    grouped: bool = False

    @property
    def name(self) -> str:
        """As in the report."""
        parts = [NUMBER_NAMES[self.numbers], "cached" if self.cached else "recomputed", self.attention]
        return ", ".join([*parts, *([] if self.bf16 else ["fp32"]), *(["grouped"] if self.grouped else [])])


def build_model(setting: Setting, numbers: NumberStyle) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    """Return an untrained language model and head on a frozen tower, and the processor that fits."""
    trained = IGLLMForSceneProgram.from_pretrained(setting.checkpoint)
    processor = _build_processor(setting, numbers)
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


def _build_processor(setting: Setting, numbers: NumberStyle) -> IGLLMProcessor:
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
        rows: columns `image`, `program` and `index`.
        features: folder of the feature cache.
    """

    def __init__(self, setting: Setting, arm: Arm, rows: Dataset, features: Path) -> None:
        self.arm, self.batch_size = arm, setting.batch_size
        self.model, self.processor = build_model(setting, arm.numbers)
        self.model.set_attn_implementation({"text_config": arm.attention})
        self.rows = rows
        if arm.grouped:
            self.rows = self.rows.add_column("length", answer_lengths(rows, self.processor))
        cached = cache_features(rows, self.model, self.processor, features) if arm.cached else None
        if cached is not None:
            self.rows = self.rows.remove_columns("image")
        self.collator = SceneCollator(self.processor, cached)

    def trainer(self, folder: str, callback: TrainerCallback, **overrides: Any) -> SceneSFTTrainer:
        """The trainer of `trl_scripts/sft.py` with the settings of its recipe `clevr_tiny.yaml`."""
        arguments: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": 1.5e-3,
            "weight_decay": 0.01,
            "adam_beta2": 0.98,
            "max_grad_norm": 1.0,
            "max_length": None,
            "bf16": self.arm.bf16,
            "use_cpu": True,
            "activation_checkpointing": False,
            "train_sampling_strategy": "group_by_length" if self.arm.grouped else "random",
            "logging_strategy": "no",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "remove_unused_columns": False,
            "dataset_kwargs": {"skip_prepare_dataset": True},
            "seed": 0,
        }
        return SceneSFTTrainer(
            model=self.model,
            args=SFTConfig(**arguments | overrides),
            train_dataset=self.rows,
            processing_class=self.processor,
            data_collator=self.collator,
            callbacks=[callback],
        )

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
    setting: Setting, arms: list[Arm], rows: Dataset, features: Path, steps: int, rounds: int
) -> dict[Arm, float]:
    """Measure all arms in turn, forwards and backwards, so that a slower minute of the machine is shared by all.

    The figure of an arm is that of its median step.
    """
    seconds: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in range(rounds):
        for arm in arms if turn % 2 == 0 else reversed(arms):
            # Made anew: a dozen models with their optimizers need not be in memory at once.
            seconds[arm] += Training(setting, arm, rows, features).time_steps(steps)
    return {arm: setting.batch_size / float(np.median(values)) for arm, values in seconds.items()}


def faster_attention(rates: dict[Arm, float], numbers: NumberStyle, cached: bool) -> float:
    """Samples per second with the attention that suits this arm better: its length decides."""
    return max(rates[Arm(numbers, cached, attention)] for attention in ("sdpa", "eager"))


def answer_tokens(setting: Setting, numbers: NumberStyle, programs: list[str]) -> dict[str, float]:
    """Mean tokens of one object's line, and of a whole sequence with prompt and image."""
    processor = _build_processor(setting, numbers)
    scenes = [parse_program(program) for program in programs]
    answers = np.array([len(processor.encode_answer(scene)[0]) for scene in scenes])
    objects = np.array([len(scene) for scene in scenes])
    bare = replace(scenes[0], objects=())
    around = len(processor.encode_answer(bare)[0])
    return {
        "per_object": float((answers - around).sum() / objects.sum()),
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
