"""A small IG-LLM around a pre-trained scene tower: the project's own tokenizer and a Llama of a few million."""

from pathlib import Path
from typing import Literal

from transformers import LlamaConfig, PreTrainedTokenizerFast

from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.image_processing_igllm import IGLLMImageProcessor
from modeling_igllm.modeling_scene_tower import SceneTowerModel

from .tiny_tokenizer import IMAGE_TOKEN, build_tiny_tokenizer

TOWER_FIELDS = (
    "image_size",
    "stem_channels",
    "stage_channels",
    "blocks_per_stage",
    "feature_channels",
    "position_channels",
    "color_supervision",
)
NumberHead = Literal["none", "linear", "tanh_mlp_gelu", "binned", "gaussian", "mixture"]


def build_tiny_model(
    tower: str | Path,
    number_head: NumberHead = "tanh_mlp_gelu",
    number_ranges: dict[str, list[float]] | None = None,
    feed_numbers_back: bool = False,
    rotation: str = "6d",
    hidden_size: int = 192,
    num_layers: int = 5,
    num_heads: int = 6,
    intermediate_size: int = 512,
) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    """Return an untrained language model and head on the frozen tower of `tower`, and the processor that fits.

    Args:
        tower: output folder of `pretrain_tower.py`.
        number_head, number_ranges, feed_numbers_back: as in `IGLLMConfig`; "none" writes numbers as digits.
        rotation: representation of full rotations in the model's text and numbers.

    Raises:
        OSError: if `tower` holds no tower or no image processor.
    """
    vision_tower = SceneTowerModel.from_pretrained(tower)
    tokenizer = build_tiny_tokenizer()
    processor = IGLLMProcessor(
        IGLLMImageProcessor.from_pretrained(tower),
        tokenizer,
        num_image_tokens=vision_tower.config.num_image_tokens,
        prompt=IMAGE_TOKEN,
        answer_prefix="",
        answer_suffix="",
        rotation=rotation,
        numbers="char" if number_head == "none" else "token",
    )
    tower_config = vision_tower.config.to_dict()
    config = IGLLMConfig(
        # What the tower is, without where it came from and which class trained it.
        vision_config={name: tower_config[name] for name in ("model_type", *TOWER_FIELDS)},
        text_config=_text_config(tokenizer, hidden_size, num_layers, num_heads, intermediate_size),
        image_token_index=processor.image_token_id,
        num_token_id=processor.num_token_id,
        number_head=number_head,
        number_ranges=number_ranges,
        feed_numbers_back=feed_numbers_back,
        projector_type="mlp2x_gelu",
    )
    model = IGLLMForSceneProgram(config)
    model.model.vision_tower.load_state_dict(vision_tower.state_dict())
    return model, processor


def _text_config(
    tokenizer: PreTrainedTokenizerFast, hidden_size: int, num_layers: int, num_heads: int, intermediate_size: int
) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        intermediate_size=intermediate_size,
        max_position_embeddings=2048,
        # Llama's 0.02 is for a width of thousands. So narrow a model then attends to everything alike for a thousand
        # steps before it looks at the object that it is to name; at unit gain it does so after two hundred.
        initializer_range=hidden_size**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
