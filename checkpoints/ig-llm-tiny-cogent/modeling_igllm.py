"""The IG-LLM model: LLaVA with a numeric head (spec MODEL; names follow transformers' `models/llava`)."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers import AutoModel, LlavaForConditionalGeneration, LlavaModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import slice_logits_to_keep
from transformers.models.llava.modeling_llava import LlavaModelOutputWithPast, LlavaPreTrainedModel
from transformers.utils.generic import can_return_tuple

from .backbones import Backbone, install_backbones, load_language_model, load_vision_tower
from .complete_loading import CompleteLoadingMixin, refuse_missing
from .configuration_igllm import IGLLMConfig
from .generation_igllm import SceneGenerationMixin
from .grammar_generation import MAX_NEW_TOKENS, GrammarGenerationMixin
from .llava_checkpoints import LLAVA_KEY_MAPPING, config_from_llava
from .modeling_numbers import IGLLMOutput, build_numeric_head, embed_with_numbers, slice_positions
from .modeling_scene_tower import SceneTowerModel
from .number_embedding import NumberEmbedding
from .numeric_head import BinLogits, NumericLinear
from .projectors import build_projector

if TYPE_CHECKING:  # transformers copies into a checkpoint the files that are imported here, and this is one of them
    from .pipeline_igllm import ImageToScenePipeline  # noqa: F401

# What a LLaVA checkpoint has no weights for.
NUMBER_MODULES = ("numeric_head.", "number_embedding.")


class IGLLMPreTrainedModel(CompleteLoadingMixin, LlavaPreTrainedModel):
    """LLaVA's base class with IG-LLM's configuration."""

    config: IGLLMConfig
    # Both keep float32 by themselves; this tells quantisers to leave them alone.
    _keep_in_fp32_modules = {"numeric_head", "number_embedding"}  # noqa: RUF012  # as PreTrainedModel declares it

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """The numeric head's own: PyTorch's, whose scale follows the hidden size, and those of bins. Else LLaVA's."""
        super()._init_weights(module)
        if isinstance(module, NumericLinear):
            init.kaiming_uniform_(module.weight, a=5**0.5)
        if isinstance(module, BinLogits):
            init.copy_(module.weight, module.smooth_weights())


