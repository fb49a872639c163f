"""Nearest sentences: pairs of sentences of a corpus in bands of the cosine of their states."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from zskd.models.sentence_encoder import TOKENS, SentenceEncoder
from zskd.system.arrow import arrow_digest, keep_arrow, open_arrow
from zskd.system.seeds import Stream, generator

# Increase it when the same sentences and encoder would give other pairs.
FORMAT = 1

# Family -> lowest cosine, and the cosine that is too much. Above the last are sentences that say the same.
BANDS = {"near": (0.5, 0.7), "nearest": (0.7, 0.95)}
MOST_SENTENCES = 30_000  # that are compared; of a larger corpus, as many, evenly spaced
BLOCK = 256  # sentences that are compared with all others at once: 30 MB for each array of cosines

_SCHEMA = pa.schema({"family": pa.string(), "first": pa.int64(), "second": pa.int64(), "cosine": pa.float32()})


def pairs_in_bands(
    directions: np.ndarray, rng: np.random.Generator, bands: Mapping[str, tuple[float, float]] = BANDS
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each band, pairs ``(pairs, 2)`` of rows and their cosines ``(pairs,)``, each pair once, the lower row first.

    Every row asks for the row whose cosine is nearest to a number drawn uniformly from the band, so that the cosines
    spread over it. The search is exact. Memory grows with the number of rows, not with its square.

    Args:
        directions: ``(rows, hidden)`` of length 1.
    """
    size = len(directions)
    wanted = {name: rng.uniform(low, high, size) for name, (low, high) in bands.items()}
    found: dict[str, list[tuple[int, int, float]]] = {name: [] for name in bands}
    for start in range(0, size, BLOCK):
        cosines = directions[start : start + BLOCK] @ directions.T
        here = np.arange(len(cosines))
        cosines[here, start + here] = np.inf  # itself
        for name, (low, high) in bands.items():
            far = np.abs(cosines - wanted[name][start : start + BLOCK, None].astype(cosines.dtype))
            far[(cosines < low) | (cosines >= high)] = np.inf
            best = far.argmin(axis=1)
            for row in here[np.isfinite(far[here, best])]:
                left, right = sorted((start + int(row), int(best[row])))
                found[name].append((left, right, float(cosines[row, best[row]])))
    made = {}
    for name, triples in found.items():
        unique = sorted({(left, right): cosine for left, right, cosine in triples}.items())
        pairs = np.array([pair for pair, _ in unique], dtype=np.int64).reshape(-1, 2)
        made[name] = pairs, np.array([cosine for _, cosine in unique], dtype=np.float32)
    return made


def cached_nearest(
    sentences: Dataset, fingerprint: str, rows: np.ndarray, words: int, encoder: SentenceEncoder, cache: Path
) -> dict[str, np.ndarray]:
    """Pairs ``(pairs, 2)`` of rows of a corpus by family, from the cache; missing or damaged, they are mined anew.

    At most `MOST_SENTENCES` of the given rows are compared, evenly spaced.

    Args:
        sentences: of the corpus, column ``text``.
        fingerprint: of the corpus.
        rows: rows that pairs are made of, ascending.
        words: how many of a sentence, from its beginning, are compared, because a pair has no more of it.
    """
    chosen = rows[np.linspace(0, len(rows), min(len(rows), MOST_SENTENCES), endpoint=False, dtype=np.int64)]
    given = hashlib.sha256(chosen.astype(np.int64).tobytes()).hexdigest()
    identity = (
        FORMAT,
        fingerprint,
        given,
        words,
        encoder.fingerprint,
        encoder.precision,
        TOKENS,
        sorted(BANDS.items()),
    )
    path = cache / "neighbours" / hashlib.sha256(repr(identity).encode()).hexdigest()[:32] / "sentences.arrow"
    if arrow_digest(path, _SCHEMA) is None:
        texts = [" ".join(text.split()[:words]) for text in sentences[chosen]["text"]]
        directions = encoder.texts(texts, "encoding sentences")
        made = pairs_in_bands(directions, generator(Stream.NEIGHBOURS, fingerprint))
        batches = [
            pa.record_batch(
                [
                    pa.array([name] * len(pairs), pa.string()),
                    *(pa.array(chosen[side], pa.int64()) for side in pairs.T),
                    pa.array(cosines, pa.float32()),
                ],
                schema=_SCHEMA,
            )
            for name, (pairs, cosines) in made.items()
        ]
        keep_arrow(path, batches, _SCHEMA)
    kept = open_arrow(path).data
    families = np.array(kept.column("family").to_pylist(), dtype=object)
    pairs = np.stack([kept.column(name).to_numpy() for name in ("first", "second")], axis=1)
    return {name: pairs[families == name] for name in BANDS}
