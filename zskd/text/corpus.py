"""The corpus: clean, distinct sentences of the sources on disk, each with the document it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from datasets import Dataset
from tqdm.auto import tqdm

from zskd.errors import InputError
from zskd.system.arrow import ROWS, is_sound, open_arrow, write_arrow
from zskd.system.files import write_text
from zskd.system.progress import hidden
from zskd.text import clean
from zskd.text.seen import Seen
from zskd.text.sources import SUFFIXES, Source, documents

MIN_SENTENCES = 200

_SCHEMA = pa.schema({"text": pa.string(), "document": pa.uint64()})


@dataclass(frozen=True)
class Corpus:
    """Sentences on disk.

    Attributes:
        path: Arrow file of the sentences.
        count: number of sentences.
        fingerprint: SHA-256 over all rows in order.
        sources: name -> identity of each source.
        passages: number of passages read, including those that were dropped.
        duplicates: number of sentences dropped because the same words had been seen before.
    """

    path: Path
    count: int
    fingerprint: str
    sources: dict[str, str]
    passages: int
    duplicates: int

    @property
    def sentences(self) -> Dataset:
        """Columns ``text`` and ``document`` (64-bit hash of the passage a sentence came from), memory-mapped.

        The file is opened on each access, so that memory pages are released together with the reader.
        """
        return open_arrow(self.path)


def hash64(text: str, salt: str = "") -> int:
    """64-bit hash of a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=salt.encode()).digest(), "little")


def _reading(source: Source) -> str:
    """What else than the identity decides the passages of a source: file type, or Hub configuration."""
    if source.kind == "file":
        return next(suffix for suffix in SUFFIXES if source.name.endswith(suffix))
    return source.name


def _key(sources: list[Source], fraction: float) -> str:
    identity = [
        clean.FORMAT,
        fraction,
        [(source.kind, _reading(source), source.identity) for source in sources],
    ]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def build_corpus(sources: list[Source], fraction: float, cache: Path, *, least: int | None = None) -> Corpus:
    """Read, clean and deduplicate the sources, or open the copy in the cache; a damaged copy is rewritten.

    Args:
        fraction: share of the passages to use, chosen by their hash.
        least: smallest number of remaining sentences that is accepted; default: `MIN_SENTENCES`.

    Raises:
        InputError: a source is not usable, or too few sentences remain.
    """
    folder = cache / "corpora" / _key(sources, fraction)[:32]
    rows, record = folder / "sentences.arrow", folder / "corpus.json"
    if not record.is_file() or not is_sound(rows, json.loads(record.read_text(encoding="utf-8"))["sentences"]):
        counts = {"passages": 0, "duplicates": 0, "sentences": 0}
        digest = hashlib.sha256()
        write_arrow(rows, _batches(sources, fraction, counts, digest), _SCHEMA)
        write_text(record, json.dumps({**counts, "fingerprint": digest.hexdigest()}))
    found = json.loads(record.read_text(encoding="utf-8"))
    least = MIN_SENTENCES if least is None else least
    if found["sentences"] < least:
        raise InputError(
            f"--corpus {' '.join(source.name for source in sources)}: expected at least {least} distinct "
            f"sentences, found {found['sentences']}; add text or raise --corpus-fraction"
        )
    return Corpus(
        path=rows,
        count=found["sentences"],
        fingerprint=found["fingerprint"],
        sources={source.name: source.identity for source in sources},
        passages=found["passages"],
        duplicates=found["duplicates"],
    )


def _batches(
    sources: list[Source], fraction: float, counts: dict[str, int], digest: hashlib._Hash
) -> Iterator[pa.RecordBatch]:
    texts: list[str] = []
    origins: list[int] = []
    for text, document in _distinct_sentences(sources, fraction, counts):
        digest.update(f"{document}\t{text}\n".encode())
        texts.append(text)
        origins.append(document)
        if len(texts) == ROWS:
            yield pa.record_batch([pa.array(texts), pa.array(origins, pa.uint64())], schema=_SCHEMA)
            texts, origins = [], []
    yield pa.record_batch([pa.array(texts, pa.string()), pa.array(origins, pa.uint64())], schema=_SCHEMA)


def _distinct_sentences(sources: list[Source], fraction: float, counts: dict[str, int]) -> Iterator[tuple[str, int]]:
    seen = Seen()
    for source in sources:
        # The number of passages is unknown until all have been read, so the bar has no total.
        for passage in tqdm(documents(source), f"reading {source.name}", unit="passage", disable=hidden(), leave=False):
            counts["passages"] += 1
            document = hash64(passage.strip())
            if fraction < 1.0 and hash64(str(document), "fraction") >= fraction * 2**64:
                continue
            for sentence in clean.sentences(passage):
                key = hash64("".join(c for c in sentence.lower() if c.isalnum()))
                if not seen.add(key):
                    counts["duplicates"] += 1
                    continue
                counts["sentences"] += 1
                yield sentence, document
