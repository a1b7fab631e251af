"""Merge the LoRA adapter that `sft.py --use_peft` trained into its base: a checkpoint that needs neither.

```bash
python -m trl_scripts.merge_adapter --adapter OUT --out MERGED
```

`igllm predict` and `igllm push model` take the result.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCard
from peft import PeftConfig, PeftModel
from transformers.utils import cached_file

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor

from .errors import one_line
from .lora import read_grammar


def merge_adapter(adapter: str, out: Path, base: str | None = None) -> None:
    """Write base + adapter as a whole checkpoint, with the grammar, the processor and the card of the training.

    Args:
        adapter: output folder of `sft.py`, or a Hub repository.
        out: new checkpoint folder.
        base: the base model, if it has moved since the training; where the adapter says by default.

    Raises:
        ValueError: if `adapter` is no adapter, or its grammar is damaged.
        OSError: if the base is not found, or the grammar or the card that `sft.py` writes beside an adapter.
    """
    trained = PeftConfig.from_pretrained(adapter)
    # The weights that it was trained on, not what has been pushed since.
    commit = trained.revision if base is None else None
    model = IGLLMForSceneProgram.from_pretrained(base or trained.base_model_name_or_path, revision=commit or "main")
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.set_grammar(read_grammar(adapter))
    merged.save_pretrained(out)
    IGLLMProcessor.from_pretrained(adapter).save_pretrained(out)
    _whole_model_card(adapter).save(out / "README.md")


def _whole_model_card(adapter: str) -> ModelCard:
    """The card of an adapter without what PEFT has added to its head."""
    path = cached_file(adapter, "README.md")
    assert path is not None  # it raises where there is no such file
    card = ModelCard.load(path)
    card.data.library_name = "transformers"
    card.data.tags = [tag for tag in card.data.tags or [] if tag != "lora" and not tag.startswith("base_model:")]
    if Path(str(card.data.base_model)).exists():  # a folder of this machine
        card.data.base_model = None
    return card


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse and merge; returns the exit code: 0, or 2 after one line on the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", required=True, help="output folder of sft.py, or a Hub repository")
    parser.add_argument("--base", help="the base model, if it has moved")
    parser.add_argument("--out", type=Path, required=True, help="new checkpoint folder")
    parsed = parser.parse_args(command_line)
    try:
        merge_adapter(parsed.adapter, parsed.out, parsed.base)
    except (OSError, ValueError) as error:
        print(f"merge_adapter: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
