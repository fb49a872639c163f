"""The options of all verbs but `distill`: one dataclass field = one flag = one YAML key.

This module imports neither torch nor transformers, so that ``zskd --help`` and the checks stay quick.
"""

from __future__ import annotations

from dataclasses import dataclass

from zskd.config.option import MAX_SEED, PRECISIONS, TEACHER_OUTPUTS, option


@dataclass
class FinetuneConfig:
    """Options of `zskd finetune`: train a teacher from labelled rows in GLUE's layout."""

    task: str = option("", "task name (`zskd ls` lists them) or a task file (.yaml)", group="models")
    base: str = option("embedded", "backbone: `embedded`, a Hub id or a folder", group="models")
    adapter: str | None = option(
        None, "folder of an adapter of the same base and rank to start from, for example MNLI's for RTE", group="models"
    )
    full: bool = option(False, "train all weights instead of a LoRA adapter", group="models")
    rank: int = option(16, "rank of the LoRA matrices", low=1, group="models")
    glue_dir: str | None = option(
        None, "GLUE folder (or the task's own) that holds train.tsv; default: nyu-mll/glue on the Hub", group="data"
    )
    selection_rows: int = option(600, "training rows kept aside to choose the checkpoint", low=16, group="data")
    max_rows: int | None = option(None, "use at most this many training rows", low=32, group="data")
    max_length: int | None = option(
        None, "tokens; longer inputs are cut; default: the task's", low=8, high=512, group="data"
    )
    epochs: float = option(3.0, "passes over the training rows", low=0.001, group="training")
    batch_size: int = option(32, "rows per step", low=1, group="training")
    learning_rate: float = option(
        7.0e-4, "peak learning rate (full weights want about 3.0e-5)", low=0.0, group="training"
    )
    warmup: float = option(
        0.06, "share of the steps in which the learning rate rises", low=0.0, high=1.0, group="training"
    )
    weight_decay: float = option(0.01, "decoupled weight decay", low=0.0, group="training")
    checkpoints: int = option(
        12,
        "evaluations per run; the best on the kept rows, or a mean of the last ones, wins",
        low=1,
        group="training",
    )
    precision: str = option(
        "auto", "precision of training, as in `distill`; fp16 on a GPU only", choices=PRECISIONS, group="training"
    )
    seed: int = option(0, "seed of everything random", low=0, high=MAX_SEED, group="run")
    output_dir: str | None = option(None, "folder of the trained teacher; default runs/teacher-TASK", group="run")
    cache_dir: str | None = option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")


@dataclass
class PredictConfig:
    """Options of `zskd predict`: label and probabilities for every line of a file or of standard input."""

    model: str = option("", "run folder, model folder or Hub id of the classifier", group="models")
    task: str | None = option(
        None,
        "task whose labels and number of texts the model is held to; without it the model's own labels count",
        group="models",
    )
    label_map: str | None = option(
        None, "with --task: the model's label names in the task's words, as in `distill`", group="models"
    )
    input: str = option(
        "-", "file with one input a line, two texts separated by a tab; -: standard input", group="data"
    )
    output: str | None = option(None, "file for the answers; default: standard output", group="data")
    batch_size: int = option(
        32, "lines that are answered together; fewer where no more have arrived", low=1, group="data"
    )
    max_length: int | None = option(
        None,
        "tokens; longer inputs are cut; default: the task's, the run's or the model's",
        low=8,
        high=512,
        group="data",
    )
    precision: str = option("fp32", "precision of the model", choices=PRECISIONS, group="data")
    json: bool = option(False, "one JSON object a line instead of a table with tabs", group="run")
    cache_dir: str | None = option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")


@dataclass
class EvaluateConfig:
    """Options of `zskd evaluate`: score a saved classifier on a labelled file."""

    model: str = option("", "folder or Hub id of the classifier", group="models")
    task: str = option("", "task name (`zskd ls` lists them) or a task file (.yaml)", group="models")
    label_map: str | None = option(None, "the model's label names in the task's words, as in `distill`", group="models")
    teacher_outputs: str = option(
        "logits", "what a callable returns, as in `distill`", choices=TEACHER_OUTPUTS, group="models"
    )
    data: str = option("", "labelled file in GLUE's columns, or `probe`", group="data")
    max_length: int | None = option(
        None, "tokens; longer inputs are cut; default: the task's", low=8, high=512, group="data"
    )
    precision: str = option("fp32", "precision of the model", choices=PRECISIONS, group="data")
    json: bool = option(False, "print one JSON object instead of a table", group="run")
    cache_dir: str | None = option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")


@dataclass
class DiagnoseConfig:
    """Options of `zskd diagnose`: look at a teacher's answers on a transfer set."""

    model: str = option(
        "",
        "a run folder, or a teacher as in `distill`: a folder, a Hub id, `embedded`, `default` or module:function",
        group="models",
        positional="RUN|TEACHER",
    )
    task: str = option(
        "", "task name (`zskd ls` lists them) or a task file (.yaml); default: the run's", group="models"
    )
    label_map: str | None = option(
        None, "the teacher's label names in the task's words, as in `distill`", group="models"
    )
    teacher_outputs: str = option(
        "logits", "what a callable teacher returns, as in `distill`", choices=TEACHER_OUTPUTS, group="models"
    )
    corpus: list[str] = option(
        ["embedded"], "out-of-domain text, as in `distill`; default: the run's, else `embedded`", group="text"
    )
    texts: int = option(4_096, "inputs made of the text", low=64, group="text")
    max_length: int | None = option(
        None, "tokens; longer inputs are cut; default: the run's or the task's", low=8, high=512, group="text"
    )
    data: str | None = option(
        None, "labelled file in the task's columns, for the calibration; default: the task's probe", group="data"
    )
    precision: str = option("auto", "precision of the teacher, as in `distill`", choices=PRECISIONS, group="run")
    seed: int = option(0, "seed of the inputs", low=0, high=MAX_SEED, group="run")
    json: bool = option(False, "print one JSON object instead of text", group="run")
    cache_dir: str | None = option(None, "cache folder; default $ZSKD_CACHE or ~/.cache/zskd", group="run")
