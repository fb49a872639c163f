"""Arguments of `ZeroShotTrainer`: those of `transformers.TrainingArguments` and the objective's options."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from zskd.config.limits import limit_problems
from zskd.config.objective_options import ObjectiveOptions


@dataclass
class ZeroShotArguments(ObjectiveOptions, TrainingArguments):
    """`transformers.TrainingArguments`, and the options of the objective (`zskd.config.objective_options`).

    Without an ``objective`` the Trainer uses ``kd``. Models are pushed to the Hub at the end only; a new repository is
    private unless ``hub_private_repo`` is False. The options of a method are the method's own (`zskd.methods`).

    Raises:
        ValueError: an option is beyond its limits, or ``hub_strategy`` would send checkpoints.

    Example:
        >>> from zskd import ZeroShotArguments
        >>> arguments = ZeroShotArguments("runs/mine", temperature=2.0, max_steps=200, use_cpu=True)
        >>> arguments.temperature, arguments.label_names
        (2.0, ['teacher_logits'])
    """

    def __post_init__(self) -> None:
        if problems := limit_problems(self, of=ObjectiveOptions, shown=str):
            raise ValueError("; ".join(problems))
        # Teacher logits are the target. They travel beside the inputs and not as `labels`: Trainer would count
        # every logit as an example, and a BERT head would guess a multi-label problem.
        self.label_names = ["teacher_logits"]
        self.remove_unused_columns = False
        super().__post_init__()
        _push_safely(self)

    @property
    def n_gpu(self) -> int:
        """GPUs of this process: one at most, so that Trainer never wraps a model in `torch.nn.DataParallel`.

        That copies the model in every step, and a loss in `compute_loss` would see its first copy alone.
        """
        return min(1, super().n_gpu)


def _push_safely(arguments: TrainingArguments) -> None:
    """Allow pushes at the end only, and make new repositories private by default.

    A push during training sends whole folders, including the optimizer's state and ``training_args.bin``, which holds
    the token.
    """
    if arguments.push_to_hub and arguments.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        raise ValueError(
            f"hub_strategy: expected 'end', found {arguments.hub_strategy.value!r}, which sends checkpoints"
        )
    arguments.hub_strategy = HubStrategy.END
    if arguments.hub_private_repo is None:
        arguments.hub_private_repo = True