class IGLLMModel(IGLLMPreTrainedModel, LlavaModel):
    """Vision tower, projector and language model, without the output layers."""

    def __init__(self, config: IGLLMConfig):
        # LlavaModel's own constructor would ask AutoModel for the tower, which knows the scene tower only when it
        # has been registered, and under one module name.
        LlavaPreTrainedModel.__init__(self, config)
        vision_config = config.vision_config
        self.vision_tower = (
            SceneTowerModel(vision_config) if config.uses_scene_tower else AutoModel.from_config(vision_config)
        )
        self.multi_modal_projector = build_projector(config)  # type: ignore[assignment]
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: torch.Tensor,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_sizes: None = None,
        **kwargs: Any,
    ) -> tuple | BaseModelOutputWithPooling:
        """LLaVA's method: the tower's outputs, and the projected features of each image in `pooler_output`.

        LLaVA's own drops one token under `"default"`, whatever the tower; this one the tower's `num_prefix_tokens`.
        """
        if image_sizes is not None:
            raise ValueError("image_sizes is for towers that take images of several sizes; these take one.")
        layers = self.config.vision_feature_layers if vision_feature_layer is None else vision_feature_layer
        layers = [layers] if isinstance(layers, int) else layers
        strategy: Any = vision_feature_select_strategy or self.config.vision_feature_select_strategy
        # Without a request for all of them, the tower keeps these hidden states alone.
        kept = kwargs.pop("output_hidden_states", None) or layers
        outputs = self.vision_tower(pixel_values, output_hidden_states=kept, return_dict=True, **kwargs)
        features = self.select_image_features(outputs.hidden_states, layers, strategy)
        # Built anew: not every tower's output has this field, and what is no field is lost in a tuple.
        return BaseModelOutputWithPooling(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=list(self.multi_modal_projector(features)),  # type: ignore[arg-type]  # LLaVA's: one per image
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def select_image_features(
        self, hidden_states: tuple[torch.Tensor, ...], layers: list[int], strategy: str
    ) -> torch.Tensor:
        """Join `layers` of the tower's hidden states (B, L, C) along C; `"default"` keeps the patches alone."""
        dropped = self.config.num_prefix_tokens if strategy == "default" else 0
        return torch.cat([hidden_states[layer][:, dropped:] for layer in layers], dim=-1)

    def project_image_features(self, image_features: torch.Tensor) -> dict[str, BaseModelOutputWithPooling]:
        """Turn cached features of the tower into LLaVA's `mm_encoder_outputs`.

        Args:
            image_features (`torch.Tensor` (B, image_seq_length, tower hidden size)): Output of `encode_images`.
        """
        projected = self.multi_modal_projector(image_features)
        # LLaVA keeps one tensor for each image in this field.
        return {"image": BaseModelOutputWithPooling(pooler_output=list(projected))}  # type: ignore[arg-type]

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        number_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple | LlavaModelOutputWithPast:
        """LLaVA's forward, which also takes cached `image_features` in the place of `pixel_values`.

        `number_embeds` (B, L, h) are added to the embeddings of `input_ids`: the numbers that are fed back.

        Raises:
            `ValueError`: If tokens or images come in more than one form, or images do not fit the number of
                placeholder tokens.
        """
        if sum(images is not None for images in (pixel_values, image_features, mm_encoder_outputs)) > 1:
            raise ValueError("Pass one of pixel_values, image_features and mm_encoder_outputs, not several.")
        if image_features is not None:
            mm_encoder_outputs = self.project_image_features(image_features)
        if number_embeds is not None:
            if kwargs.get("inputs_embeds") is not None:
                raise ValueError("You must specify exactly one of input_ids or inputs_embeds, got both.")
            kwargs["inputs_embeds"] = embed_with_numbers(
                self, input_ids, number_embeds, pixel_values, mm_encoder_outputs
            )
            input_ids = pixel_values = mm_encoder_outputs = None
        return super().forward(
            input_ids=input_ids, pixel_values=pixel_values, mm_encoder_outputs=mm_encoder_outputs, **kwargs
        )


class IGLLMForSceneProgram(
    IGLLMPreTrainedModel, GrammarGenerationMixin, SceneGenerationMixin, LlavaForConditionalGeneration
):
    """Image -> scene program by next-token prediction, with a numeric head for the values of the number tokens."""

    _refuses_unexpected = True

    def __init__(self, config: IGLLMConfig):
        LlavaPreTrainedModel.__init__(self, config)
        text_config = config.text_config
        self.model = IGLLMModel(config)
        self.lm_head = nn.Linear(text_config.hidden_size, text_config.vocab_size, bias=False)
        self.numeric_head = build_numeric_head(config)
        self.number_embedding = NumberEmbedding(text_config.hidden_size) if config.feed_numbers_back else None
        self._set_generation_defaults()
        self.post_init()

    def _set_generation_defaults(self) -> None:
        self.generation_config.return_dict_in_generate = True  # the numbers are no part of bare sequences
        self.generation_config.max_new_tokens = MAX_NEW_TOKENS
        self.generation_config.max_length = None  # the other name of the limit, which LLaVA's folders have

    @classmethod
    def from_backbones(cls, vision: Backbone, text: Backbone, **config_fields: Any) -> "IGLLMForSceneProgram":
        """Join a vision tower and a language model by a new projector, with a new numeric head beside them.

        Each part keeps its dtype, but a saved model is loaded in one: call `.to(dtype)` before saving to choose it.

        Args:
            vision (`str`, `Path`, `PreTrainedConfig` or `PreTrainedModel`):
                A checkpoint (folder or Hub id; loaded in its own dtype) of CLIP, SigLIP, DINOv2 or a scene tower; a
                configuration (random weights); or a tower, which is taken over, not copied.
            text (`str`, `Path`, `PreTrainedConfig` or `PreTrainedModel`):
                A causal language model in the same forms. Its vocabulary must hold the number token and `<image>`:
                see `scene_token_ids` and `grow_embeddings` in `backbones.py`.
            config_fields: Fields of [`IGLLMConfig`], `num_token_id` and `image_token_index` among them.

        Raises:
            `ValueError`: If one of the two is of a kind that is not supported.
        """
        tower, language_model = load_vision_tower(vision), load_language_model(text)
        config = IGLLMConfig(vision_config=tower.config, text_config=language_model.config, **config_fields)
        with torch.device("meta"):
            model = cls(config)
        install_backbones(model, tower, language_model)
        return model

    @classmethod
    def from_llava(
        cls, checkpoint: str | Path, loading: dict[str, Any] | None = None, **config_fields: Any
    ) -> "IGLLMForSceneProgram":
        """Load a LLaVA-1.5 checkpoint of any layout (`llava_checkpoints.py`) and put a new numeric head beside it.

        Args:
            checkpoint (`str` or `Path`): Folder or Hub id.
            loading (`dict`, *optional*): Arguments of `from_pretrained`, such as `dtype` and `quantization_config`.
            config_fields: Fields of [`IGLLMConfig`], `num_token_id` among them.

        Raises:
            `ValueError`: If weights other than those of the head are missing.
        """
        config = config_from_llava(checkpoint, **config_fields)
        arguments: dict[str, Any] = {"key_mapping": LLAVA_KEY_MAPPING, "output_loading_info": True} | (loading or {})
        model, report = cast(tuple, cls.from_pretrained(checkpoint, config=config, **arguments))
        refuse_missing(checkpoint, {name for name in report["missing_keys"] if not name.startswith(NUMBER_MODULES)})
        # transformers would undo the renaming when it saves: the new model is saved under its own names.
        model._weight_conversions = None
        # `from_pretrained` has put those of the LLaVA folder in their place.
        model._set_generation_defaults()
        return model

    def save_pretrained(self, save_directory: str | PathLike, *args: Any, **kwargs: Any) -> None:
        """transformers' method, with `custom_generate/generate.py` for a model with a grammar and no other."""
        super().save_pretrained(save_directory, *args, **kwargs)
        self.write_custom_generate(save_directory)

    def _upload_modified_files(self, working_dir: str | PathLike, *args: Any, **kwargs: Any) -> Any:
        # `save_pretrained(push_to_hub=True)` uploads before it returns.
        self.write_custom_generate(working_dir)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    @torch.no_grad()
    def encode_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The tower's features before the projector, to be cached while the tower is frozen.

        Args:
            pixel_values (`torch.Tensor` (B, 3, H, W)): Output of the image processor.

        Returns:
            `torch.Tensor` (B, image_seq_length, tower hidden size): To be passed as `image_features`.
        """
        layers = self.config.vision_feature_layers
        hidden_states = self.model.vision_tower(pixel_values, output_hidden_states=layers).hidden_states
        strategy: Any = self.config.vision_feature_select_strategy
        return self.model.select_image_features(hidden_states, layers, strategy)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        number_labels: torch.Tensor | None = None,
        number_quantities: torch.Tensor | None = None,
        number_inputs: torch.Tensor | None = None,
        number_loss_denominator: torch.Tensor | int | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        image_features: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> tuple | IGLLMOutput:
        """One pass over prompt and answer.

        Args:
            input_ids (`torch.LongTensor` (B, L)): Tokens; `image_seq_length` placeholders per image.
            pixel_values (`torch.Tensor` (B, 3, H, W)): Output of the image processor.
            attention_mask (`torch.Tensor` (B, L)): 0 at padding.
            labels (`torch.LongTensor` (B, L)): Tokens to learn, -100 elsewhere; shifted by one inside.
            number_labels (`torch.Tensor` (B, L)):
                Values at the number tokens of `labels`, in the program's units; ignored elsewhere (NaN by habit).
            number_quantities (`torch.Tensor` (B, L), int64):
                Index in `QUANTITIES` at the number tokens of `input_ids`, `NO_QUANTITY` elsewhere. Needed for numbers
                in the program's units if `config.number_ranges` is set.
            number_inputs (`torch.Tensor` (B, L)):
                Normalised values at the number tokens of `input_ids`, ignored elsewhere, for a model with
                `config.feed_numbers_back`. By default those of `number_labels` (teacher forcing).
            number_loss_denominator (`torch.Tensor` or `int`):
                Numbers in the whole accumulated batch, as `num_items_in_batch` (a keyword of the Trainer, passed on)
                is for the cross-entropy. With both, accumulated gradients equal those of one large batch.
            image_features (`torch.Tensor` (B, image_seq_length, tower hidden size)):
                Cached output of `encode_images`, in the place of `pixel_values`.
            logits_to_keep (`int` or `torch.Tensor`):
                The last positions, or their indices, that get logits and numbers; of `labels` the same count. 0: all.
            mm_encoder_outputs (`dict`): Features after the projector, as LLaVA takes them.

        Raises:
            `ValueError`: If `labels` come without `number_labels` although the model has a numeric head, a number
                token has no finite value, or quantities are missing.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            image_features=image_features,
            mm_encoder_outputs=mm_encoder_outputs,
            number_embeds=self.embed_numbers(input_ids, number_inputs, number_labels, number_quantities),
            return_dict=True,
            **kwargs,
        )
        hidden_states = slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep)
        result = IGLLMOutput(
            logits=self.lm_head(hidden_states),
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )
        parameters = self.read_head(result, hidden_states, number_quantities, logits_to_keep)
        if labels is not None:
            labels, number_labels, number_quantities = (  # type: ignore[assignment]  # a slice of ids holds ids
                None if values is None else slice_positions(values, logits_to_keep)
                for values in (labels, number_labels, number_quantities)
            )
            vocab_size = self.config.text_config.vocab_size
            result.ce_loss = result.loss = ForCausalLMLoss(result.logits, labels, vocab_size=vocab_size, **kwargs)
            if parameters is not None:
                result.number_loss = self.compute_number_loss(
                    parameters, labels, number_labels, number_quantities, number_loss_denominator
                )
                result.loss = result.ce_loss + self.config.float_w * result.number_loss
        # Built anew: fields keep the order in which they were set, and who asks for a tuple expects the loss first.
        return IGLLMOutput(**result)


IGLLMForSceneProgram.register_for_auto_class("AutoModelForImageTextToText")

__all__ = ["IGLLMForSceneProgram", "IGLLMModel", "IGLLMOutput"]
