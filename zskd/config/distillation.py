"""The options of `zskd distill`: one dataclass field = one flag = one YAML key. Other verbs: `zskd.config.verbs`.

This module imports neither torch nor transformers, so that ``zskd --help`` and the checks stay fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from zskd.config import limits, shared
from zskd.config.methods.adversarial import AdversarialOptions
from zskd.config.methods.anchors import AnchorsOptions
from zskd.config.methods.backward_pass import BackwardPassOptions
from zskd.config.methods.class_balance import ClassBalanceOptions
from zskd.config.methods.feature_prior import FeaturePriorOptions
from zskd.config.methods.inconsistent import InconsistentOptions
from zskd.config.methods.messages import MessagesOptions
from zskd.config.methods.roles import RolesOptions
from zskd.config.methods.selection import SelectionOptions
from zskd.config.methods.uncertainty_mixup import UncertaintyMixupOptions
from zskd.config.objective_options import ObjectiveOptions
from zskd.config.optimizer_options import OPTIMIZERS
from zskd.config.option import option

PERTURBATIONS = ("none", "random", "adversarial")
PAIRS = ("plain", "wide")
STUDENT_PRECISIONS = ("fp32", "bf16")
STARTS = ("auto", "packaged", "none")  # or a folder

Part = TypeVar("Part")


@dataclass
class RunOptions:
    """Options of every distillation run, independent of its objective and methods."""

    # What is distilled into what
    task: str = shared.task()
    teacher: str = option(
        "default",
        "Hub id or folder of a fine-tuned classifier; `embedded`: the packaged adapter on its backbone; "
        "`default`: the task's teacher on the Hub",
        brief="fine-tuned classifier: folder, Hub id or `embedded`",
        group="models",
    )
    teacher_revision: str | None = option(None, "commit or tag of a Hub teacher", group="models")
    label_map: str | None = shared.label_map("the teacher's")
    teacher_outputs: str = shared.teacher_outputs()
    student: str = option(
        "build",
        "Hub id or folder the student starts from; `build`: made from the teacher under --compression; "
        "`default`: the task's student on the Hub",
        brief="what it starts from: `build`, a folder or a Hub id",
        group="models",
    )
    student_revision: str | None = option(None, "commit or tag of a Hub student", group="models")
    start_from: str = option(
        "auto",
        "what a built student begins with: `packaged`: layers that have read Wikipedia; the folder of a start (`zskd "
        "pretrain`); `none`: random layers; `auto`: `packaged` where two texts are compared and that start fits the "
        "teacher's vocabulary and --compression, else `none`",
        brief="its layers at first: `packaged`, `none` or a folder",
        group="models",
    )
    compression: float = shared.compression("a built student", "the teacher's")
    # Text
    corpus: list[str] = shared.corpus([])
    corpus_fraction: float = shared.corpus_fraction()
    language: str = shared.language()
    perturb: str = option(
        "random",
        "how the text is changed; adversarial: at random, and later in training by a generator, for as many teacher "
        "queries",
        choices=PERTURBATIONS,
        brief="how the text is changed: {choices}",
        group="text",
    )
    pairs: str = option(
        "plain",
        "families that two texts are made in; wide: also English pairs that share few words and still mean nearly the "
        "same, from words and sentences that the embedded sentence encoder finds near each other",
        choices=PAIRS,
        brief="families of two texts: {choices}",
        group="text",
    )
    method: list[str] = option(
        [],
        "published methods beside the objective, separated by commas or spaces (`zskd ls` lists them)",
        brief="published methods beside the objective (`zskd ls`)",
        metavar="NAME",
        separator=",",
        group="methods",
    )
    pool_size: int | None = option(
        None,
        "inputs in the transfer pool, at most 40 for each sentence of the text; default 180000, for tasks with two "
        "texts 90000, times --corpus-fraction",
        low=64,
        high=limits.MOST_ROWS,
        group="text",
    )
    heldout: int | None = option(
        None,
        "held-out inputs, fewer if there is little text: one half selects checkpoints, the other reports agreement; "
        "default 4000, with --query-budget a tenth of it and at least 200",
        low=16,
        high=limits.MOST_ROWS,
        group="text",
    )
    pool_seed: int | None = shared.pool_seed()
    max_length: int | None = shared.max_length("the task's (`zskd ls`); for teacher and student alike", "text")
    # Labelling and selection
    query_budget: int | None = option(
        None,
        "most texts that the teacher is asked for, everything counted: the probe, held-out text, the transfer set, "
        "repeated calls; below 40000 no single tokens of the vocabulary are asked for",
        low=300,
        high=limits.MOST_ROWS,
        group="labels",
    )
    teacher_retries: int = option(
        3,
        "how often a callable teacher is asked again when it fails, after 1, 2, 4, ... seconds; with --query-budget, "
        "texts of a call that failed count again",
        low=0,
        high=100,
        group="labels",
    )
    precision: str = shared.precision("the teacher", group="labels")
    compile: bool = option(
        False,
        "compile the teacher with torch.compile before it labels (needs a C++ compiler and takes a minute, so it pays "
        "off on large transfer sets)",
        group="labels",
    )
    min_confidence: float = option(
        0.0,
        "drop inputs for which the teacher's largest probability is lower; 0 keeps all",
        low=0.0,
        high=1.0,
        group="labels",
    )
    # Training
    epochs: float | None = option(
        None,
        "passes over the labelled inputs; default 2, with --query-budget as many as make about 600 steps",
        brief="passes over the labelled inputs (default 2)",
        low=0.001,
        high=limits.MOST_EPOCHS,
        group="training",
    )
    batch_size: int = shared.batch_size()
    gradient_accumulation: int = option(
        1, "steps whose gradients are added up", low=1, high=limits.MOST_AT_ONCE, group="training"
    )
    learning_rate: float | None = option(
        None,
        "peak learning rate; default 2.0e-3 for a built student, 3.0e-4 for any other",
        low=0.0,
        group="training",
    )
    warmup: float = shared.warmup()
    weight_decay: float = shared.weight_decay()
    checkpoints: int = option(
        10,
        "checkpoints per run; the one with the lowest loss on held-out text is chosen",
        low=1,
        high=limits.MOST_CHECKPOINTS,
        group="training",
    )
    optimizer: str | None = option(
        None,
        "adamw for all weights, or muon for the matrices of the layers and adamw for the others, at one learning rate "
        "and weight decay; default: muon for a built student, else adamw",
        choices=OPTIMIZERS,
        group="training",
    )
    student_precision: str = option(
        "fp32",
        "precision in which the student computes while it is trained; its weights stay float32",
        choices=STUDENT_PRECISIONS,
        group="training",
    )
    logging_steps: int = option(
        50, "optimizer steps between two log lines", low=1, high=limits.MOST_STEPS, group="training"
    )
    report_to: str = option("none", "tracker that Trainer reports to (tensorboard, wandb, ...)", group="training")
    gold_labels: str | None = option(
        None,
        "labelled file in the task's columns; its rows and labels are added to the transfer set, and the run is not "
        "zero-shot",
        group="objective",
    )
    # Run
    seed: int = shared.seed()
    glue_dir: str | None = option(
        None,
        "GLUE folder (or the task's own) whose dev file is scored after training",
        brief="folder whose dev file is scored after training",
        group="run",
    )
    skip_bad_rows: bool = shared.skip_bad_rows("run")
    hub_eval: bool = option(False, "score the dev set of nyu-mll/glue from the Hub after training", group="run")
    output_dir: str | None = option(
        None, "run folder; default runs/TASK-SEED", brief="run folder (default runs/TASK-SEED)", group="run"
    )
    resume: bool = shared.resume("the run that the run folder holds")
    num_processes: int | None = shared.num_processes()
    cache_dir: str | None = shared.cache_dir()


@dataclass
class DistillConfig(
    MessagesOptions,
    FeaturePriorOptions,
    InconsistentOptions,
    BackwardPassOptions,
    AnchorsOptions,
    UncertaintyMixupOptions,
    AdversarialOptions,
    RolesOptions,
    SelectionOptions,
    ClassBalanceOptions,
    ObjectiveOptions,
    RunOptions,
):
    """Everything a distillation run depends on. Each field's help text says what it means.

    The options of every method are among them, so that a run's ``config.yaml`` is flat and complete. Limits are
    checked by `zskd.distill`, all together.

    Example:
        >>> config = DistillConfig(task="sst2", teacher="my-classifier", corpus=["my-text.txt"], epochs=1.0)
        >>> config.shaping, config.seed
        ('random', 0)
        >>> config.part(ClassBalanceOptions)
        ClassBalanceOptions(max_class_share=0.5)
    """

    @property
    def shaping(self) -> str:
        """How text is changed before training: ``none`` or ``random``. A generator works during training."""
        return "random" if self.perturb == "adversarial" else self.perturb

    @property
    def shaping_seed(self) -> int:
        """Seed of the inputs that the teacher labels: ``pool_seed``, or else ``seed``, which all other draws follow."""
        return self.seed if self.pool_seed is None else self.pool_seed

    def part(self, options: type[Part]) -> Part:
        """The values of one group of options, such as `AdversarialOptions`."""
        return options(**{item.name: getattr(self, item.name) for item in fields(options)})  # type: ignore[arg-type]


def optimizer_steps(config: Any, rows: int) -> int:
    """Optimizer steps of ``config.epochs`` passes over `rows` rows; the last batch of a pass may be smaller."""
    return math.ceil(config.epochs * math.ceil(rows / (config.batch_size * config.gradient_accumulation)))
