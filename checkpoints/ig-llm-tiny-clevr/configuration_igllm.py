"""Configurations of IG-LLM: the whole model, and its small convolutional vision tower.

Source: spec MODEL ("what the published system is"). The published model is `IGLLMConfig` with a CLIP tower, a Llama
language model, `projector_type="linear"` and `number_head="tanh_mlp_gelu"`; the defaults are those values.
"""

import math
from copy import deepcopy
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import LlavaConfig, PreTrainedConfig

from .number_ranges import check_number_ranges
from .vision_towers import count_patches, count_prefix_tokens

SCENE_TOWER_MODEL_TYPE = "igllm_scene_tower"
# Height and width are padded to this multiple: the deepest stage of the tower has stride 32.
SIZE_MULTIPLE = 32
# Pixels per side of one cell of the feature map, and of one image token (2 x 2 cells).
CELL_STRIDE = 8
TOKEN_STRIDE = 16
# A registered class writes one of these by itself when it is saved; a checkpoint needs all of them.
AUTO_MAP = {
    "AutoConfig": "configuration_igllm.IGLLMConfig",
    "AutoModel": "modeling_igllm.IGLLMForSceneProgram",
    "AutoModelForImageTextToText": "modeling_igllm.IGLLMForSceneProgram",
}
# What `pipeline(model=folder, trust_remote_code=True)` makes of a checkpoint.
CUSTOM_PIPELINES = {
    "image-to-scene": {"impl": "pipeline_igllm.ImageToScenePipeline", "pt": ["AutoModelForImageTextToText"]}
}


