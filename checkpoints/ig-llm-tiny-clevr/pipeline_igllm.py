"""`pipeline(model=folder, trust_remote_code=True)(image)`: from a picture to a [`ScenePrediction`]."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

from transformers import Pipeline

from .configuration_igllm import CUSTOM_PIPELINES
from .image_files import read_image, read_image_text
from .processor_fit import check_processor_fits
from .scene_prediction import ScenePrediction


class ImageToScenePipeline(Pipeline):
    """transformers' pipeline for the task "image-to-scene"; a checkpoint's `custom_pipelines` names it.

    Called with one image, it returns one [`ScenePrediction`], with a list a list; `batch_size` images (1 by default)
    go through the model together. An image is a path, an address (`https://…`), the base64 of a picture file, or
    whatever the image processor takes.

    Keywords of the call, or of the pipeline for all its calls: `max_new_tokens`, `do_sample`, `temperature`,
    `generator`, `draft_choices` and `view_shift` of `generate_scene`.

    Raises:
        `ValueError`: As `generate_scene`, so for a checkpoint without a grammar; for what is no image; and, at once,
            for a processor that does not fit the model.
    """

    # Tokenizer and image processor come with the processor.
    _load_processor: bool | None = True  # type: ignore[assignment]  # transformers leaves these without a type
    _load_tokenizer: bool | None = False  # type: ignore[assignment]
    _load_image_processor: bool | None = False  # type: ignore[assignment]

    model: Any
    processor: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        check_processor_fits(self.model.config, self.processor)
        # transformers has put classes in the place of their names, which no configuration can be saved with.
        self.model.config.custom_pipelines = deepcopy(CUSTOM_PIPELINES)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save model and processor, with their code, so that the folder is a pipeline again."""
        self.model.save_pretrained(save_directory, **kwargs)
        # transformers' own saves the parts of the processor alone.
        self.processor.save_pretrained(save_directory, **kwargs)

    def _sanitize_parameters(self, **generation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, generation, {}

    def preprocess(self, input_: Any, **_: Any) -> Any:
        """One image -> the inputs of `generate_scene` for a batch of one, a [`BatchFeature`]."""
        if isinstance(input_, Path) or (isinstance(input_, str) and os.path.isfile(input_)):
            # Not by transformers' `load_image`, which would drop transparency where the image processor puts white.
            input_ = read_image(input_)
        elif isinstance(input_, str):
            input_ = read_image_text(input_)
        inputs = self.processor.encode_prompt([input_])
        if len(inputs["input_ids"]) != 1:
            raise ValueError(f"got {len(inputs['input_ids'])} images as one input: several images come as a list")
        return inputs

    def _forward(self, input_tensors: Any, **generation: Any) -> Any:
        output = self.model.generate_scene(**input_tensors, **generation)
        answers = {name: value for name, value in output.items() if name != "num_passes"}
        # Scenes here rather than in `postprocess`, where a batch arrives taken apart.
        return {"predictions": self.processor.decode_scene(**answers)}

    def postprocess(self, model_outputs: dict[str, Any], **_: Any) -> ScenePrediction:
        """The prediction of one image: of a batch of one, or already taken out of a larger batch."""
        predictions = model_outputs["predictions"]
        return predictions[0] if isinstance(predictions, list) else predictions


__all__ = ["ImageToScenePipeline"]
