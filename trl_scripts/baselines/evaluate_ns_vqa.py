"""Score a trained NS-VQA on a split, by the metric that `igllm evaluate` uses.

```bash
python -m trl_scripts.baselines.evaluate_ns_vqa --model OUT --dataset DIR --split val_ood \\
    --masks predicted --out scores.json
```
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from modeling_igllm import format_program
from trl_scripts.errors import CommandError
from trl_scripts.evaluation import format_scores, json_scores, score_texts, write_report
from trl_scripts.inference import check_device

from .instance_decoding import SCORE_THRESHOLD
from .instance_scenes import InstanceScenes, load_instance_scenes
from .ns_vqa import ATTRIBUTE_SOURCES, NSVQA

MASKS = ("predicted", "true")


def evaluate(parsed: argparse.Namespace) -> None:
    """Print a table of scores and, if asked, write scores and programs; CommandError for bad input."""
    if parsed.batch_size < 1:
        raise CommandError(f"--batch_size is {parsed.batch_size}: take 1 image or more at a time")
    check_device(parsed.device)
    model = NSVQA.load(parsed.model, parsed.device)
    use_true_masks = parsed.masks == "true"
    scenes = load_instance_scenes(parsed.dataset, parsed.config, parsed.split, model.image_size, use_true_masks)
    start = time.monotonic()
    texts = predict_programs(
        model, scenes, parsed.attributes, parsed.score_threshold, parsed.batch_size, parsed.device
    )
    seconds = time.monotonic() - start
    scores = score_texts(texts, scenes.programs, parsed.split)
    report = {
        "model": str(parsed.model),
        "dataset": parsed.dataset,
        "config": parsed.config,
        "split": parsed.split,
        "scenes": len(scenes),
        "masks": parsed.masks,
        "attributes": parsed.attributes,
        "score_threshold": None if use_true_masks else parsed.score_threshold,
        "seconds_per_image": seconds / len(scenes),
        "scores": json_scores(scores),
    }
    print(format_scores(scores, len(scenes)))
    if parsed.out is not None:
        write_report(parsed.out, report)
    if parsed.programs is not None:
        write_report(parsed.programs, {"programs": texts})


def predict_programs(
    model: NSVQA,
    scenes: InstanceScenes,
    attributes: str,
    score_threshold: float = SCORE_THRESHOLD,
    batch_size: int = 32,
    device: str = "cpu",
) -> list[str]:
    """The canonical program of every scene; from its true masks if the scenes have them.

    Args:
        attributes: one of `ATTRIBUTE_SOURCES`.
        score_threshold: of predicted instances; with true masks no score leaves one out.
        batch_size: images at a time.
        device: the model's.
    """
    texts = []
    for start in tqdm(range(0, len(scenes), batch_size), desc="predict", unit="batch"):
        part = slice(start, start + batch_size)
        images = scenes.images[part].to(device)
        masks = None if scenes.instance_masks is None else scenes.instance_masks[part].to(device)
        for image, instances in zip(images, model.find_instances(images, masks, score_threshold), strict=True):
            texts.append(format_program(model.describe(image, instances, attributes)))
    return texts


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="--output_dir of train_ns_vqa")
    parser.add_argument("--dataset", required=True, help="folder or Hub repository of built scenes")
    parser.add_argument("--config", help="family (default: the dataset's only one)")
    parser.add_argument("--split", default="val_id")
    parser.add_argument("--masks", choices=MASKS, default="predicted", help="the detector's, or the builder's")
    parser.add_argument(
        "--attributes",
        choices=ATTRIBUTE_SOURCES,
        default="composite",
        help="color, material and shape from the detector's composite class (published default) or the attribute net",
    )
    parser.add_argument("--score_threshold", type=float, default=SCORE_THRESHOLD, help="of predicted instances")
    parser.add_argument("--batch_size", type=int, default=32, help="images at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the scores")
    parser.add_argument("--programs", type=Path, help="JSON file for the predicted programs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate; returns the exit code: 0, or 2 for bad input."""
    try:
        evaluate(build_parser().parse_args(arguments))
    except CommandError as error:
        print(f"evaluate_ns_vqa: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
