"""A frozen classifier whose classes are in the task's order: the teacher, or a student to be scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.labels import align_labels, label_names, parse_label_map
from zskd.models.loading import (
    count_parameters,
    find_model,
    load_adapted,
    load_tokenizer,
    load_weights,
    model_fingerprint,
    tokenizer_fingerprint,
)
from zskd.models.vocabulary import check_embeddings
from zskd.tasks.task import Task


@dataclass(frozen=True)
class Classifier:
    """A classifier for one task.

    Attributes:
        order: for each task label, the column of the model's logits that belongs to it.
        fingerprint: SHA-256 over the weights as used (an adapter already merged).
        tokenizer_fingerprint: SHA-256 over the tokenizer.
        revision: commit on the Hub, None for a folder or the embedded teacher.
        compiled: whether `torch.compile` has made machine code of the model, which then rounds otherwise.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    order: tuple[int, ...]
    parameters: int
    fingerprint: str
    tokenizer_fingerprint: str
    revision: str | None = None
    compiled: bool = False


def load_classifier(
    task: Task,
    name: str,
    cache: Path,
    *,
    revision: str | None = None,
    label_map: str | None = None,
    flag: str = "--teacher",
) -> Classifier:
    """Load a classifier and align its labels with the task's by name.

    Args:
        name: ``embedded``, ``default``, a folder (full model or adapter) or a Hub id.
        label_map: as `--label-map`; the task's own map is used for its default teacher.

    Raises:
        InputError: the teacher does not exist, does not load, or has other labels than the task.
    """
    mapping = parse_label_map(label_map) if label_map else None
    shown = f"{flag} {name}"
    if name == "default":
        name = task.teacher
        mapping = mapping or task.teacher_labels
    folder = None
    if name == "embedded":
        folder = task.adapter_path()
        if folder is None:
            raise InputError(f"{shown}: no adapter for {task.name} is packaged; train one with `zskd finetune`")
    model, tokenizer, commit = load_plain(str(folder or name), cache, revision, flag=flag, shown=shown)
    names = label_names({"id2label": model.config.id2label})
    if mapping and not label_map and not set(mapping) & set(names):
        mapping = None  # the default teacher already speaks the task's words
    order = align_labels(task, names, mapping, flag=shown)
    return Classifier(
        name=name,
        model=model.requires_grad_(False),
        tokenizer=tokenizer,
        order=tuple(order),
        parameters=count_parameters(model),
        fingerprint=model_fingerprint(model),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
        revision=commit,
    )


def load_plain(
    name: str, cache: Path, revision: str | None, *, flag: str, shown: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str | None]:
    """A classifier and its tokenizer as they are, whatever the task, with the commit of a model from the Hub.

    Args:
        name: a folder (full model or adapter) or a Hub id.
        shown: flag and value to quote in messages, where the value is not `name`.

    Raises:
        InputError: it does not exist or does not load, or model and tokenizer do not fit together.
    """
    commit, shown = None, shown or f"{flag} {name}"
    if (Path(name).expanduser() / "adapter_config.json").is_file():
        model, tokenizer = load_adapted(Path(name).expanduser(), cache, flag=flag)
    else:
        origin = find_model(name, revision, flag=flag)
        commit = origin.revision
        model, tokenizer = load_weights(origin, flag=flag), load_tokenizer(origin, flag=flag)
    check_embeddings(model, tokenizer, shown=shown)
    if tokenizer.pad_token_id is None:
        raise InputError(f"{shown}: its tokenizer has no padding token; set one, and pad_token_id in config.json")
    return model, tokenizer, commit


def pick_device() -> torch.device:
    """Where this process runs its models: its CUDA device, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
