"""Options of the adversary (see `zskd.methods.adversarial`), their checks, and their cost in queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zskd.config import limits
from zskd.config.methods.shares import MIN_TRANSFER
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option
from zskd.errors import InputError

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

ADVERSARIES = ("gradient", "candidates")


@dataclass
class AdversarialOptions:
    """Options of `zskd.Adversarial` and its generator. Shares are of a batch, steps are optimizer steps.

    Example:
        >>> AdversarialOptions(adversarial_start=0.5).fresh_share
        0.125
    """

    adversary: str = option(
        "gradient",
        "gradient: the generator learns through teacher and student, which share one vocabulary; candidates: from the "
        "ranks of several rewritings, for any teacher",
        choices=ADVERSARIES,
    )
    row_candidates: int = option(
        4, "rewritings of a row that the teacher judges, with --adversary candidates", low=2, high=1_000
    )
    generator: str = option(
        "build",
        "masked language model that writes adversarial text: a Hub id or folder; `build`: made of the teacher's first "
        "layers",
        model=True,
    )
    generator_revision: str | None = option(None, "commit or tag of a Hub generator")
    generator_warmup: int = option(
        150,
        "steps of masked-LM training on the corpus before anything else; cached",
        low=0,
        high=limits.MOST_STEPS,
    )
    generator_learning_rate: float = option(1.0e-4, "learning rate of the generator", low=0.0)
    generator_clip: float = option(1.0, "largest norm of the generator's gradient", low=0.0, high=limits.HEAVIEST)
    adversarial_start: float = option(
        0.3, "share of the steps after which batches have adversarial rows", low=0.0, high=1.0
    )
    generator_steps: int = option(
        10, "steps of a round in which the generator learns, once per step", low=0, high=limits.MOST_STEPS
    )
    student_steps: int = option(50, "steps of a round; the student learns in each", low=1, high=limits.MOST_STEPS)
    fresh_share: float = option(0.125, "share of a batch that the generator just wrote", low=0.001, high=1.0)
    replay_share: float = option(0.25, "share of a batch that the generator wrote earlier", low=0.0, high=1.0)
    replay_size: int = option(20_000, "rows kept for replay; the oldest leave", low=1, high=limits.MOST_ROWS)
    hard_share: float = option(
        0.25,
        "the generator rewrites rows out of this share of the transfer rows, those on which student and teacher differ "
        "most; 1: any row",
        low=0.01,
        high=1.0,
    )
    mask_rate: float = option(
        0.3,
        "share of a text's tokens that the generator rewrites; of a pair, at most so many of one text",
        low=0.01,
        high=1.0,
    )
    token_candidates: int = option(
        64, "the generator's likeliest tokens it chooses from; 0: the whole vocabulary", low=0, high=limits.MOST_ROWS
    )
    sampling_temperature: float = option(
        1.0, "the generator's logits are divided by it before a token is drawn", low=0.01, high=limits.HOTTEST
    )
    gumbel_start: float = option(1.0, "temperature of the Gumbel-softmax at first", low=0.01, high=limits.HOTTEST)
    gumbel_end: float = option(0.5, "temperature of the Gumbel-softmax at the end", low=0.01, high=limits.HOTTEST)
    anchor_weight: float = option(
        0.1, "weight of the masked-LM loss that keeps the generator near the corpus", low=0.0, high=limits.HEAVIEST
    )
    confidence_weight: float = option(
        1.0, "weight of the penalty on rows that the teacher is unsure of", low=0.0, high=limits.HEAVIEST
    )
    balance_weight: float = option(
        1.0, "weight of the penalty on an uneven mean prediction of the teacher", low=0.0, high=limits.HEAVIEST
    )
    diversity_weight: float = option(0.1, "weight of the penalty on repeated tokens", low=0.0, high=limits.HEAVIEST)


def problems(options: AdversarialOptions) -> list[str]:
    """Options that contradict each other."""
    found = []
    if options.fresh_share + options.replay_share > 1:
        found.append(
            f"--fresh-share {options.fresh_share} and --replay-share {options.replay_share}: "
            "expected at most 1 together"
        )
    if options.generator_steps > options.student_steps:
        found.append(
            f"--generator-steps {options.generator_steps}: expected at most the {options.student_steps} steps of a "
            "round (--student-steps)"
        )
    return found


def run_problems(config: DistillConfig, *, black_box: bool) -> list[str]:
    """Options of a run that do not fit the adversary."""
    found = problems(config)
    if black_box and config.adversary == "gradient":
        found.append(
            "--adversary gradient: a callable teacher has no weights to learn through; use --adversary candidates"
        )
    if black_box and config.generator == "build":
        found.append(
            "--generator build: a callable teacher has no layers to build one from; name a masked language model "
            "with the student's vocabulary"
        )
    if config.gold_labels is not None:
        found.append("--gold-labels: a generator rewrites rows, and their labels would not hold; leave out either")
    return found


def batch_problems(config: DistillConfig, processes: int) -> list[str]:
    """A batch without a row that the generator wrote, or one of several processes whose part of it has none.

    Where the generator learns, every process takes part in its step.
    """
    from zskd.config.methods.adversarial_schedule import Origin, make_schedule

    if limits.limit_problems(config):
        return []  # which say more
    batch = config.batch_size * config.gradient_accumulation
    rows = batch if processes == 1 else config.batch_size // processes
    if rows * config.fresh_share >= 3:
        return []  # however the rows are rounded
    found = make_schedule(config, 1).origins(0, batch) == Origin.FRESH
    if found.reshape(-1, rows).any(axis=1).all():
        return []
    asked = f"--batch-size {config.batch_size}"
    if config.gradient_accumulation > 1:
        asked += f", --gradient-accumulation {config.gradient_accumulation}"
    if processes > 1:
        asked += f", --num-processes {processes}"
    return [
        f"--fresh-share {config.fresh_share}: expected at least one row of the generator's in every {rows} "
        f"({asked}), found none; raise --fresh-share or --batch-size"
    ]


def queries(config: DistillConfig) -> int:
    """Number of texts out of ``config.pool_size`` that the generator writes, in place of shaped inputs.

    Raises:
        InputError: too few inputs are left for the transfer set.
    """
    from zskd.config.distillation import optimizer_steps
    from zskd.config.methods.adversarial_schedule import make_schedule

    assert config.pool_size is not None  # the task's default
    steps = optimizer_steps(config, config.pool_size)
    batch = config.batch_size * config.gradient_accumulation
    per_row = config.row_candidates if config.adversary == "candidates" else 1
    found = make_schedule(config, steps).queries(steps, batch, per_row)
    if config.pool_size - found < MIN_TRANSFER:
        raise InputError(
            f"--pool-size {config.pool_size}: expected more than the {found} texts that the generator has labelled in "
            f"{steps} steps; raise it (a small --corpus limits it), or lower --epochs or --fresh-share"
        )
    return found


SPEC = MethodSpec(
    name="adversarial",
    summary="a generator rewrites inputs on which student and teacher differ (Rashid et al. 2021)",
    options=AdversarialOptions,
    asked_for=lambda config: config.perturb == "adversarial",
    flag="--perturb adversarial",
    problems=run_problems,
    batch_problems=batch_problems,
    queries=queries,
    use="generator",
)
