"""The IG-LLM model: LLaVA with a numeric head (spec MODEL; names follow transformers' `models/llava`)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, LlavaForConditionalGeneration, LlavaModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import slice_logits_to_keep
from transformers.models.llava.modeling_llava import (
    LlavaCausalLMOutputWithPast,
    LlavaModelOutputWithPast,
    LlavaMultiModalProjector,
    LlavaPreTrainedModel,
)
from transformers.utils.generic import can_return_tuple

from .configuration_igllm import IGLLMConfig
from .generation_igllm import SceneGenerationMixin
from .modeling_scene_tower import SceneTowerModel
from .numeric_head import NumericHead, NumericLinear, number_loss

# The published decoding limit (spec MODEL, "decoding"); transformers' own default of 20 cuts every program.
MAX_NEW_TOKENS = 1024


@dataclass
class IGLLMOutput(LlavaCausalLMOutputWithPast):
    """LLaVA's output, the two parts of the loss, and the numbers.

    Attributes:
        loss (`torch.Tensor`, scalar): `ce_loss + float_w * number_loss`; None without `labels`.
        ce_loss (`torch.Tensor`, scalar): Cross-entropy over the answer tokens, number tokens included.
        number_loss (`torch.Tensor`, scalar): Squared error of the numbers; None without a numeric head.
        numbers (`torch.Tensor` (B, L), float32):
            The head at every position for which there are logits: position t holds the value of token t + 1, should
            that be the number token. None without a numeric head.
    """

    ce_loss: torch.Tensor | None = None
    number_loss: torch.Tensor | None = None
    numbers: torch.Tensor | None = None


class IGLLMPreTrainedModel(LlavaPreTrainedModel):
    """LLaVA's base class with IG-LLM's configuration."""

    config: IGLLMConfig
    # The head keeps float32 by itself; this tells quantisers to leave it alone.
    _keep_in_fp32_modules = {"numeric_head"}  # noqa: RUF012  # as PreTrainedModel declares it

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own initialisation for the numeric head: its scale follows the hidden size; else LLaVA's."""
        super()._init_weights(module)
        if isinstance(module, NumericLinear):
            init.kaiming_uniform_(module.weight, a=5**0.5)


def build_projector(config: IGLLMConfig) -> nn.Module:
    """The published single linear layer (4,198,400 parameters at 1024 -> 4096), or LLaVA's two."""
    if config.projector_type == "mlp2x_gelu":
        return LlavaMultiModalProjector(config)
    return nn.Linear(
        config.vision_config.hidden_size * len(config.vision_feature_layers), config.text_config.hidden_size
    )


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

    def project_image_features(self, image_features: torch.Tensor) -> dict[str, BaseModelOutputWithPooling]:
        """Turn cached features of the tower into LLaVA's `mm_encoder_outputs`.

        Args:
            image_features (`torch.Tensor` (B, image_seq_length, tower hidden size)): Output of `encode_images`.
        """
        projected = self.multi_modal_projector(image_features.to(self.dtype))
        # LLaVA keeps one tensor for each image in this field.
        return {"image": BaseModelOutputWithPooling(pooler_output=list(projected))}  # type: ignore[arg-type]

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> tuple | LlavaModelOutputWithPast:
        """LLaVA's forward, which also takes cached `image_features` in the place of `pixel_values`.

        Raises:
            `ValueError`: If images come in more than one form, or do not fit the number of placeholder tokens.
        """
        if image_features is not None:
            if pixel_values is not None or mm_encoder_outputs is not None:
                raise ValueError("Pass one of pixel_values, image_features and mm_encoder_outputs, not several.")
            mm_encoder_outputs = self.project_image_features(image_features)
        return super().forward(
            input_ids=input_ids, pixel_values=pixel_values, mm_encoder_outputs=mm_encoder_outputs, **kwargs
        )


class IGLLMForSceneProgram(IGLLMPreTrainedModel, SceneGenerationMixin, LlavaForConditionalGeneration):
    """Image -> scene program by next-token prediction, with a numeric head for the values of the number tokens."""

    def __init__(self, config: IGLLMConfig):
        LlavaPreTrainedModel.__init__(self, config)
        text_config = config.text_config
        self.model = IGLLMModel(config)
        self.lm_head = nn.Linear(text_config.hidden_size, text_config.vocab_size, bias=False)
        self.numeric_head = (
            None
            if config.number_head == "none"
            else NumericHead(text_config.hidden_size, config.number_head, config.number_scale)
        )
        self.generation_config.return_dict_in_generate = True
        self.generation_config.max_new_tokens = MAX_NEW_TOKENS
        self.post_init()

    @torch.no_grad()
    def encode_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The tower's features before the projector, to be cached while the tower is frozen.

        Args:
            pixel_values (`torch.Tensor` (B, 3, H, W)): Output of the image processor.

        Returns:
            `torch.Tensor` (B, image_seq_length, tower hidden size): To be passed as `image_features`.
        """
        hidden_states = self.model.vision_tower(pixel_values, output_hidden_states=True).hidden_states
        features = torch.cat([hidden_states[layer] for layer in self.config.vision_feature_layers], dim=-1)
        return features[:, 1:] if self.config.vision_feature_select_strategy == "default" else features

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
            number_loss_denominator (`torch.Tensor` or `int`):
                Numbers in the whole accumulated batch, as `num_items_in_batch` (a keyword of the Trainer, passed on)
                is for the cross-entropy. With both, accumulated gradients equal those of one large batch.
            image_features (`torch.Tensor` (B, image_seq_length, tower hidden size)):
                Cached output of `encode_images`, in the place of `pixel_values`.
            mm_encoder_outputs (`dict`): Features after the projector, as LLaVA takes them.

        Raises:
            `ValueError`: If `labels` come without `number_labels` although the model has a numeric head, or a number
                token has no finite value.
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
        if self.numeric_head is not None:
            result.numbers = self.numeric_head(hidden_states)
        if labels is not None:
            self._add_loss(result, labels, number_labels, number_loss_denominator, **kwargs)
        return result

    def _add_loss(
        self,
        output: IGLLMOutput,
        labels: torch.LongTensor,
        number_labels: torch.Tensor | None,
        number_loss_denominator: torch.Tensor | int | None,
        **kwargs: Any,
    ) -> None:
        """Fill in `ce_loss`, `number_loss` and `loss` (spec MODEL, "loss")."""
        vocab_size = self.config.text_config.vocab_size
        output.ce_loss = ForCausalLMLoss(output.logits, labels, vocab_size=vocab_size, **kwargs)
        output.loss = output.ce_loss
        if output.numbers is None:
            return
        if number_labels is None:
            raise ValueError("labels need number_labels beside them: the model has a numeric head to be trained.")
        is_number = labels.eq(self.config.num_token_id)  # type: ignore[arg-type]  # given if there is a head
        output.number_loss = number_loss(output.numbers, number_labels, is_number, number_loss_denominator)
        output.loss = output.ce_loss + self.config.float_w * output.number_loss


IGLLMForSceneProgram.register_for_auto_class("AutoModelForImageTextToText")

__all__ = ["IGLLMForSceneProgram", "IGLLMModel", "IGLLMOutput"]
