"""What the supported vision towers of transformers make of one image: which hidden states hold which tokens."""

from typing import Any

SUPPORTED_TOWERS = ("clip_vision_model", "siglip_vision_model", "dinov2", "dinov2_with_registers")
"""`model_type` of each tower; beside them there is the project's own scene tower."""


def count_prefix_tokens(vision_config: Any) -> int:
    """Tokens before the patches: none (SigLIP), the class token (CLIP, DINOv2), or class token and registers.

    Args:
        vision_config (`PreTrainedConfig`): Configuration of the tower alone.

    Raises:
        `ValueError`: For a tower whose hidden states nothing is known of.
    """
    match vision_config.model_type:
        case "siglip_vision_model":
            return 0
        case "clip_vision_model" | "dinov2":
            return 1
        case "dinov2_with_registers":
            return 1 + vision_config.num_register_tokens
    raise ValueError(
        f"a vision tower of model_type {vision_config.model_type!r} is not supported; use the vision part of one of "
        f"{', '.join(SUPPORTED_TOWERS)}, or a scene tower."
    )


def count_patches(vision_config: Any) -> int:
    """Patch tokens of one image of `image_size` pixels; borders that fill no patch are cut off, as the towers do."""
    height, width = _sides(vision_config.image_size)
    patch_height, patch_width = _sides(vision_config.patch_size)
    return (height // patch_height) * (width // patch_width)


def _sides(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width, where one number stands for both."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


__all__ = ["SUPPORTED_TOWERS", "count_patches", "count_prefix_tokens"]
