"""Join pretrained backbones, or a LLaVA-1.5, with a new numeric head to the base checkpoint of a training.

```bash
python -m trl_scripts.assemble --vision openai/clip-vit-large-patch14-336 --text lmsys/vicuna-7b-v1.3 \
    --projector mm_projector.bin --num_token ▸ --image_token ⊕ --dtype bfloat16 --out BASE
python -m trl_scripts.assemble --llava llava-hf/llava-1.5-7b-hf --dtype bfloat16 --out BASE
```

The first is the published model; `mm_projector.bin` is the projector of LLaVA's pre-training. A token that the
tokenizer has is re-used, another is added. `sft.py --model_name_or_path BASE` goes on from there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from modeling_igllm import NUM_TOKEN, IGLLMConfig, IGLLMForSceneProgram, IGLLMImageProcessor, IGLLMProcessor
from modeling_igllm.backbones import IMAGE_TOKEN, grow_embeddings, load_language_model, scene_token_ids
from modeling_igllm.llava_checkpoints import load_llava_projector
from modeling_igllm.number_ranges import check_number_ranges
from modeling_igllm.numeric_head import NUMBER_HEADS
from modeling_igllm.processing_igllm import PUBLISHED_PROMPT
from modeling_igllm.rotations import REPRESENTATION_SIZES

from .errors import one_line


def assemble(parsed: argparse.Namespace) -> None:
    """Write the folder: weights, code and processor.

    Raises:
        ValueError: if the backbones are not supported, `--llava` and `--vision`/`--text` are given together, or a
            range is none.
        OSError: if a checkpoint cannot be loaded.
    """
    if (parsed.llava is None) == (parsed.vision is None) or (parsed.vision is None) != (parsed.text is None):
        raise ValueError(
            f"give --llava, or --vision and --text; got {parsed.llava!r}, {parsed.vision!r} and {parsed.text!r}"
        )
    tokenizer = AutoTokenizer.from_pretrained(parsed.llava or parsed.text)
    if tokenizer.pad_token is None:  # Llama and Vicuna have none; padding is never attended to or learned
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    num_token = None if parsed.number_head == "none" else parsed.num_token
    fields = {
        "number_head": parsed.number_head,
        "number_ranges": _number_ranges(parsed.number_range),
        **scene_token_ids(tokenizer, num_token, parsed.image_token),
    }
    if parsed.llava is not None:
        model = IGLLMForSceneProgram.from_llava(parsed.llava, **fields)
    else:
        language_model = load_language_model(parsed.text)
        grow_embeddings(language_model, tokenizer)
        fields["projector_type"] = parsed.projector_type
        model = IGLLMForSceneProgram.from_backbones(parsed.vision, language_model, **fields)
    if parsed.projector is not None:
        load_llava_projector(model.model.multi_modal_projector, parsed.projector)
    model.to(getattr(torch, parsed.dtype))
    model.save_pretrained(parsed.out)
    make_processor(parsed, model.config, tokenizer).save_pretrained(parsed.out)


def make_processor(
    parsed: argparse.Namespace, config: IGLLMConfig, tokenizer: PreTrainedTokenizerBase
) -> IGLLMProcessor:
    """The published wording; images padded, sized for the tower and normalised as its checkpoint asks."""
    saved, _ = IGLLMImageProcessor.get_image_processor_dict(parsed.llava or parsed.vision)
    statistics: dict[str, Any] = {name: saved[name] for name in ("image_mean", "image_std")}
    side = config.vision_config.image_size
    height, width = (side, side) if isinstance(side, int) else side
    return IGLLMProcessor(
        IGLLMImageProcessor(size={"height": height, "width": width}, **statistics),
        tokenizer,
        num_image_tokens=cast(int, config.image_seq_length),
        prompt=PUBLISHED_PROMPT.replace(IMAGE_TOKEN, parsed.image_token),
        rotation=parsed.rotation,
        numbers="char" if config.number_head == "none" else "token",
        num_token=parsed.num_token,
        image_token=parsed.image_token,
    )


def _number_ranges(given: Sequence[Sequence[str]] | None) -> dict[str, list[float]] | None:
    """`IGLLMConfig.number_ranges`; None if none is given, ValueError for a quantity or range that is none."""
    if given is None:
        return None
    try:
        ranges = {quantity: [float(low), float(high)] for quantity, low, high in given}
    except ValueError as error:
        raise ValueError(
            f"--number_range takes a quantity and two numbers, as in rotation -3.142 3.142: {error}"
        ) from error
    check_number_ranges(ranges)
    return ranges


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llava", help="LLaVA-1.5 checkpoint of any layout, a folder or Hub repository")
    parser.add_argument("--vision", help="CLIP, SigLIP, DINOv2 or scene tower, a folder or Hub repository")
    parser.add_argument("--text", help="causal language model, a folder or Hub repository")
    parser.add_argument("--projector", type=Path, help="mm_projector.bin of LLaVA's pre-training")
    parser.add_argument("--projector_type", choices=("linear", "mlp2x_gelu"), default="linear")
    parser.add_argument("--number_head", choices=NUMBER_HEADS, default="tanh_mlp_gelu")
    parser.add_argument("--rotation", choices=tuple(REPRESENTATION_SIZES), default="6d", help="of full rotations")
    parser.add_argument(
        "--number_range",
        nargs=3,
        action="append",
        metavar=("QUANTITY", "LOW", "HIGH"),
        help="scale x, y, z or rotation by what it has in the training scenes; once for each ('binned' needs it)",
    )
    parser.add_argument("--num_token", default=NUM_TOKEN, help="a new token, or a rare one of the vocabulary")
    parser.add_argument("--image_token", default=IMAGE_TOKEN, help="likewise")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the saved weights")
    parser.add_argument("--out", type=Path, required=True, help="new checkpoint folder")
    return parser


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse and assemble; returns the exit code: 0, or 2 after one line on the error."""
    try:
        assemble(build_parser().parse_args(command_line))
        return 0
    except (OSError, ValueError) as error:
        reason = one_line(error)
    except StrictDataclassError as error:  # of IGLLMConfig; its first line says only who found it
        reason = " ".join(str(error).split())
    print(f"assemble: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
