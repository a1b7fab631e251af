"""Train NS-VQA on a built CLEVR-CoGenT split with instance masks: first the detector, then the attribute net.

The attribute net learns from the detector's masks of the training scenes, as published, and from the true ones, so
that it may be given either.

```bash
python -m trl_scripts.baselines.train_ns_vqa --config trl_scripts/recipes/ns_vqa.yaml --dataset DIR --output_dir OUT
```

Run again, it goes on from the last checkpoint in OUT; a net that is finished is left as it is.
"""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import set_seed
from trl import TrlParser

from trl_scripts.begun_run import check_begun_with, note_arguments
from trl_scripts.errors import CommandError
from trl_scripts.option_ranges import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, SEED, SHARE, check_ranges

from .attribute_examples import AttributeExamples, attribute_batch_loss
from .attribute_net import AttributeNet, AttributeNetConfig
from .instance_scenes import InstanceScenes, load_instance_scenes
from .ns_vqa import ATTRIBUTE_FOLDER, SEGMENTATION_FOLDER, load_segmentation_net
from .proposed_masks import propose_masks
from .segmentation_loss import class_table, composite_classes, segmentation_loss
from .segmentation_net import SegmentationNet, SegmentationNetConfig
from .timed_training import BatchLoss, TrainingPlan, fit, is_finished

ARGUMENTS_FILE = "ns_vqa_arguments.json"
Precision = Literal["bf16", "no"]
_CHANGEABLE = {"output_dir", "minutes", "report_to"}
_SIZES = (
    *("image_size", "segmentation_channels", "segmentation_blocks", "segmentation_decoder_channels"),
    *("segmentation_batch_size", "attribute_image_size", "attribute_embedding_size", "attribute_hidden_sizes"),
    *("attribute_depths", "attribute_batch_size"),
)
_POSITIVE = (
    *("segmentation_epochs", "segmentation_learning_rate", "attribute_epochs", "attribute_learning_rate"),
    "minutes",
)
_RANGES = {
    **dict.fromkeys(_SIZES, AT_LEAST_ONE),
    **dict.fromkeys(_POSITIVE, POSITIVE),
    "segmentation_weight_decay": NOT_NEGATIVE,
    "segmentation_share": SHARE,
    "seed": SEED,
}


@dataclass
class NSVQAArguments:
    """What NS-VQA is and learns from.

    Sizes of images are (height, width) in pixels. `minutes` are of training, both nets together.
    """

    dataset: str = field(metadata={"help": "Folder or Hub repository of scenes built with --ground-truth."})
    output_dir: str = field(metadata={"help": "Folder for both nets; a run that was killed is gone on with."})
    dataset_config: str = "clevr_cogent"
    train_split: str = "train"
    max_train_scenes: int | None = None
    image_size: list[int] = field(default_factory=lambda: [120, 160])
    segmentation_channels: list[int] = field(default_factory=lambda: [24, 40, 64, 96])
    segmentation_blocks: int = 2
    segmentation_decoder_channels: int = 40
    segmentation_epochs: float = 30
    segmentation_batch_size: int = 16
    segmentation_learning_rate: float = 2e-3
    segmentation_weight_decay: float = 0.02
    attribute_image_size: list[int] = field(default_factory=lambda: [120, 160])
    attribute_embedding_size: int = 24
    attribute_hidden_sizes: list[int] = field(default_factory=lambda: [24, 48, 96, 192])
    attribute_depths: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    attribute_epochs: float = 20
    attribute_batch_size: int = 50
    attribute_learning_rate: float = 2e-3
    minutes: float | None = field(default=None, metadata={"help": "End, schedule included, after so many minutes."})
    segmentation_share: float = field(default=0.5, metadata={"help": "Of the minutes, for the detector."})
    precision: Precision = field(default="bf16", metadata={"help": "bf16 (autocast) or no."})
    seed: int = 0
    report_to: str | None = field(default=None, metadata={"help": "A tracker of accelerate, e.g. tensorboard."})