@strict
class SceneTowerConfig(PreTrainedConfig):
    r"""
    Configuration of [`SceneTowerModel`], a residual network with a top-down path (about 2 million parameters).

    Args:
        image_size (`list[int]`, defaults to `(120, 160)`):
            Height and width of the input, in pixels. Padded inside to a multiple of 32.
        stem_channels (`int`, defaults to 48):
            Channels after the first convolution (stride 2).
        stage_channels (`list[int]`, defaults to `(64, 128, 160, 192)`):
            Channels of the four stages, at strides 4, 8, 16 and 32.
        blocks_per_stage (`list[int]`, defaults to `(1, 1, 2, 1)`):
            Residual blocks of each stage; the first one carries the stride.
        feature_channels (`int`, defaults to 128):
            Channels of the stride-8 feature map. Four cells make one token: 4 x 128 channels.
        position_channels (`int`, defaults to 32):
            Sinusoidal position features appended to every token; a multiple of 4 (sine and cosine of x and y).
        color_supervision (`"name"` or `"rgb"`, defaults to `"name"`):
            What [`SceneTowerForPreTraining`] learns about colour: the eight palette names and RGB, or RGB alone.
    """

    model_type = SCENE_TOWER_MODEL_TYPE
    base_config_key = "vision_config"

    image_size: list[int] | tuple[int, ...] = (120, 160)
    stem_channels: int = 48
    stage_channels: list[int] | tuple[int, ...] = (64, 128, 160, 192)
    blocks_per_stage: list[int] | tuple[int, ...] = (1, 1, 2, 1)
    feature_channels: int = 128
    position_channels: int = 32
    color_supervision: Literal["name", "rgb"] = "name"

    def validate_sizes(self) -> None:
        """Check lengths and ranges of the fields (called by `@strict` after construction)."""
        _check_positive_ints("image_size", self.image_size, length=2)
        _check_positive_ints("stage_channels", self.stage_channels, length=4)
        _check_positive_ints("blocks_per_stage", self.blocks_per_stage, length=4)
        _check_positive_ints("stem_channels, feature_channels", (self.stem_channels, self.feature_channels), length=2)
        if self.position_channels < 4 or self.position_channels % 4:
            raise ValueError(f"position_channels must be a positive multiple of 4, got {self.position_channels}.")

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width in pixels after padding to a multiple of 32."""
        height, width = (math.ceil(side / SIZE_MULTIPLE) * SIZE_MULTIPLE for side in self.image_size)
        return height, width

    @property
    def feature_size(self) -> tuple[int, int]:
        """Height and width in cells of the stride-8 feature map."""
        return self.padded_size[0] // CELL_STRIDE, self.padded_size[1] // CELL_STRIDE

    @property
    def num_image_tokens(self) -> int:
        """Image tokens per image (80 for 120 x 160 pixels)."""
        return (self.padded_size[0] // TOKEN_STRIDE) * (self.padded_size[1] // TOKEN_STRIDE)

    @property
    def hidden_size(self) -> int:
        """Channels of one image token, position features included (544 by default)."""
        return 4 * self.feature_channels + self.position_channels


@strict
class IGLLMConfig(LlavaConfig):
    r"""
    Configuration of [`IGLLMForSceneProgram`]: LLaVA's, plus the numeric head and the choice of projector.

    Args:
        vision_config (`dict` or `PreTrainedConfig`, *optional*):
            Configuration of a CLIP (the default, ViT-L/14 at 336 pixels), SigLIP or DINOv2 tower (with registers or
            without), or a [`SceneTowerConfig`].
        text_config (`dict` or `PreTrainedConfig`, *optional*):
            Configuration of a causal language model; Llama's by default (7 billion parameters).
        image_token_index (`int`, defaults to 32000):
            Id of the `<image>` placeholder; `image_token_id` is the same field.
        image_seq_length (`int`, *optional*):
            Image tokens per image. Derived from `vision_config` when not given; another value is an error.
        vision_feature_layer (`int`, *optional*):
            Hidden state of the tower that is used: -2 by default (published); the scene tower has one only, -1.
            Several are joined along the channels.
        vision_feature_select_strategy (`"default"` or `"full"`, *optional*):
            `"default"` drops what comes before the patches: the class token (published, CLIP and DINOv2) and the
            registers. SigLIP and the scene tower have neither, and are used in `"full"`.
        num_token_id (`int`, *optional*):
            Id of the number token. Required unless `number_head="none"`.
        number_head (`str`, defaults to `"tanh_mlp_gelu"`):
            Numeric head on the last hidden state: `"tanh_mlp_gelu"` or `"linear"` (published), `"binned"` (a
            distribution over bins), `"gaussian"` (value and standard deviation) or `"mixture"` (several of them).
            `"none"` is the digit-text ("char") model.
        number_bins (`int`, defaults to 512):
            Bins of each quantity's range, for `number_head="binned"`.
        number_components (`int`, defaults to 5):
            Gaussians of `number_head="mixture"`.
        number_ranges (`dict[str, list]`, *optional*):
            Quantity (`"x"`, `"y"`, `"z"`, `"rotation"`) -> `[low, high]` in the program's units, which the head sees
            as [-1, 1]. A quantity without a range keeps its units; `"binned"` clamps it to [-1, 1].
        feed_numbers_back (`bool`, defaults to `False`):
            Whether the value of a number token enters the language model, so that later tokens can depend on it.
        float_w (`int` or `float`, defaults to 1.0):
            Weight beside the cross-entropy of the number loss: squared error, cross-entropy over bins, or negative
            log-likelihood, all on the scale of `number_ranges`.
        rotation_w (`int` or `float`, defaults to 1.0):
            Weight in the number loss of each number of a rotation, where that of a coordinate is 1. Of CLEVR's objects
            only a cube has one: a tenth of the numbers, and the last of an object to be learned, if at all.
        projector_type (`"linear"` or `"mlp2x_gelu"`, defaults to `"linear"`):
            One linear layer (published) or the two of transformers' LLaVA.
        view_shift (`int`, defaults to 0):
            Pixels by which `generate_scene` shifts four more views of each image, to average over; 0: the image alone.
        grammar (`dict`, *optional*):
            The programs that this model may write ([`SceneGrammar`], as `to_dict`), by which `generate_scene` decodes.
            Set by `model.set_grammar`.
    """

    model_type = "igllm"
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "past_key_values",
        "ce_loss",
        "number_loss",
        "image_hidden_states",
    ]

    # Configurations once constructed, whatever was given.
    vision_config: Any = None
    text_config: Any = None
    # None asks for the value that fits the tower.
    image_seq_length: int | None = None  # type: ignore[assignment]
    vision_feature_layer: int | list[int] | None = None  # type: ignore[assignment]
    vision_feature_select_strategy: Literal["default", "full"] | None = None  # type: ignore[assignment]
    num_token_id: int | None = None
    number_head: Literal["none", "linear", "tanh_mlp_gelu", "binned", "gaussian", "mixture"] = "tanh_mlp_gelu"
    number_bins: int = 512
    number_components: int = 5
    number_ranges: dict[str, list[int | float]] | None = None
    feed_numbers_back: bool = False
    float_w: int | float = 1.0
    rotation_w: int | float = 1.0
    projector_type: Literal["linear", "mlp2x_gelu"] = "linear"
    view_shift: int = 0
    grammar: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        # Resolved here, not by AutoConfig: a folder on the Hub must load without any registration.
        if isinstance(self.vision_config, dict) and self.vision_config.get("model_type") == SCENE_TOWER_MODEL_TYPE:
            self.vision_config = SceneTowerConfig(**self.vision_config)
        super().__post_init__(**{"auto_map": dict(AUTO_MAP), "custom_pipelines": deepcopy(CUSTOM_PIPELINES), **kwargs})
        if self.vision_feature_layer is None:
            self.vision_feature_layer = -1 if self.uses_scene_tower else -2
        if self.vision_feature_select_strategy is None:
            self.vision_feature_select_strategy = "default" if self.num_prefix_tokens else "full"
        if self.image_seq_length is None:
            self.image_seq_length = self._count_image_tokens()

    @property
    def uses_scene_tower(self) -> bool:
        """Whether the vision tower is a [`SceneTowerModel`] (compared by name: Hub code has classes of its own)."""
        return self.vision_config.model_type == SCENE_TOWER_MODEL_TYPE

    @property
    def vision_feature_layers(self) -> list[int]:
        """`vision_feature_layer` as a list, also where it is one number."""
        layer: Any = self.vision_feature_layer
        return [layer] if isinstance(layer, int) else list(layer)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens that the tower puts before those of the image: class token and registers."""
        return 0 if self.uses_scene_tower else count_prefix_tokens(self.vision_config)

    def _count_image_tokens(self) -> int:
        """Image tokens that the tower of `vision_config` makes of one image."""
        if self.uses_scene_tower:
            return self.vision_config.num_image_tokens
        kept = 0 if self.vision_feature_select_strategy == "default" else self.num_prefix_tokens
        return count_patches(self.vision_config) + kept

    def validate_image_tokens(self) -> None:
        """Check that tower, selected layer and token count fit together."""
        if self.vision_feature_select_strategy == "default" and not self.num_prefix_tokens:
            raise ValueError(
                f"A tower of model_type {self.vision_config.model_type!r} has no class token to be dropped: it needs "
                "vision_feature_select_strategy='full', got 'default'."
            )
        # The embeddings and the output of every layer; the scene tower shows its result alone.
        states = 1 if self.uses_scene_tower else self.vision_config.num_hidden_layers + 1
        if not all(-states <= layer < states for layer in self.vision_feature_layers):
            raise ValueError(
                f"vision_feature_layer={self.vision_feature_layer} is not one of the {states} hidden states of a "
                f"{self.vision_config.model_type!r} tower."
            )
        if self.view_shift < 0:
            raise ValueError(f"view_shift must be 0 or a number of pixels, got {self.view_shift}.")
        expected = self._count_image_tokens()
        if self.image_seq_length != expected:
            raise ValueError(
                f"image_seq_length={self.image_seq_length} does not match the {expected} tokens that vision_config "
                "makes of one image; leave it out to have it derived."
            )

    def validate_numbers(self) -> None:
        """Check the fields of the numeric head against each other and against the vocabulary."""
        vocab_size = self.text_config.vocab_size
        if self.number_head != "none" and self.num_token_id is None:
            raise ValueError(
                f"number_head={self.number_head!r} needs num_token_id, the id of the number token in the vocabulary."
            )
        for name, token_id in (("num_token_id", self.num_token_id), ("image_token_index", self.image_token_index)):
            if token_id is not None and not 0 <= token_id < vocab_size:
                raise ValueError(f"{name}={token_id} is outside the vocabulary of {vocab_size} tokens.")
        for name, weight in (("float_w", self.float_w), ("rotation_w", self.rotation_w)):
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {weight}.")

    def validate_number_head(self) -> None:
        """Check the kind of numeric head, its scaling and what is fed back against each other."""
        if self.number_bins < 2:
            raise ValueError(f"number_bins must be at least 2, got {self.number_bins}.")
        if self.number_components < 1:
            raise ValueError(f"number_components must be at least 1, got {self.number_components}.")
        if self.number_ranges is not None:
            check_number_ranges(self.number_ranges)
        if self.number_head == "none" and (self.number_ranges is not None or self.feed_numbers_back):
            raise ValueError(
                "number_head='none' writes numbers as digits: it has no use for "
                f"number_ranges={self.number_ranges} and feed_numbers_back={self.feed_numbers_back}."
            )
        if self.number_head == "binned" and self.number_ranges is None:
            raise ValueError(
                "number_head='binned' needs number_ranges, the [low, high] of each quantity that its bins divide; got "
                "None. A quantity in [-1, 1], such as 6d rotations, can be left out of them."
            )


def _check_positive_ints(name: str, values: list[int] | tuple[int, ...], length: int) -> None:
    """Raise `ValueError` unless `values` are `length` positive integers."""
    if len(values) != length or any(value < 1 for value in values):
        raise ValueError(f"{name} must be {length} positive integers, got {list(values)}.")


IGLLMConfig.register_for_auto_class()
SceneTowerConfig.register_for_auto_class()

__all__ = ["IGLLMConfig", "SceneTowerConfig"]
