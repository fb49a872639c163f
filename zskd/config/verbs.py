"""The options of all verbs but `distill`: one dataclass field = one flag = one YAML key.

This module imports neither torch nor transformers, so that ``zskd --help`` and the checks stay fast.
"""

from __future__ import annotations

from dataclasses import dataclass

from zskd.config import limits, shared
from zskd.config.option import option


@dataclass
class FinetuneConfig:
    """Options of `zskd finetune`: train a teacher from labelled rows in GLUE's layout."""

    task: str = shared.task()
    base: str = option("embedded", "backbone: `embedded`, `embedded-base`, a Hub id or a folder", group="models")
    adapter: str | None = option(
        None, "folder of an adapter of the same base and rank to start from, for example MNLI's for RTE", group="models"
    )
    full: bool = option(False, "train all weights instead of a LoRA adapter", group="models")
    rank: int = option(16, "rank of the LoRA matrices", low=1, high=4_096, group="models")
    last_layers: int | None = option(
        None, "adapt only so many layers, the last ones; default: all", low=1, high=1_024, group="models"
    )
    undistillable: str | None = option(
        None,
        "make a teacher that spoils its students: a usual teacher of the task (`embedded`, a folder, a Hub id), whose "
        "answers the new one contradicts beside its class",
        group="models",
    )
    undistillable_weight: float = option(
        0.04, "with --undistillable: weight of the contradiction", low=0.0, high=limits.HEAVIEST, group="models"
    )
    undistillable_temperature: float = option(
        4.0, "with --undistillable: temperature of both answers", low=0.01, high=limits.HOTTEST, group="models"
    )
    glue_dir: str | None = option(
        None, "GLUE folder (or the task's own) that holds train.tsv; default: nyu-mll/glue on the Hub", group="data"
    )
    selection_rows: int = option(
        600, "training rows kept aside to choose the checkpoint", low=16, high=limits.MOST_ROWS, group="data"
    )
    max_rows: int | None = option(
        None, "use at most this many training rows", low=32, high=limits.MOST_ROWS, group="data"
    )
    skip_bad_rows: bool = shared.skip_bad_rows()
    max_length: int | None = shared.max_length("the task's")
    epochs: float = shared.epochs(3.0, "training rows")
    batch_size: int = option(32, "rows per step", low=1, high=limits.MOST_AT_ONCE, group="training")
    learning_rate: float = option(
        7.0e-4, "peak learning rate (full weights want about 3.0e-5)", low=0.0, group="training"
    )
    warmup: float = shared.warmup()
    weight_decay: float = shared.weight_decay()
    checkpoints: int = option(
        12,
        "evaluations per run; the best one on the selection rows, or a mean of the last ones, is kept",
        low=1,
        high=limits.MOST_CHECKPOINTS,
        group="training",
    )
    precision: str = shared.precision("training, not of scores (fp16 on a GPU only)", group="training")
    seed: int = shared.seed()
    output_dir: str | None = option(None, "folder of the trained teacher; default runs/teacher-TASK", group="run")
    resume: bool = shared.resume("the unfinished training of the output folder")
    cache_dir: str | None = shared.cache_dir()


@dataclass
class PredictConfig:
    """Options of `zskd predict`: label and probabilities for every line of a file or of standard input."""

    model: str = option("", "run folder, model folder or Hub id of the classifier", group="models")
    task: str | None = option(
        None,
        "task whose labels and number of texts the model must have; without it the model's own labels are used",
        group="models",
    )
    label_map: str | None = shared.label_map("with --task: the model's")
    min_agreement: float | None = option(
        None,
        "with a run: answer only where the student is so sure that it agrees with the teacher on at least this share "
        "of held-out text, with 95 % certainty; other lines are deferred",
        low=0.5,
        high=0.9999,
        group="models",
    )
    teacher: str | None = option(
        None,
        "with --min-agreement: who answers deferred lines; a folder, a Hub id, `embedded` or module:function",
        group="models",
    )
    input: str = option(
        "-", "file with one input a line, two texts separated by a tab; -: standard input", group="data"
    )
    output: str | None = option(None, "file for the answers; default: standard output", group="data")
    batch_size: int = option(
        32,
        "lines that are answered together; fewer if no more have arrived",
        low=1,
        high=limits.MOST_AT_ONCE,
        group="data",
    )
    max_length: int | None = shared.reading_length()
    precision: str = shared.precision("the model", "fp32")
    json: bool = shared.as_json("one JSON object a line instead of a table with tabs")
    cache_dir: str | None = shared.cache_dir()


@dataclass
class EvaluateConfig:
    """Options of `zskd evaluate`: score a saved classifier on a labelled file."""

    model: str = option("", "run folder, model folder or Hub id of the classifier", group="models")
    task: str = shared.task("; default: the run's")
    label_map: str | None = shared.label_map("the model's")
    teacher_outputs: str = shared.teacher_outputs()
    data: str = option("", "labelled file in GLUE's columns, or `probe`", group="data")
    skip_bad_rows: bool = shared.skip_bad_rows()
    max_length: int | None = shared.reading_length()
    precision: str = shared.precision("the model", "fp32")
    json: bool = shared.as_json()
    cache_dir: str | None = shared.cache_dir()


@dataclass
class DiagnoseConfig:
    """Options of `zskd diagnose`: look at a teacher's answers on a transfer set."""

    model: str = option(
        "",
        "a run folder, or a teacher as in `distill`: a folder, a Hub id, `embedded`, `default` or module:function",
        group="models",
        positional="RUN|TEACHER",
    )
    task: str = shared.task("; default: the run's")
    teacher: str | None = option(
        None,
        "beside a run whose teacher is module:function: that name, so that the code is imported",
        group="models",
    )
    label_map: str | None = shared.label_map("the teacher's")
    teacher_outputs: str = shared.teacher_outputs()
    corpus: list[str] = shared.corpus(["embedded"], "; default: the run's, else `embedded`")
    language: str = shared.language("; default: the run's, else auto")
    texts: int = option(4_096, "inputs made of the text", low=64, high=limits.MOST_ROWS, group="text")
    max_length: int | None = shared.max_length("the run's or the task's", "text")
    data: str | None = option(
        None, "labelled file in the task's columns, for the calibration; default: the task's probe", group="data"
    )
    skip_bad_rows: bool = shared.skip_bad_rows()
    precision: str = shared.precision("the teacher", group="run")
    seed: int = shared.seed("the inputs")
    json: bool = shared.as_json("print one JSON object instead of text")
    cache_dir: str | None = shared.cache_dir()
