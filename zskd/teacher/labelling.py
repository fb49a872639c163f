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
import math
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

from zskd.models.batching import ahead, each_in_a_thread, token_batches, token_budget
from zskd.models.encoding import encode_texts
from zskd.system.arrow import is_sound, open_arrow, write_arrow
from zskd.system.precision import HALVES, autocast, check_finite
from zskd.system.processes import gather, on_main
from zskd.system.progress import bar
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.classifier import Classifier
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
        precision: ``fp32``, or one of `zskd.system.precision.HALVES` for autocast. A black box computes as it likes.

    Raises:
        InputError: logits that 16 bits could not hold, or a black box's that are no finite numbers.
    """
    if isinstance(classifier, BlackBox):
        return classifier.logits(texts, None)
    logits = infer(classifier, _encode(classifier, texts, max_length), precision)
    if precision in HALVES:  # what a student that learned nothing answers in float32 is a result
        check_finite(logits, classifier.name, precision)
    return logits


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
        with torch.inference_mode(), autocast(device.type, precision):
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


def _texts(pool: Dataset, number: int) -> tuple[list[str], ...]:
    """The texts of a pool's shard; of a pool that lies in a file nothing else is held in memory."""
    rows = pool[number * SHARD_ROWS : (number + 1) * SHARD_ROWS]
    return tuple(rows[name] for name in pool.column_names)


def _size(rows: int, number: int) -> int:
    """Texts in a shard of a pool of `rows` texts; the last shard may have fewer than the others."""
    return min(SHARD_ROWS, rows - number * SHARD_ROWS)


def missing_shards(paths: list[Path], rows: int) -> list[int]:
    """Numbers of the shards of a pool of `rows` texts that have no sound file; of equal shards the first alone."""
    first: dict[Path, int] = {}
    for number, path in enumerate(paths):
        first.setdefault(path, number)
    return [number for path, number in first.items() if not is_sound(path, _size(rows, number))]


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
    rows is written anew. The missing ones are dealt out to the processes; each asks for its own and opens those of all.
    The next shard's texts become token ids while the teacher answers for this one.

    Raises:
        InputError: logits that are no finite numbers; they are not kept.
    """
    texts = pool.select_columns(text_columns(pool))
    if isinstance(classifier, Classifier):
        max_length = min(max_length, classifier.tokenizer.model_max_length)
    folder = cache / "labels" / classifier.fingerprint[:16]
    schema = pa.schema({"teacher_logits": pa.list_(pa.float32(), len(classifier.order))})
    paths = [
        folder / f"{shard_key(classifier, _texts(texts, number), max_length, precision)}.arrow"
        for number in range(math.ceil(len(pool) / SHARD_ROWS))
    ]
    state = PartialState()
    # One process looks, so that all agree on what is missing: the first to look may write before the last has looked.
    own = on_main(lambda: missing_shards(paths, len(pool)))[state.process_index :: state.num_processes]

    def shards() -> Iterator[tuple[Path, tuple[list[str], ...] | BatchEncoding]]:
        """Path and texts of every shard that this process asks for."""
        for number in own:
            part = _texts(texts, number)
            yield paths[number], part if isinstance(classifier, BlackBox) else _encode(classifier, part, max_length)

    live = 0
    to_ask = sum(_size(len(pool), number) for number in own)
    with _nothing_old_collected(), bar(description, to_ask, "text") as progress:
        meter = Meter(progress)
        for path, inputs in ahead(shards()):
            if isinstance(classifier, BlackBox):
                logits = classifier.logits(inputs, progress)
            else:
                logits = infer(classifier, inputs, precision, meter)
                check_finite(logits, classifier.name, precision)
            array = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), logits.shape[1])
            write_arrow(path, [pa.record_batch([array], schema=schema)], schema)
            live += len(logits)
    # Every process waits here for all others, so that after it every shard is written.
    live = sum(gather(live))
    logits_column = concatenate_datasets([open_arrow(path) for path in paths])
    return LabelledTexts(concatenate_datasets([pool, logits_column], axis=1), queries=len(pool), live=live)
