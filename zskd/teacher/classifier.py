"""A teacher with weights, or a student that is scored: a classifier whose labels are matched by name."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import BatchEncoding, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models import output_layer
from zskd.models.backbones import PACKAGED
from zskd.models.batching import token_budget
from zskd.models.bulk import Meter, first_states, infer
from zskd.models.encoding import encode_texts
from zskd.models.fast_layers import fast_copy, is_fast
from zskd.models.frozen import compiled, with_half_weights
from zskd.models.labels import (
    align_labels,
    check_single_label,
    label_names,
    parse_label_map,
    recorded_length,
    recorded_texts,
)
from zskd.models.loading import (
    count_parameters,
    find_model,
    load_adapted,
    load_weights,
    model_fingerprint,
)
from zskd.models.padding import check_answers, fit_padding
from zskd.models.positions import length_problem, reading_length
from zskd.models.tokenizers import drop_untaken, guards, load_tokenizer, omits_segments, tokenizer_fingerprint
from zskd.models.vocabulary import check_embeddings
from zskd.system.paths import expanded, is_file
from zskd.system.precision import HALVES, check_finite, pick_precision
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher, Texts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classifier(Teacher):
    """A classifier with weights; see `zskd.teacher.base.Teacher`.

    Attributes:
        order: for each task label, the column of the model's logits that belongs to it.
        fingerprint: SHA-256 over the weights in use (after merging an adapter).
        tokenizer_fingerprint: SHA-256 over the tokenizer.
        revision: commit on the Hub, None for a folder or the embedded teacher.
        compiled: whether the model is compiled by `torch.compile`; its logits then differ by rounding.
        guards: what was put right in the tokenizer, see `zskd.models.tokenizers.guards`.
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
    guards: tuple[str, ...] = ()

    @property
    def device_type(self) -> str:
        """Type of the model's device."""
        return self.model.device.type

    @cached_property
    def _config(self) -> dict[str, Any]:
        return dict(self.model.config.to_dict())

    @property
    def reading_length(self) -> int:
        """See `zskd.models.positions.reading_length`."""
        return reading_length(self._config, self.tokenizer.model_max_length)

    @property
    def trained_length(self) -> int | None:
        """See `zskd.models.labels.recorded_length`."""
        return recorded_length(self._config, self.name)

    def length_problem(self, max_length: int, shown: str) -> str | None:
        """See `zskd.models.positions.length_problem`."""
        return length_problem(self._config, self.tokenizer.model_max_length, shown, max_length)

    def _longest(self, max_length: int) -> int:
        return min(max_length, self.tokenizer.model_max_length)

    def cache_key(self, precision: str, max_length: int) -> list[Any]:
        """Weights, tokenizer, precision, maximum length, tokens per batch, how the model computes, and guards.

        What was labelled before a guard put the ids right is not served again; most teachers need none.

        Raises:
            InputError: the classifier is not frozen. It then has no fingerprint, and the cache could return the answers
                of another model.
        """
        if not self.fingerprint:
            raise InputError(f"{self.name}: expected a classifier with a fingerprint; make it with frozen=True")
        return [
            self.fingerprint,
            self.tokenizer_fingerprint,
            precision,
            self._longest(max_length),
            token_budget(self.device_type),
            *(["compiled"] if self.compiled else []),
            *(["fast layers"] if is_fast(self.model) else []),
            *([{"guards": list(self.guards)}] if self.guards else []),
        ]

    def precision(self, asked: str) -> str:
        """See `zskd.system.precision.pick_precision`."""
        return pick_precision(asked, self.model.device)

    def for_inference(self, precision: str, compile: bool = False) -> Classifier:
        """A faster copy that shares most weights. On a CPU, or compiled, its logits differ by rounding."""
        model = self.model
        if precision in HALVES:
            model = with_half_weights(model, HALVES[precision])
        # Padded on the left, a text's first token, of which `own_states` has the states, is not the first of its row.
        model = fast_copy(model, first_token=self.tokenizer.padding_side == "right")
        return replace(self, model=compiled(model) if compile else model, compiled=compile)

    def prepare(self, texts: Texts, max_length: int) -> BatchEncoding:
        """Token ids without padding.

        Raises:
            InputError: see `check_length`.
        """
        self.check_length(max_length)
        return encode_texts(self.tokenizer, texts, max_length)

    def own_logits(self, prepared: BatchEncoding, precision: str, meter: Meter | None = None) -> np.ndarray:
        """See `zskd.models.bulk.infer`; the caller checks for NaN and infinity."""
        return infer(self.model, self.tokenizer, prepared, precision, meter)

    def own_states(self, prepared: BatchEncoding, precision: str, meter: Meter | None = None) -> np.ndarray:
        """See `states`; takes token ids without padding.

        Raises:
            InputError: some states are not finite, or exceed the range of float16.
        """
        states = first_states(self.model, self.tokenizer, prepared, precision, meter)
        check_finite(states, self.name, precision)
        largest = float(np.abs(states).max(initial=0.0))
        if largest > float(np.finfo(np.float16).max):
            raise InputError(
                f"states: expected pooled states of {self.name} up to 65,504, the limit of float16, found {largest:.3g}"
            )
        return states.astype(np.float16)

    def output_weights(self) -> torch.Tensor:
        """`zskd.models.output_layer.output_weights` in the task's class order."""
        return output_layer.output_weights(self.model, shown=f"--teacher {self.name}")[list(self.order)]

    def require_weights(self, what: str) -> Classifier:
        """Itself."""
        return self


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
        name: ``embedded``, ``embedded-base``, ``default``, a folder (full model or adapter) or a Hub id.
        label_map: as `--label-map`; the task's default teacher uses the task's own map.

    Raises:
        InputError: the teacher does not exist, does not load, or its labels are not the task's.
    """
    mapping = parse_label_map(label_map) if label_map else None
    shown = f"{flag} {name}"
    if name == "default":
        name = task.teacher
        mapping = mapping or task.teacher_labels
    folder = None
    if name in PACKAGED:
        folder = task.adapter_path(name)
        if folder is None:
            raise InputError(f"{shown}: {task.no_adapter(name)}")
    model, tokenizer, commit = load_plain(str(folder or name), cache, revision, flag=flag, shown=shown)
    names = label_names(model.config.to_dict(), shown)
    if mapping and not label_map and not set(mapping) & set(names):
        mapping = None  # the default teacher already uses the task's label names
    return classifier_from(task, model, tokenizer, name=name, label_map=mapping, revision=commit, shown=shown)


def classifier_from(
    task: Task | None,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    label_map: dict[str, str] | None = None,
    revision: str | None = None,
    frozen: bool = True,
    shown: str | None = None,
) -> Classifier:
    """Make a classifier of a model and a tokenizer in memory. The model is not copied and stays on its device.

    Args:
        task: the task whose labels the model's labels are aligned with, by name; None to keep the model's labels.
        label_map: model label name -> task label name; names that are not in it stay.
        revision: commit on the Hub.
        frozen: freeze all weights and hash them, so that answers can be cached. False for a student that is only
            scored: it may be trained further, and its fingerprints are empty.
        shown: flag and value to quote in messages; default: `name`.

    Raises:
        InputError: the model's labels are not the task's, or its outputs mean something else than one label of several.
    """
    config, shown = model.config.to_dict(), shown or name
    check_single_label(config, shown)
    names = label_names(config, shown)
    order = range(len(names)) if task is None else align_labels(task, names, label_map, flag=shown)
    texts = recorded_texts(config, shown) if task is None else len(task.text_columns)
    if texts == 2 and omits_segments(model, tokenizer):
        logger.warning(
            "%s: it is read without segments (token_type_ids), as transformers %s reads it, though it has %d and the "
            "tokenizer's template tells two texts apart. List what it was trained with as model_input_names in "
            "tokenizer_config.json",
            shown,
            transformers.__version__,
            config["type_vocab_size"],
        )
    return Classifier(
        name=name,
        model=(model.requires_grad_(False) if frozen else model).eval(),
        tokenizer=tokenizer,
        order=tuple(order),
        parameters=count_parameters(model),
        fingerprint=model_fingerprint(model) if frozen else "",
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer) if frozen else "",
        revision=revision,
        guards=guards(tokenizer, None if task is None else texts),
    )


def load_plain(
    name: str, cache: Path, revision: str | None, *, flag: str, shown: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str | None]:
    """Load a classifier and its tokenizer without regard to a task; also returns the commit of a Hub model.

    Args:
        name: a folder (full model or adapter) or a Hub id.
        shown: flag and value to quote in messages; default: the flag and `name`.

    Raises:
        InputError: the model does not exist or does not load, or model and tokenizer do not match.
    """
    commit, shown = None, shown or f"{flag} {name}"
    if is_file(expanded(name) / "adapter_config.json"):
        model, tokenizer = load_adapted(expanded(name), cache, flag=flag)
    else:
        origin = find_model(name, revision, flag=flag)
        commit = origin.revision
        model, tokenizer = load_weights(origin, flag=flag), load_tokenizer(origin, flag=flag)
    check_fit(model, tokenizer, shown=shown)
    return model, tokenizer, commit


def check_fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, shown: str) -> None:
    """Let a model read batches made by a tokenizer as it reads each text: see `zskd.models.padding.fit_padding`.

    Raises:
        InputError: the tokenizer has ids that the embedding table lacks, no padding fits, or the model does not answer.
    """
    check_embeddings(model, tokenizer, shown=shown)
    drop_untaken(model, tokenizer)
    fit_padding(model, tokenizer, shown=shown)
    check_answers(model, tokenizer, shown=shown)


def pick_device() -> torch.device:
    """The device on which this process runs its models: its CUDA device, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