def train(arguments: NSVQAArguments) -> None:
    """Train what is not yet trained.

    Raises:
        CommandError: if an argument is out of range or other than at the beginning, the data is not there or has no
            instance masks, or a loss is NaN.
    """
    check_arguments(arguments)
    height, width = arguments.image_size
    scenes = load_instance_scenes(
        arguments.dataset,
        arguments.dataset_config,
        arguments.train_split,
        (height, width),
        with_masks=True,
        max_scenes=arguments.max_train_scenes,
    )
    output = Path(arguments.output_dir)
    used = {**asdict(arguments), "train_scenes": len(scenes)}
    check_begun_with(output / ARGUMENTS_FILE, used, _CHANGEABLE)
    output.mkdir(parents=True, exist_ok=True)
    note_arguments(output / ARGUMENTS_FILE, used)
    segmentation = _train_segmentation(arguments, scenes, output / SEGMENTATION_FOLDER)
    if not is_finished(output / ATTRIBUTE_FOLDER):
        _train_attributes(arguments, scenes, propose_masks(segmentation, scenes), output / ATTRIBUTE_FOLDER)


def check_arguments(arguments: NSVQAArguments) -> None:
    """Raise `CommandError` for an argument that is out of its range."""
    check_ranges(asdict(arguments), _RANGES)
    for name, size in (("image_size", arguments.image_size), ("attribute_image_size", arguments.attribute_image_size)):
        if len(size) != 2:
            raise CommandError(f"--{name} must be height and width in pixels, got {size}")
    if arguments.precision not in get_args(Precision):  # YAML takes a bare `no` for false
        raise CommandError(f'--precision must be "bf16" or "no", with its quotes in YAML, got {arguments.precision!r}')


def _train_segmentation(arguments: NSVQAArguments, scenes: InstanceScenes, folder: Path) -> SegmentationNet:
    classes = composite_classes(scenes.objects)
    set_seed(arguments.seed)
    net = SegmentationNet(
        SegmentationNetConfig(
            image_size=arguments.image_size,
            classes=classes,
            stage_channels=arguments.segmentation_channels,
            blocks_per_stage=arguments.segmentation_blocks,
            decoder_channels=arguments.segmentation_decoder_channels,
        )
    )
    plan = _plan(arguments, "segmentation", len(scenes), arguments.segmentation_share)
    fit(net, len(scenes), segmentation_batch_loss(scenes, classes), plan, folder)
    return load_segmentation_net(folder)


def _train_attributes(arguments: NSVQAArguments, scenes: InstanceScenes, proposed: torch.Tensor, folder: Path) -> None:
    set_seed(arguments.seed)
    net = AttributeNet(
        AttributeNetConfig(
            image_size=arguments.attribute_image_size,
            embedding_size=arguments.attribute_embedding_size,
            hidden_sizes=arguments.attribute_hidden_sizes,
            depths=arguments.attribute_depths,
        )
    )
    examples = AttributeExamples(scenes, torch.stack([scenes.masks, proposed]))
    plan = _plan(arguments, "attribute", len(examples), 1 - arguments.segmentation_share)
    fit(net, len(examples), attribute_batch_loss(examples, arguments.attribute_image_size), plan, folder)


def segmentation_batch_loss(scenes: InstanceScenes, classes: list[str]) -> BatchLoss:
    """The loss of the detector on the scenes of a batch."""
    table = class_table(scenes.objects, classes)

    def batch_loss(net: Any, indices: torch.Tensor) -> torch.Tensor:
        device, chosen = indices.device, indices.cpu()
        maps = net(scenes.images[chosen].to(device))
        return segmentation_loss(maps, scenes.masks[chosen].to(device), table[chosen].to(device))

    return batch_loss


def _plan(arguments: NSVQAArguments, net: str, num_examples: int, share: float) -> TrainingPlan:
    options = asdict(arguments)
    batch_size = min(options[f"{net}_batch_size"], num_examples)
    return TrainingPlan(
        steps=max(1, round(options[f"{net}_epochs"] * num_examples / batch_size)),
        seconds=None if arguments.minutes is None else 60 * arguments.minutes * share,
        batch_size=batch_size,
        learning_rate=options[f"{net}_learning_rate"],
        weight_decay=arguments.segmentation_weight_decay if net == "segmentation" else 0.0,
        precision=arguments.precision,
        seed=arguments.seed,
        report_to=arguments.report_to,
    )


def main() -> int:
    """Parse the command line and train; returns the exit code."""
    (arguments,) = TrlParser((NSVQAArguments,)).parse_args_and_config()  # type: ignore[arg-type]  # as TRL's own scripts
    try:
        train(arguments)
    except CommandError as error:
        print(f"train_ns_vqa: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
