"""Measure a checkpoint: the JSON files that its card is written from.

```bash
igllm build clevr --split val_id --num-scenes 500 --seed 1 --resolution 160x120 --out fresh
python -m trl_scripts.measure_checkpoint checkpoints/ig-llm-tiny-clevr --dataset fresh --config clevr \
    --splits val_id --real-images REAL_CLEVR_IMAGES
```

It writes `scenes.json` (every score on built scenes that the model was not trained on), `reading.json` (seconds and
memory) and `real_images.json` into the checkpoint's folder `evaluation`, and `example.png` beside its weights.
`benchmarks/robustness.py` and `make_checkpoint.py` write the other two, `checkpoint_card.py` the card.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datasets import Dataset

from dataset_builders.camera import Camera
from modeling_igllm.image_files import read_image

from .camera_space import load_cameras, scene_facts
from .errors import CommandError
from .evaluation import evaluate_cameras, evaluate_rows, json_scores, write_report
from .inference import Predictor
from .measured_files import EVALUATION
from .prediction import side_by_side
from .reading_speed import measure_in_own_process
from .real_images import read_labelled, score_labelled
from .scene_rows import load_scene_rows

EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "examples" / "clevr_scene.png"
TIMED_PICTURES = 16


def measure_checkpoint(parsed: argparse.Namespace) -> None:
    """Measure everything, write each file as soon as it is known.

    Raises:
        CommandError: if the checkpoint, a split or the folder of real images is not there or damaged.
    """
    labelled = read_labelled(parsed.real_images)
    predictor = Predictor.load(str(parsed.checkpoint), None, "cpu", "float32")
    rows = {split: load_scene_rows(parsed.dataset, parsed.config, split) for split in parsed.splits}
    cameras = {split: load_cameras(parsed.dataset, parsed.config, split) for split in parsed.splits}
    folder = parsed.checkpoint / EVALUATION
    folder.mkdir(exist_ok=True)
    write_report(folder / "reading.json", _time(parsed.checkpoint, rows[parsed.splits[0]]))
    reports = [_measure_split(predictor, rows[split], cameras[split], split, parsed) for split in rows]
    write_report(folder / "scenes.json", {"splits": reports})
    write_report(folder / "real_images.json", score_labelled(labelled, predictor))
    _save_example(predictor, parsed.picture, parsed.checkpoint / "example.png")


def _measure_split(
    predictor: Predictor, rows: Dataset, cameras: list[Camera], split: str, parsed: argparse.Namespace
) -> dict[str, Any]:
    predictions, measured = evaluate_rows(predictor, rows, split, parsed.batch_size)
    scores = measured.pop("scores") | evaluate_cameras(predictions, rows, cameras)
    return {
        "config": parsed.config,
        "split": split,
        "date": datetime.now(UTC).date().isoformat(),
        **scene_facts(parsed.dataset, parsed.config, split),
        **measured,
        "scores": json_scores(scores),
    }


def _time(checkpoint: Path, rows: Dataset) -> dict[str, Any]:
    """Time the first pictures of a split, as files."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / f"{index}.png" for index in range(min(TIMED_PICTURES, len(rows)))]
        for path, row in zip(paths, rows, strict=False):  # there are more rows
            row["image"].save(path)
        return measure_in_own_process(checkpoint, paths)


def _save_example(predictor: Predictor, picture: Path, out: Path) -> None:
    image = read_image(picture)
    (prediction,) = predictor.predict([image], batch_size=1)
    if prediction.scene is None:
        raise CommandError(f"{picture}: the answer is no program: {prediction.error}")
    side_by_side(image, prediction.scene).save(out)


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse and measure; returns the exit code: 0, or 2 after one line on the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dataset", required=True, help="folder of built scenes that the model was not trained on")
    parser.add_argument("--config", default="clevr", help="family (default: %(default)s)")
    parser.add_argument("--splits", nargs="+", default=["val_id"], help="default: %(default)s")
    parser.add_argument("--real-images", type=Path, required=True, help="folder as of trl_scripts.real_images")
    parser.add_argument("--picture", type=Path, default=EXAMPLE, help="for example.png (default: the one in docs)")
    parser.add_argument("--batch-size", type=int, default=16)
    try:
        measure_checkpoint(parser.parse_args(command_line))
    except CommandError as error:
        print(f"measure_checkpoint: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
