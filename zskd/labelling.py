"""Bulk teacher inference with a cache on disk.

The cache is content-addressed: a shard of up to `SHARD_ROWS` texts is stored under the hash of the teacher's
weights, its tokenizer, precision, maximum length and the shard's ordered texts. The shard is the unit because
the same text alone and in another batch differs in the last bit; with it, logits never depend on what else
was labelled before. Raw logits are stored, in the teacher's own class order.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm
from transformers import BatchEncoding

from zskd.arrow import is_sound, open_arrow, write_arrow
from zskd.batching import ahead, each_in_a_thread, token_batches, token_budget
from zskd.encoding import encode_texts
from zskd.models.blackbox import BlackBox
from zskd.models.classifier import Classifier
from zskd.processes import everyone
from zskd.progress import bar
from zskd.text.shaping import text_columns

SHARD_ROWS = 4_096
# Raise it when shard contents would come out differently for the same key (batching, order, storage).
FORMAT = 2


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the teacher's logits.

    Attributes:
        dataset: the columns of the input and ``teacher_logits`` (float32, one per class, in the teacher's order).
        queries: number of texts whose logits are used.
        live: how many of them the teacher was asked for now, by all processes; the others came from the cache.
    """

    dataset: Dataset
    queries: int
    live: int


@dataclass
class Meter:
    """A progress bar over texts that also says how many tokens a second are read."""

    bar: tqdm
    tokens: int = 0

    def advance(self, texts: int, tokens: int) -> None:
        """Count what was read."""
        self.tokens += tokens
        speed = self.tokens / max(1e-9, self.bar.format_dict["elapsed"])
        self.bar.set_postfix_str(f"{speed:,.0f} tokens/s", refresh=False)
        self.bar.update(texts)


def predict_logits(
    classifier: Classifier | BlackBox,
    texts: tuple[list[str], ...],
    *,
    max_length: int,
    precision: str,
) -> np.ndarray:
    """Logits of a classifier, ``(len(texts[0]), num_labels)`` float32 in the model's own class order.

    Args:
        texts: one list of first texts, or two lists of equal length for pairs.
        max_length: tokens; longer inputs are cut. A black box cuts as it likes.
        precision: ``fp32``, or ``bf16`` for autocast. A black box computes as it likes.
    """
    if isinstance(classifier, BlackBox):
        return classifier.logits(texts, None)
    return infer(classifier, _encode(classifier, texts, max_length), precision)


def _encode(classifier: Classifier, texts: tuple[list[str], ...], max_length: int) -> BatchEncoding:
    return encode_texts(classifier.tokenizer, texts, min(max_length, classifier.tokenizer.model_max_length))


def infer(classifier: Classifier, encoded: BatchEncoding, precision: str, meter: Meter | None = None) -> np.ndarray:
    """Logits ``(rows, num_labels)`` float32 of token ids without padding, in the model's own class order."""
    model, tokenizer = classifier.model, classifier.tokenizer
    lengths = [len(ids) for ids in encoded["input_ids"]]
    device = model.device
    on_gpu = device.type == "cuda"

    def answer(batch: list[int]) -> tuple[list[int], torch.Tensor]:
        rows = [{name: encoded[name][i] for name in encoded} for i in batch]
        inputs = dict(tokenizer.pad(rows, padding="longest", return_tensors="pt"))
        if on_gpu:  # pinned memory is copied while the GPU computes
            inputs = {name: value.pin_memory().to(device, non_blocking=True) for name, value in inputs.items()}
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return batch, model(**inputs).logits.float()

    batches = token_batches(lengths, token_budget(device.type))
    order: list[int] = []
    logits: list[torch.Tensor] = []
    for batch, answered in map(answer, batches) if on_gpu else each_in_a_thread(answer, batches):
        logits.append(answered)  # fetched at the end: waiting for every batch would leave a GPU idle
        order += batch
        if meter is not None:
            meter.advance(len(set(batch)), sum(lengths[i] for i in set(batch)))
    found = np.empty((len(lengths), model.config.num_labels), dtype=np.float32)
    if order:
        found[order] = torch.cat(logits).cpu().numpy()
    return found


@contextmanager
def _nothing_old_collected() -> Iterator[None]:
    """Keeps the garbage collector to objects made from here on.

    The lists of a shard's token ids set it off again and again, and each time it would look through all that the
    libraries hold, for half a second in which no thread gets on.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def shard_key(classifier: Classifier | BlackBox, texts: tuple[list[str], ...], max_length: int, precision: str) -> str:
    """Hex SHA-256 of everything that decides a shard's logits."""
    head = [
        FORMAT,
        classifier.fingerprint,
        classifier.tokenizer_fingerprint,
        precision,
        max_length,
        0 if isinstance(classifier, BlackBox) else token_budget(classifier.model.device.type),
        *(["compiled"] if isinstance(classifier, Classifier) and classifier.compiled else []),
    ]
    digest = hashlib.sha256(json.dumps([*head, len(texts)]).encode())
    for row in zip(*texts, strict=True):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def label_texts(
    pool: Dataset,
    classifier: Classifier | BlackBox,
    cache: Path,
    *,
    max_length: int,
    precision: str,
    description: str,
) -> LabelledTexts:
    """Add the teacher's logits to a pool of texts (columns ``text`` and, for pairs, ``text_b``).

    Shards that the cache holds are not asked again. A shard file that does not open or has another number of
    rows is written anew. Several processes take turns: each asks for its own shards and opens those of all. The next
    shard's texts become token ids while the teacher answers for this one.
    """
    columns = text_columns(pool)
    if isinstance(classifier, Classifier):
        max_length = min(max_length, classifier.tokenizer.model_max_length)
    folder = cache / "labels" / classifier.fingerprint[:16]
    schema = pa.schema({"teacher_logits": pa.list_(pa.float32(), len(classifier.order))})
    paths: list[Path] = []
    live, state = 0, PartialState()

    def shards() -> Iterator[tuple[Path, int, tuple[list[str], ...] | BatchEncoding | None]]:
        """Path, rows and, where this process has to ask for it, the texts of every shard."""
        for number, start in enumerate(range(0, len(pool), SHARD_ROWS)):
            rows = pool[start : start + SHARD_ROWS]
            texts = tuple(rows[name] for name in columns)
            path = folder / f"{shard_key(classifier, texts, max_length, precision)}.arrow"
            count = len(texts[0])
            if number % state.num_processes != state.process_index or is_sound(path, count):
                yield path, count, None
            else:
                yield path, count, texts if isinstance(classifier, BlackBox) else _encode(classifier, texts, max_length)

    with _nothing_old_collected(), bar(description, len(pool), "text") as progress:
        meter = Meter(progress)
        for path, count, inputs in ahead(shards()):
            paths.append(path)
            if inputs is None:
                progress.update(count)
                continue
            if isinstance(classifier, BlackBox):
                logits = classifier.logits(inputs, progress)
            else:
                logits = infer(classifier, inputs, precision, meter)
            array = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), logits.shape[1])
            write_arrow(path, [pa.record_batch([array], schema=schema)], schema)
            live += count
    live = sum(everyone(live))
    logits_column = concatenate_datasets([open_arrow(path) for path in paths])
    return LabelledTexts(concatenate_datasets([pool, logits_column], axis=1), queries=len(pool), live=live)
