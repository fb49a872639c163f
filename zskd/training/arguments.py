"""Arguments of `ZeroShotTrainer`: those of `transformers.TrainingArguments` and the method's own."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from zskd.config.distillation import OBJECTIVES


@dataclass
class ZeroShotArguments(TrainingArguments):
    """`transformers.TrainingArguments` with defaults that fit distillation, and what the method adds.

    Models are pushed to the Hub at the end only; a new repository is private unless ``hub_private_repo`` is False.
    Everything from ``adversarial_start`` on matters only to a trainer with an adversary. Steps are optimizer steps.
    """

    temperature: float = field(
        default=1.0, metadata={"help": "temperature T of the distillation loss, which is scaled by T squared"}
    )
    objective: str = field(
        default="kd",
        metadata={"help": "the loss, one of `zskd.config.distillation.OBJECTIVES` (see `zskd.training.objective`)"},
    )
    top_k: int | None = field(
        default=None, metadata={"help": "probabilities that kd-topk keeps; default: half of the classes"}
    )
    smoothing: float = field(default=0.1, metadata={"help": "share of the target that label-smoothing spreads evenly"})
    similarity_power: float = field(default=0.5, metadata={"help": "power of the cosines in kd-sim"})
    similarity_temperature: float = field(default=0.3, metadata={"help": "kd-sim's own temperature of the cosines"})
    pt_weight: float = field(default=0.5, metadata={"help": "share of kd-pt in kd-pt+sim"})
    gold_weight: float = field(
        default=0.5,
        metadata={"help": "share of the cross-entropy with the gold label in the loss of a row that has one"},
    )
    adversarial_start: float = field(
        default=0.3, metadata={"help": "share of the steps after which batches have adversarial rows"}
    )
    generator_steps: int = field(
        default=10, metadata={"help": "steps of a round in which the generator learns, once per step"}
    )
    student_steps: int = field(default=50, metadata={"help": "steps of a round; the student learns in each"})
    fresh_share: float = field(default=0.125, metadata={"help": "share of a batch that the generator just wrote"})
    replay_share: float = field(default=0.25, metadata={"help": "share of a batch that it wrote earlier"})
    replay_size: int = field(default=20_000, metadata={"help": "rows that are kept for replay; the oldest leave"})
    hard_share: float = field(
        default=0.25,
        metadata={
            "help": "the generator rewrites rows out of this share of the transfer rows, those on which student and "
            "teacher differ most; 1: any row"
        },
    )
    mask_rate: float = field(
        default=0.3,
        metadata={
            "help": "share of a text's tokens that the generator rewrites; of a pair, at most so many of one text"
        },
    )
    token_candidates: int = field(
        default=64, metadata={"help": "the generator's likeliest tokens it chooses from; 0: the whole vocabulary"}
    )
    row_candidates: int = field(
        default=4, metadata={"help": "rewritings of a row that a candidate adversary has judged"}
    )
    sampling_temperature: float = field(
        default=1.0, metadata={"help": "the generator's logits are divided by it before a token is drawn"}
    )
    gumbel_start: float = field(default=1.0, metadata={"help": "temperature of the Gumbel-softmax at first"})
    gumbel_end: float = field(default=0.5, metadata={"help": "temperature of the Gumbel-softmax at the end"})
    anchor_weight: float = field(
        default=0.1, metadata={"help": "weight of the masked-LM loss that keeps the generator near the corpus"}
    )
    confidence_weight: float = field(
        default=1.0, metadata={"help": "weight of the penalty on rows that the teacher is unsure of"}
    )
    balance_weight: float = field(
        default=1.0, metadata={"help": "weight of the penalty on an uneven mean prediction of the teacher"}
    )
    diversity_weight: float = field(default=0.1, metadata={"help": "weight of the penalty on repeated tokens"})
    generator_learning_rate: float = field(default=1.0e-4, metadata={"help": "learning rate of the generator"})
    generator_clip: float = field(default=1.0, metadata={"help": "largest norm of the generator's gradient"})

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature: expected a value above 0, found {self.temperature}")
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective: expected one of {', '.join(OBJECTIVES)}, found {self.objective!r}")
        if self.similarity_temperature <= 0:
            raise ValueError(f"similarity_temperature: expected a value above 0, found {self.similarity_temperature}")
        if self.fresh_share <= 0 or self.replay_share < 0 or self.fresh_share + self.replay_share > 1:
            raise ValueError(
                "fresh_share and replay_share: expected a share above 0 and one of at least 0, together at most 1, "
                f"found {self.fresh_share} and {self.replay_share}"
            )
        if not 0 <= self.generator_steps <= self.student_steps or self.student_steps < 1:
            raise ValueError(
                "generator_steps and student_steps: expected 0 <= generator_steps <= student_steps, "
                f"found {self.generator_steps} and {self.student_steps}"
            )
        if not 0 < self.hard_share <= 1:
            raise ValueError(f"hard_share: expected a share above 0 and at most 1, found {self.hard_share}")
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
    """Push at the end, to private repositories.

    Pushes while training send whole folders, with the optimizer's state and the token that `training_args.bin` holds.
    """
    if arguments.push_to_hub and arguments.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        raise ValueError(
            f"hub_strategy: expected 'end', found {arguments.hub_strategy.value!r}, which sends checkpoints"
        )
    arguments.hub_strategy = HubStrategy.END
    if arguments.hub_private_repo is None:
        arguments.hub_private_repo = True
