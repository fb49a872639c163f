"""The corpus: clean, distinct sentences of the sources on disk, each with the document it came from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from zskd.errors import InputError
from zskd.system.arrow import ROWS, is_sound, keep_arrow, open_arrow
from zskd.system.checksums import keep, known_digest
from zskd.system.progress import reading
from zskd.text import clean
from zskd.text.seen import Seen
from zskd.text.sources import SUFFIXES, Source, documents

logger = logging.getLogger(__name__)

MIN_SENTENCES = 200
MOST_LOST = 0.5  # share of the characters; above, there is a warning
# Reasons why text is dropped, beside those of `zskd.text.clean`.
DUPLICATES, LEFT_OUT = "repeated", "left out by --corpus-fraction"

_SCHEMA = pa.schema({"text": pa.string(), "document": pa.uint64()})
_NO_ALNUM = re.compile("[^a-z0-9]+")


@dataclass(frozen=True)
class Corpus:
    """Sentences on disk.

    Attributes:
        path: Arrow file of the sentences.
        count: number of sentences.
        fingerprint: SHA-256 over all rows in order.
        sources: name -> identity of each source.
        passages: number of passages read, including those that were dropped.
        dropped: reason -> ``parts`` (sentences, headings or passages) and ``characters`` that were dropped for it.
        characters: of the sentences, without white space. With those dropped they are all that was read.
    """

    path: Path
    count: int
    fingerprint: str
    sources: dict[str, str]
    passages: int
    dropped: dict[str, dict[str, int]]
    characters: int

    @property
    def duplicates(self) -> int:
        """Number of sentences dropped because the same words had been seen before."""
        return self.dropped.get(DUPLICATES, {}).get("parts", 0)

    @property
    def lost_share(self) -> float:
        """Share of the characters that were dropped, but for passages that ``--corpus-fraction`` leaves out."""
        lost = sum(found["characters"] for reason, found in self.dropped.items() if reason != LEFT_OUT)
        return lost / max(1, lost + self.characters)

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
    """Read, clean and deduplicate the sources, or open the copy in the cache; a damaged one is rewritten.

    Args:
        fraction: share of the passages to use, chosen by their hash.
        least: smallest number of remaining sentences that is accepted; default: `MIN_SENTENCES`.

    Raises:
        InputError: a source is not usable, or too few sentences remain.
    """
    folder = cache / "corpora" / _key(sources, fraction)[:32]
    rows, record = folder / "sentences.arrow", folder / "corpus.json"
    found = _kept(rows, record)
    if found is None:
        counts, digest = _Counts(), hashlib.sha256()
        keep_arrow(rows, _batches(sources, fraction, counts, digest), _SCHEMA)
        found = {**dataclasses.asdict(counts), "fingerprint": digest.hexdigest()}
        text = json.dumps(found)
        keep(record, lambda path: path.write_text(text, encoding="utf-8"))
    least = MIN_SENTENCES if least is None else least
    if found["sentences"] < least:
        dropped = f"; dropped: {dropped_words(found['dropped'])}" if found["dropped"] else ""
        raise InputError(
            f"--corpus {' '.join(source.name for source in sources)}: expected at least {least} distinct sentences, "
            f"found {found['sentences']} in {found['passages']} passages{dropped}; add text or raise --corpus-fraction"
        )
    return Corpus(
        path=rows,
        count=found["sentences"],
        fingerprint=found["fingerprint"],
        sources={source.name: source.identity for source in sources},
        passages=found["passages"],
        dropped=found["dropped"],
        characters=found["characters"],
    )


def _kept(rows: Path, record: Path) -> dict[str, Any] | None:
    """What `record` says of the sentences in `rows`; None if one of the two is missing or damaged."""

    def agree(path: Path) -> bool:
        """Whether the two fit together, for a file without a checksum."""
        if (found := _read_record(record)) is None:
            return False
        return is_sound(rows, _SCHEMA, found["sentences"]) and _fingerprint(open_arrow(rows)) == found["fingerprint"]

    digests = [known_digest(path, agree) for path in (rows, record)]
    return None if None in digests else _read_record(record)


def _read_record(path: Path) -> dict[str, Any] | None:
    """The content of ``corpus.json``; None if it is not what `build_corpus` writes."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        counts = [found[name] for name in ("passages", "sentences", "characters")]
        counts += [entry[name] for entry in found["dropped"].values() for name in ("parts", "characters")]
        whole = isinstance(found["fingerprint"], str) and all(type(count) is int and count >= 0 for count in counts)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return found if whole else None


