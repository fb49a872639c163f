"""Bulk teacher inference with a cache on disk.

The cache is content-addressed: a shard of up to `SHARD_ROWS` texts is stored under the hash of the teacher's
weights, its tokenizer, precision, maximum length and the shard's ordered texts. The shard is the unit because
the same text alone and in another batch differs in the last bit; with it, logits never depend on what else
was labelled before. Raw logits are stored, in the teacher's own class order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm

from zskd.arrow import open_arrow, write_arrow
from zskd.batching import BATCH_TOKENS, token_batches
from zskd.encoding import encode_texts
from zskd.models.blackbox import BlackBox
from zskd.models.classifier import Classifier
from zskd.progress import bar
from zskd.text.shaping import text_columns

SHARD_ROWS = 4_096
# Raise it when shard contents would come out differently for the same key (batching, order, storage).
FORMAT = 1


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the teacher's logits.

    Attributes:
        dataset: the columns of the input and ``teacher_logits`` (float32, one per class, in the teacher's order).
        queries: number of texts whose logits are used.
        live: how many of them the teacher was asked for now; the others came from the cache.
    """

    dataset: Dataset
    queries: int
    live: int


def predict_logits(
    classifier: Classifier | BlackBox,
    texts: tuple[list[str], ...],
    *,
    max_length: int,
    precision: str,
    progress: tqdm | None = None,
) -> np.ndarray:
    """Logits of a classifier, ``(len(texts[0]), num_labels)`` float32 in the model's own class order.

    Args:
        texts: one list of first texts, or two lists of equal length for pairs.
        max_length: tokens; longer inputs are cut. A black box cuts as it likes.
        precision: ``fp32``, or ``bf16`` for autocast. A black box computes as it likes.
    """
    if isinstance(classifier, BlackBox):
        return classifier.logits(texts, progress)
    model, tokenizer = classifier.model, classifier.tokenizer
    max_length = min(max_length, tokenizer.model_max_length)
    encoded = encode_texts(tokenizer, texts, max_length)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    logits = np.empty((len(lengths), model.config.num_labels), dtype=np.float32)
    device = model.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for batch in token_batches(lengths):
            rows = [{name: encoded[name][i] for name in encoded} for i in batch]
            inputs = tokenizer.pad(rows, padding="longest", return_tensors="pt").to(device)
            logits[batch] = model(**inputs).logits.float().cpu().numpy()
            if progress is not None:
                progress.update(len(batch))
    return logits


def shard_key(classifier: Classifier | BlackBox, texts: tuple[list[str], ...], max_length: int, precision: str) -> str:
    """Hex SHA-256 of everything that decides a shard's logits."""
    head = [
        FORMAT,
        classifier.fingerprint,
        classifier.tokenizer_fingerprint,
        precision,
        max_length,
        BATCH_TOKENS,
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
    rows is written anew.
    """
    columns = text_columns(pool)
    if isinstance(classifier, Classifier):
        max_length = min(max_length, classifier.tokenizer.model_max_length)
    folder = cache / "labels" / classifier.fingerprint[:16]
    schema = pa.schema({"teacher_logits": pa.list_(pa.float32(), len(classifier.order))})
    paths, live = [], 0
    with bar(description, len(pool), "text") as progress:
        for start in range(0, len(pool), SHARD_ROWS):
            rows = pool[start : start + SHARD_ROWS]
            texts = tuple(rows[name] for name in columns)
            path = folder / f"{shard_key(classifier, texts, max_length, precision)}.arrow"
            paths.append(path)
            if _usable(path, len(texts[0])):
                progress.update(len(texts[0]))
                continue
            logits = predict_logits(classifier, texts, max_length=max_length, precision=precision, progress=progress)
            array = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), logits.shape[1])
            write_arrow(path, [pa.record_batch([array], schema=schema)], schema)
            live += len(texts[0])
    logits_column = concatenate_datasets([open_arrow(path) for path in paths])
    return LabelledTexts(concatenate_datasets([pool, logits_column], axis=1), queries=len(pool), live=live)


def _usable(path: Path, rows: int) -> bool:
    if not path.is_file():
        return False
    try:
        return len(open_arrow(path)) == rows
    except (pa.ArrowInvalid, OSError, EOFError):
        return False
