"""Options that several verbs share, each written once. Every function returns a dataclass field."""

from __future__ import annotations

from typing import Any

from zskd.config import limits
from zskd.config.option import option

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TEACHER_OUTPUTS = ("logits", "probabilities", "labels")
MAX_SEED = 2**32 - 1  # the largest seed of NumPy's legacy generator
SKIP_BAD_ROWS = (
    "leave out rows of labelled files that have another number of columns or an unknown label, and say how many; "
    "default: the first such row is an error"
)
CACHE_DIR = "cache folder; default $ZSKD_CACHE or ~/.cache/zskd"


def task(more: str = "") -> Any:
    """``--task``."""
    return option(
        "",
        "task name (`zskd ls` lists them) or a task file (.yaml)" + more,
        brief="name of a task (`zskd ls` lists them) or a task file",
        group="models",
    )


def label_map(of: str) -> Any:
    """``--label-map``, for a model whose labels have names of its own."""
    return option(
        None,
        f"{of} label names in the task's words, for example LABEL_0=negative,LABEL_1=positive",
        brief=f"{of} label names in the task's words, A=B,C=D",
        any_length=True,
        group="models",
    )


def teacher_outputs() -> Any:
    """``--teacher-outputs``."""
    return option(
        "logits",
        "what a callable teacher returns: logits or probabilities per class, or labels only, as class numbers or names "
        "(0.999 for that class, the others share the rest; the default objective is then hard-label)",
        choices=TEACHER_OUTPUTS,
        group="models",
    )


def corpus(default: list[str], more: str = "") -> Any:
    """``--corpus``."""
    return option(
        default,
        "out-of-domain text: files (.txt .txt.gz .jsonl .parquet), folders, Hub data sets "
        "(ID or ID:CONFIG), or `embedded` (documentation prose on this machine)" + more,
        brief="text files, folders, Hub data sets or `embedded`",
        metavar="SOURCE",
        group="text",
    )


def corpus_fraction() -> Any:
    """``--corpus-fraction``."""
    return option(1.0, "share of the source documents to use, chosen by their hash", low=0.0001, high=1.0, group="text")


def language(more: str = "") -> Any:
    """``--language``; the value is a code that `zskd.text.language.is_english` understands, or ``auto``."""
    return option(
        "auto",
        "language of the text: en, other or any ISO code (de, pt-BR); all but English are shaped alike, without "
        "English negation, opposites and beginnings of questions; auto: English or not, guessed from the text" + more,
        pattern=r"auto|other|[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*",
        expected="auto, en, other or an ISO code such as de (YAML takes an unquoted no for False)",
        group="text",
    )


def max_length(default: str, group: str = "data") -> Any:
    """``--max-length`` of a training or a labelling; `default` names where the default comes from."""
    least, most = limits.LENGTHS
    return option(None, f"tokens; longer inputs are cut; default: {default}", low=least, high=most, group=group)


def reading_length() -> Any:
    """``--max-length`` of a finished model, which may read more than a training asks for."""
    return option(
        None,
        "tokens; longer inputs are cut; default: as many as the model reads",
        low=8,
        high=limits.MOST_ROWS,
        group="data",
    )


def precision(of: str, default: str = "auto", group: str = "data") -> Any:
    """``--precision`` of a model."""
    return option(
        default,
        f"precision of {of}; auto: bf16 if the device computes it natively, else fp16 on a GPU and fp32 on a CPU, "
        "where fp16 is mostly slower",
        choices=PRECISIONS,
        group=group,
    )


def epochs(default: float, over: str) -> Any:
    """``--epochs``."""
    text = f"passes over the {over}"
    brief = text + " (default {default:g})"
    return option(default, text, brief=brief, low=0.001, high=limits.MOST_EPOCHS, group="training")


def warmup() -> Any:
    """``--warmup``."""
    return option(0.06, "share of the steps in which the learning rate rises", low=0.0, high=0.99, group="training")


def weight_decay() -> Any:
    """``--weight-decay``."""
    return option(0.01, "decoupled weight decay", low=0.0, high=100.0, group="training")


def seed(of: str = "everything random") -> Any:
    """``--seed``."""
    text = f"seed of {of}"
    return option(0, text, brief=text + " (default {default})", low=0, high=MAX_SEED, group="run")


def resume(what: str) -> Any:
    """``--resume``."""
    return option(False, f"continue {what}", brief=f"continue {what}", group="run")


def num_processes() -> Any:
    """``--num-processes``; None to take part with as many as a launcher has started."""
    return option(
        None,
        "number of processes: they are started on this machine, or, under torchrun or accelerate, expected",
        brief="processes on this machine",
        low=1,
        high=limits.MOST_PROCESSES,
        group="run",
    )


def compression(small: str, large: str) -> Any:
    """``--compression`` of what is made `small` from something `large`."""
    return option(
        30.0,
        f"{small} has at most 1/COMPRESSION of {large} parameters",
        brief="at most 1/X of " + large + " parameters (default {default:g})",
        low=1.5,
        high=100_000.0,
        group="models",
    )


def batch_size() -> Any:
    """``--batch-size`` of a distillation."""
    return option(
        64,
        "inputs per step, over all processes",
        brief="inputs per step, over all processes (default {default})",
        low=1,
        high=limits.MOST_AT_ONCE,
        group="training",
    )


def pool_seed() -> Any:
    """``--pool-seed``; None for that of the run."""
    return option(
        None,
        "seed of the inputs made of the text, which the teacher labels; default: that of the run. Runs with one pool "
        "seed and other seeds ask the teacher once and share its labels",
        low=0,
        high=MAX_SEED,
        group="text",
    )


def as_json(text: str = "print one JSON object instead of a table") -> Any:
    """``--json``."""
    return option(False, text, group="run")


def skip_bad_rows(group: str = "data") -> Any:
    """``--skip-bad-rows``."""
    return option(False, SKIP_BAD_ROWS, group=group)


def cache_dir() -> Any:
    """``--cache-dir``."""
    return option(None, CACHE_DIR, group="run")