def _fingerprint(sentences: Dataset) -> str:
    """SHA-256 over all rows in order, as `_batches` computes it while they are written."""
    digest = hashlib.sha256()
    for start in range(0, len(sentences), ROWS):
        rows = sentences[start : start + ROWS]
        for text, document in zip(rows["text"], rows["document"], strict=True):
            digest.update(_hashed(text, document))
    return digest.hexdigest()


def _hashed(text: str, document: int) -> bytes:
    return f"{document}\t{text}\n".encode()


@dataclass
class _Counts:
    passages: int = 0
    sentences: int = 0
    characters: int = 0
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)

    def drop(self, reason: str, characters: int) -> None:
        found = self.dropped.setdefault(reason, {"parts": 0, "characters": 0})
        found["parts"] += 1
        found["characters"] += characters


def log_corpus(corpus: Corpus, *, warn: bool = True) -> None:
    """Say how much text there is and what was dropped; where most of it was, as a warning if `warn`."""
    dropped = dropped_words(corpus.dropped)
    logger.info("corpus: %s sentences; dropped: %s", f"{corpus.count:,}", dropped)
    if warn and corpus.lost_share > MOST_LOST:
        logger.warning("corpus: %.0f %% of the characters were dropped: %s", 100 * corpus.lost_share, dropped)


def dropped_words(dropped: dict[str, dict[str, int]]) -> str:
    """What was dropped and why, most characters first, in words.

    Example:
        >>> dropped_words({"too short": {"parts": 2, "characters": 20}, "repeated": {"parts": 1, "characters": 60}})
        '1 repeated (60 characters), 2 too short (20)'
    """
    ordered = sorted(dropped.items(), key=lambda item: -item[1]["characters"])
    words = [
        f"{found['parts']:,} {'passages ' if reason == LEFT_OUT else ''}{reason} ({found['characters']:,})"
        for reason, found in ordered
    ]
    return ", ".join([words[0].removesuffix(")") + " characters)", *words[1:]]) if words else "nothing"


def _batches(
    sources: list[Source], fraction: float, counts: _Counts, digest: hashlib._Hash
) -> Iterator[pa.RecordBatch]:
    texts: list[str] = []
    origins: list[int] = []
    for text, document in _distinct_sentences(sources, fraction, counts):
        digest.update(_hashed(text, document))
        texts.append(text)
        origins.append(document)
        if len(texts) == ROWS:
            yield pa.record_batch([pa.array(texts), pa.array(origins, pa.uint64())], schema=_SCHEMA)
            texts, origins = [], []
    yield pa.record_batch([pa.array(texts, pa.string()), pa.array(origins, pa.uint64())], schema=_SCHEMA)


def _read(source: Source) -> Iterator[str]:
    with reading(f"reading {source.name}") as at:
        yield from documents(source, at)


def _distinct_sentences(sources: list[Source], fraction: float, counts: _Counts) -> Iterator[tuple[str, int]]:
    seen = Seen()
    for source in sources:
        for passage in _read(source):
            counts.passages += 1
            document = hash64(passage.strip())
            if fraction < 1.0 and hash64(str(document), "fraction") >= fraction * 2**64:
                counts.drop(LEFT_OUT, clean.characters(passage))
                continue
            for part in clean.parts(passage):
                if part.dropped is not None:
                    counts.drop(part.dropped, part.characters)
                elif not seen.add(hash64(_letters_and_digits(part.text))):
                    counts.drop(DUPLICATES, part.characters)
                else:
                    counts.sentences += 1
                    counts.characters += part.characters
                    yield part.text, document


def _letters_and_digits(sentence: str) -> str:
    """What two sentences have in common that count as one. Marks are kept: in Hindi, they are the vowels."""
    if sentence.isascii():
        return _NO_ALNUM.sub("", sentence.lower())
    lowered = unicodedata.normalize("NFC", sentence.lower())
    return "".join(c for c in lowered if c.isalnum() or unicodedata.category(c)[0] == "M")
