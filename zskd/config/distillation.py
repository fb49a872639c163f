"""The options of `zskd distill`: one dataclass field = one flag = one YAML key. Other verbs: `zskd.config.verbs`.

This module imports neither torch nor transformers, so that ``zskd --help`` and the checks stay quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PERTURBATIONS = ("none", "random", "adversarial")
ADVERSARIES = ("gradient", "candidates")
OBJECTIVES = ("kd", "label-smoothing", "kd-pt", "kd-sim", "kd-topk", "kd-pt+sim", "logit-mse", "hard-label")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
STUDENT_PRECISIONS = ("fp32", "bf16")
POOL_SIZES = {1: 180_000, 2: 90_000}  # by number of input texts; a pair costs more tokens
MAX_SEED = 2**32 - 1  # NumPy's legacy generator takes no larger one


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field: its help text, its group, and the limits that `zskd.checks` holds it to."""
    metadata["help"] = help
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DistillConfig:
    """Everything a distillation run depends on. Each field's help text says what it means."""

    # What is distilled into what
    task: str = option("", "task name (`zskd ls` lists them) or a task file (.yaml)", group="models")
    teacher: str = option(
        "default",
        "Hub id or folder of a fine-tuned classifier; `embedded`: the packaged adapter on its backbone; "
        "`default`: the task's teacher on the Hub",
        group="models",
    )
    teacher_revision: str | None = option(None, "commit or tag of a Hub teacher", group="models")
    label_map: str | None = option(
        None,
        "the teacher's label names in the task's words, for example LABEL_0=negative,LABEL_1=positive",
        group="models",
    )
    student: str = option(
        "build",
        "Hub id or folder the student starts from; `build`: made from the teacher under --compression; "
        "`default`: the task's student on the Hub",
        group="models",
    )
    student_revision: str | None = option(None, "commit or tag of a Hub student", group="models")
    compression: float = option(
        30.0, "a built student has at most 1/COMPRESSION of the teacher's parameters", low=1.5, group="models"
    )
    # Text
    corpus: list[str] = option(
        [],
        "out-of-domain text: files (.txt .txt.gz .jsonl .parquet), folders, Hub data sets "
        "(ID or ID:CONFIG), or `embedded` (documentation prose already on this machine)",
        group="text",
    )
    corpus_fraction: float = option(1.0, "share of the source documents to use", low=0.0001, high=1.0, group="text")
    perturb: str = option(
        "random",
        "how the text is changed; adversarial: at random, and later in training by a generator, for as many teacher "
        "queries",
        choices=PERTURBATIONS,
        group="text",
    )
    pool_size: int | None = option(
        None,
        "inputs in the transfer pool, at most 40 for each sentence of the text; default 180000, for tasks with two "
        "texts 90000",
        low=64,
        group="text",
    )
    heldout: int = option(
        4_000,
        "held-out texts: one half selects checkpoints, the other reports agreement",
        low=16,
        group="text",
    )
    max_length: int | None = option(
        None,
        "tokens; longer inputs are cut, for teacher and student; default: the task's (`zskd ls`)",
        low=8,
        high=512,
        group="text",
    )
    # Labelling and selection
    precision: str = option(
        "auto",
        "precision of the teacher; auto: bf16 where the device has it natively, else fp16 on a GPU and fp32 on a CPU, "
        "where fp16 is mostly slower",
        choices=PRECISIONS,
        group="labels",
    )
    compile: bool = option(
        False,
        "turn the teacher into machine code with torch.compile before it labels (needs a C++ compiler; takes a minute, "
        "which pays on large transfer sets)",
        group="labels",
    )
    min_confidence: float = option(
        0.0,
        "drop inputs on which the teacher's largest probability is lower; 0 keeps all",
        low=0.0,
        high=1.0,
        group="labels",
    )
    max_class_share: float = option(
        0.5,
        "where the teacher predicts a class for more than this share of the transfer set, repeat inputs of the others; "
        "1 repeats none",
        low=0.01,
        high=1.0,
        group="labels",
    )
    # Training
    temperature: float = option(
        1.0, "temperature of the distillation loss: kd, kd-pt, kd-topk and kd-pt+sim", low=0.01, group="training"
    )
    epochs: float = option(2.0, "passes over the labelled inputs", low=0.001, group="training")
    batch_size: int = option(64, "inputs per step, over all processes", low=1, group="training")
    gradient_accumulation: int = option(1, "steps whose gradients are added up", low=1, group="training")
    learning_rate: float | None = option(
        None,
        "peak learning rate; default 2.0e-3 for a built student, 3.0e-4 for any other",
        low=0.0,
        group="training",
    )
    warmup: float = option(
        0.06, "share of the steps in which the learning rate rises", low=0.0, high=1.0, group="training"
    )
    weight_decay: float = option(0.01, "decoupled weight decay", low=0.0, group="training")
    checkpoints: int = option(
        10, "checkpoints per run; the one with the lowest loss on held-out text wins", low=1, group="training"
    )
    student_precision: str = option(
        "fp32",
        "precision in which the student computes while it is trained; its weights stay float32",
        choices=STUDENT_PRECISIONS,
        group="training",
    )
    logging_steps: int = option(50, "optimizer steps between two log lines", low=1, group="training")
    report_to: str = option("none", "tracker that Trainer reports to (tensorboard, wandb, ...)", group="training")
    # What is learned of the teacher's logits (see `zskd.training.objective`)
    objective: str | None = option(
        None,
        "what the student learns of the teacher's output: all of it (kd), smoothed classes (label-smoothing), the "
        "confidence alone (kd-pt), which classes are alike (kd-sim), the largest probabilities (kd-topk), kd-pt and "
        "kd-sim together, the logits, or the classes; default: kd, but logit-mse for a built student of one text and "
        "two classes",
        choices=OBJECTIVES,
        group="objective",
    )
    top_k: int | None = option(
        None, "probabilities that kd-topk keeps; default: half of the classes", low=1, group="objective"
    )
    smoothing: float = option(
        0.1, "share of the target that label-smoothing spreads evenly", low=0.0, high=1.0, group="objective"
    )
    similarity_power: float = option(
        0.5, "power of the cosines between the teacher's classes in kd-sim", low=0.0, group="objective"
    )
    similarity_temperature: float = option(
        0.3, "kd-sim's own temperature of these cosines", low=0.01, group="objective"
    )
    pt_weight: float = option(0.5, "share of kd-pt in kd-pt+sim", low=0.0, high=1.0, group="objective")
    gold_labels: str | None = option(
        None,
        "labelled file in the task's columns whose rows join the transfer set with their labels; the run is then not "
        "zero-shot",
        group="objective",
    )
    gold_weight: float = option(
        0.5,
        "share of the cross-entropy with the gold label in the loss of a row that has one",
        low=0.0,
        high=1.0,
        group="objective",
    )
    # With --perturb adversarial; shares are of a batch, steps are optimizer steps
    adversary: str = option(
        "gradient",
        "gradient: the generator learns through teacher and student, which share one vocabulary; candidates: from the "
        "ranks of several rewritings, for any teacher",
        choices=ADVERSARIES,
        group="adversary",
    )
    row_candidates: int = option(
        4, "rewritings of a row that the teacher judges, with --adversary candidates", low=2, group="adversary"
    )
    generator: str = option(
        "build",
        "masked language model that writes adversarial text: a Hub id or folder; `build`: made of the teacher's first "
        "layers",
        group="adversary",
    )
    generator_revision: str | None = option(None, "commit or tag of a Hub generator", group="adversary")
    generator_warmup: int = option(
        150, "steps of masked-LM training on the corpus before anything else; cached", low=0, group="adversary"
    )
    generator_learning_rate: float = option(1.0e-4, "learning rate of the generator", low=0.0, group="adversary")
    generator_clip: float = option(1.0, "largest norm of the generator's gradient", low=0.0, group="adversary")
    adversarial_start: float = option(
        0.3, "share of the steps after which batches have adversarial rows", low=0.0, high=1.0, group="adversary"
    )
    generator_steps: int = option(
        10, "steps of a round in which the generator learns, once per step", low=0, group="adversary"
    )
    student_steps: int = option(50, "steps of a round; the student learns in each", low=1, group="adversary")
    fresh_share: float = option(
        0.125, "share of a batch that the generator just wrote", low=0.001, high=1.0, group="adversary"
    )
    replay_share: float = option(
        0.25, "share of a batch that the generator wrote earlier", low=0.0, high=1.0, group="adversary"
    )
    replay_size: int = option(20_000, "rows kept for replay; the oldest leave", low=1, group="adversary")
    hard_share: float = option(
        0.25,
        "the generator rewrites rows out of this share of the transfer rows, those on which student and teacher differ "
        "most; 1: any row",
        low=0.01,
        high=1.0,
        group="adversary",
    )
    mask_rate: float = option(
        0.3,
        "share of a text's tokens that the generator rewrites; of a pair, at most so many of one text",
        low=0.01,
        high=1.0,
        group="adversary",
    )
    token_candidates: int = option(
        64, "the generator's likeliest tokens it chooses from; 0: the whole vocabulary", low=0, group="adversary"
    )
    sampling_temperature: float = option(
        1.0, "the generator's logits are divided by it before a token is drawn", low=0.01, group="adversary"
    )
    gumbel_start: float = option(1.0, "temperature of the Gumbel-softmax at first", low=0.01, group="adversary")
    gumbel_end: float = option(0.5, "temperature of the Gumbel-softmax at the end", low=0.01, group="adversary")
    anchor_weight: float = option(
        0.1, "weight of the masked-LM loss that keeps the generator near the corpus", low=0.0, group="adversary"
    )
    confidence_weight: float = option(
        1.0, "weight of the penalty on rows that the teacher is unsure of", low=0.0, group="adversary"
    )
    balance_weight: float = option(
        1.0, "weight of the penalty on an uneven mean prediction of the teacher", low=0.0, group="adversary"
    )
    diversity_weight: float = option(0.1, "weight of the penalty on repeated tokens", low=0.0, group="adversary")
    # Run
    seed: int = option(0, "seed of everything random", low=0, high=MAX_SEED, group="run")
    glue_dir: str | None = option(
        None, "GLUE folder (or the task's own) whose dev file is scored after training", group="run"
    )
    hub_eval: bool = option(False, "score the dev set of nyu-mll/glue from the Hub after training", group="run")
    output_dir: str | None = option(None, "run folder; default runs/TASK-SEED", group="run")
    resume: bool = option(False, "continue the run that the run folder holds", group="run")
    num_processes: int | None = option(
        None,
        "processes: that many are started on this machine, or, under torchrun or accelerate, have to be there",
        low=1,
        group="run",
    )
    cache_dir: str | None = option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")
