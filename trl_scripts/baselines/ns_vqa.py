"""NS-VQA (Yi et al. 2018, arXiv 1810.02338) as a reader of scenes: detector, attribute net, scene program.

NS-VQA answers questions; what is compared here is its scene parser, whose scene is written as a program.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from modeling_igllm import SceneProgram
from trl_scripts.errors import CommandError

from .attribute_net import AttributeNet, attribute_inputs, read_object
from .instance_decoding import SCORE_THRESHOLD, Instances, detect_instances, true_instances
from .segmentation_net import SegmentationNet
from .timed_training import is_finished

SEGMENTATION_FOLDER = "segmentation_net"
ATTRIBUTE_FOLDER = "attribute_net"
ATTRIBUTE_SOURCES = ("composite", "own")


@dataclass(frozen=True)
class NSVQA:
    """Both nets.

    Attributes:
        segmentation: the detector.
        attributes: the attribute net, on images of its configuration's `image_size`.
    """

    segmentation: SegmentationNet
    attributes: AttributeNet

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "NSVQA":
        """Load what `train_ns_vqa` has written; CommandError if that is not finished."""
        for name in (SEGMENTATION_FOLDER, ATTRIBUTE_FOLDER):
            if not is_finished(folder / name):
                raise CommandError(
                    f"{folder} holds no finished NS-VQA: there are no weights in {folder / name}; run "
                    "`python -m trl_scripts.baselines.train_ns_vqa` with this --output_dir (again: it resumes)"
                )
        attributes = AttributeNet.from_pretrained(folder / ATTRIBUTE_FOLDER).eval()
        attributes.to(torch.device(device))
        return cls(load_segmentation_net(folder / SEGMENTATION_FOLDER, device), attributes)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images that `find_instances` takes."""
        height, width = self.segmentation.config.image_size
        return height, width

    @torch.no_grad()
    def find_instances(
        self,
        images: torch.Tensor,
        instance_masks: torch.Tensor | None = None,
        score_threshold: float = SCORE_THRESHOLD,
    ) -> list[Instances]:
        """The instances of images (B, 3, H, W) uint8, left to right.

        Args:
            instance_masks: (B, H, W) true masks, which take the place of the detector's; their classes are still the
                detector's, and no score leaves one out.
            score_threshold: only detections that score higher are kept.
        """
        if instance_masks is None:
            found = detect_instances(self.segmentation, images, score_threshold)
        else:
            class_logits = self.segmentation(images).class_logits
            found = [true_instances(*pair) for pair in zip(instance_masks, class_logits, strict=True)]
        return [instances.left_to_right() for instances in found]

    @torch.no_grad()
    def describe(self, image: torch.Tensor, instances: Instances, attribute_source: str = "composite") -> SceneProgram:
        """The scene program of an image (3, H, W) uint8 with these instances.

        Args:
            attribute_source: "composite": colour, material and shape are the detector's composite class, as in NS-VQA
                by default, so that a combination without a class cannot be said; "own": the attribute net's.
        """
        if attribute_source not in ATTRIBUTE_SOURCES:
            raise ValueError(f"attribute_source is one of {', '.join(ATTRIBUTE_SOURCES)}, got {attribute_source!r}")
        if not len(instances):
            return SceneProgram(())
        images = image.expand(len(instances), -1, -1, -1)
        height, width = self.attributes.config.image_size
        outputs = self.attributes(attribute_inputs(images, instances.masks, (height, width))).logits
        classes = self.segmentation.config.classes
        composites = [classes[index] if attribute_source == "composite" else None for index in instances.classes]
        return SceneProgram(tuple(map(read_object, outputs.float(), composites)))


def load_segmentation_net(folder: Path, device: str = "cpu") -> SegmentationNet:
    """The finished detector in `folder`, in evaluation mode."""
    net = SegmentationNet.from_pretrained(folder).eval()
    net.to(torch.device(device))
    return net
