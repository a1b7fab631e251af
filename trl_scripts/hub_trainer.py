"""TRL's `SFTTrainer` with this project's pushes: whole checkpoints, nothing but them, and a card that says what is in.

The stock trainer would push a folder with all that lies in it, in the course of training without the model's code, and
a card about chatting.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy
from transformers.utils import PushInProgress
from transformers.utils.hub import hf_api
from trl import SFTTrainer

from .errors import CommandError
from .hub_content import model_content
from .hub_upload import prepare_repository, push_content
from .training_card import TrainingOrigin, training_card

logger = logging.getLogger(__name__)


class HubSFTTrainer(SFTTrainer):
    """`SFTTrainer` that pushes as `igllm push model` does.

    Args:
        origin: what the training begins with, for the card; the other arguments are those of `SFTTrainer`.

    Raises:
        CommandError: as `prepare_push`, if `push_to_hub` is set.
    """

    def __init__(self, *args: Any, origin: TrainingOrigin | None = None, **kwargs: Any) -> None:
        self.origin = origin or TrainingOrigin()
        self.was_resumed = False
        super().__init__(*args, **kwargs)

    @property
    def output_folder(self) -> Path:
        """Where model, processor, card and checkpoints are saved."""
        return Path(str(self.args.output_dir))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `SFTTrainer` does."""
        self.was_resumed = bool(resume_from_checkpoint)
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def init_hf_repo(self) -> None:  # type: ignore[override]  # token and privacy come from the arguments
        """Create the repository; called when the trainer is made.

        Raises:
            CommandError: as `prepare_push`.
        """
        if self.is_world_process_zero():
            self.args.hub_model_id = prepare_push(self.args, with_adapter=isinstance(self.model, PeftModel))
            super().init_hf_repo()

    def create_model_card(self, model_name: str | None = None) -> None:  # type: ignore[override]
        """Write README.md into the output folder; called before every checkpoint and push."""
        if self.is_world_process_zero():
            card = training_card(self, self.origin, self.was_resumed, model_name)
            card.save(self.output_folder / "README.md")

    def push_to_hub(  # type: ignore[override]  # what is left out comes from the arguments
        self, commit_message: str = "End of training", revision: str | None = None
    ) -> None:
        """Save model, processor and card, and push them in one commit; `save_model` calls this.

        Raises:
            CommandError: if the Hub cannot be reached or refuses.
        """
        self.save_model(_internal_call=True)  # in all processes
        if not self.is_world_process_zero():
            return
        if self.hub_model_id is None:
            self.init_hf_repo()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.create_model_card()
        self._finish_current_push()
        output = self.output_folder
        try:
            self._push(output, commit_message, revision or self.args.hub_revision)
        except CommandError as error:
            raise CommandError(
                f"{error}. The trained model is in {output}: `igllm push model {output} {self.hub_model_id}`"
            ) from error

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push a checkpoint while training goes on; one that fails is reported, and the next one makes up for it."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self._finish_current_push()  # its checkpoint may be deleted now
        card = (self.output_folder / "README.md").read_bytes()
        message = f"Training in progress, step {self.state.global_step}"
        job = hf_api().run_as_future(self._push_or_warn, Path(checkpoint_folder), message, card)
        self.push_in_progress = PushInProgress([job])  # type: ignore[assignment,arg-type]  # declared too narrowly

    def _push_or_warn(self, folder: Path, message: str, card: bytes) -> None:
        try:
            self._push(folder, message, self.args.hub_revision, {"README.md": card})
        except Exception as error:  # in this thread nobody else would see it
            traceback = not isinstance(error, CommandError)
            logger.warning("%s was not pushed, training goes on: %s", folder, error, exc_info=traceback)

    def _push(
        self, folder: Path, message: str, revision: str | None, more_files: dict[str, Path | bytes] | None = None
    ) -> None:
        content = model_content(folder)
        content = replace(content, files={**content.files, **(more_files or {})})
        private, token = self.args.hub_private_repo, self.args.hub_token
        push_content(content, str(self.hub_model_id), private, revision, message, token)


def prepare_push(arguments: TrainingArguments, with_adapter: bool) -> str:
    """Create the repository that a training will push to, and see that it may; returns its full id.

    Meant to be called before anything that takes long.

    Args:
        with_adapter: whether the model will be a base with an adapter. A revision that pins an adapter's repository
            cannot pin that of its base, whose code would run: such a push is refused.

    Raises:
        CommandError: if nobody is logged in, the Hub refuses or cannot be reached, `hub_strategy` asks for pushes of
            the optimizer's state, or there is an adapter.
    """
    if with_adapter:
        raise CommandError(
            "an adapter alone is not pushed: train without --push_to_hub, merge it into its base "
            "(merge_adapter.py), and push that folder with `igllm push model`"
        )
    strategy = HubStrategy(arguments.hub_strategy)
    if strategy not in (HubStrategy.END, HubStrategy.EVERY_SAVE):
        raise CommandError(
            f"--hub_strategy {strategy.value} would publish the optimizer's state, which is pickled: "
            "use every_save or end, and resume from the output folder"
        )
    name = arguments.hub_model_id or Path(str(arguments.output_dir)).absolute().name
    return prepare_repository(name, arguments.hub_private_repo, arguments.hub_revision, token=arguments.hub_token)
