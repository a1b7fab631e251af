"""Bring a checkpoint's code, configuration and processor up to date; its weights stay as they are.

```bash
python -m trl_scripts.refresh_checkpoint checkpoints/ig-llm-tiny-clevr
```
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor

KEPT = ("model.safetensors", "README.md")


def refresh(folder: Path) -> None:
    """Save model and processor anew and take over everything but weights and card; old code files go.

    Raises:
        RuntimeError: if the weights would change.
    """
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch)
        IGLLMForSceneProgram.from_pretrained(folder).save_pretrained(saved)
        IGLLMProcessor.from_pretrained(folder).save_pretrained(saved)
        if (saved / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes():
            raise RuntimeError(f"{folder}/model.safetensors would change: this is not the code that it was made with")
        for path in folder.glob("*.py"):
            path.unlink()
        for path in saved.rglob("*"):
            if path.is_file() and path.name not in KEPT:
                place = folder / path.relative_to(saved)
                place.parent.mkdir(exist_ok=True)
                shutil.copy(path, place)


def main() -> None:
    """Parse and refresh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    refresh(parser.parse_args().folder)


if __name__ == "__main__":
    main()
