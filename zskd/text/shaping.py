"""From sentences to classifier inputs: whole sentences and sub-spans, perturbed at random or not, and pairs.

The pools depend on the corpus, the number and kind of the input texts, the options below and the seed. They never
depend on the task, its labels or the teacher.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from tqdm import tqdm

from zskd.errors import InputError
from zskd.models.sentence_encoder import SentenceEncoder
from zskd.system.arrow import ROWS, arrow_digest, keep_arrow, open_arrow
from zskd.system.progress import bar
from zskd.system.seeds import Stream, generator
from zskd.text.corpus import Corpus, hash64
from zskd.text.language import ENGLISH, OTHER, Rules, is_english, rules_for
from zskd.text.pairs import PERTURBED_SHARE, pair_texts, perturbed_share
from zskd.text.wide_pairs import WideSource, wide_identity, wide_pair_texts
from zskd.text.words import as_question, corpus_words, perturb_words, question_starter, sub_span

# Increase it when the same corpus and seed would give other inputs.
FORMAT = 4
PAIR_FORMAT = 7

# With little text, more inputs would only be more excerpts of the same words. The largest pools measured have 16.
INPUTS_PER_SENTENCE = 40
SENTENCE_SHARE = 1 / 6  # of a pool of single texts; the rest are sub-spans
HELDOUT_LIMIT = 0.2  # largest share of documents that are held out

TEXT_COLUMNS = ("text", "text_b")
_ONE_TEXT = pa.schema({"text": pa.string(), "family": pa.string()})
_TWO_TEXTS = pa.schema({"text": pa.string(), "text_b": pa.string(), "family": pa.string()})


@dataclass(frozen=True)
class Pools:
    """Inputs of the task's shape, split by source document; columns ``text``, for pairs ``text_b``, and ``family``.

    Attributes:
        transfer: inputs that the student learns from.
        select: held-out inputs that select the checkpoint; independent of perturbation and seed.
        report: held-out inputs that report agreement; independent of perturbation and seed.
        fingerprint: SHA-256 over the three.
    """

    transfer: Dataset
    select: Dataset
    report: Dataset
    fingerprint: str


def limited_size(asked: int, sentences: int) -> int:
    """Size of a transfer pool: the size asked for, limited to `INPUTS_PER_SENTENCE` inputs per sentence."""
    return min(asked, INPUTS_PER_SENTENCE * sentences)


def text_columns(pool: Dataset) -> list[str]:
    """The columns of a pool that hold its one or two input texts."""
    return [name for name in TEXT_COLUMNS if name in pool.column_names]


def split_documents(documents: np.ndarray, heldout_share: float) -> np.ndarray:
    """0 (transfer), 1 (select) or 2 (report) for each document hash, the same for every seed.

    Args:
        documents: ``(sentences,)`` uint64.
        heldout_share: share of the documents held out; half of them select, half report.
    """
    unique, inverse = np.unique(documents, return_inverse=True)
    positions = (hash64(str(document), "split") / 2.0**64 for document in unique)
    position = np.fromiter(positions, dtype=np.float64, count=len(unique))
    parts = np.where(position < heldout_share / 2, 1, np.where(position < heldout_share, 2, 0))
    return parts[inverse]


def _span_text(words: list[str], kind: str, rng: np.random.Generator, rules: Rules) -> str:
    return as_question(words, question_starter(rng, rules), rules) if kind == "question" else rules.join(words)


def _transfer_texts(
    corpus: Dataset, rows: np.ndarray, size: int, kind: str, perturb: str, seed: int, rules: Rules
) -> Iterator[tuple[str, str]]:
    """Whole sentences first, in the same order for every seed so that their cached logits are reused; then spans."""
    # Evenly spaced over the corpus, so that every source is represented.
    whole = rows[np.linspace(0, len(rows), min(len(rows), int(size * SENTENCE_SHARE)), endpoint=False, dtype=np.int64)]
    for start in range(0, len(whole), ROWS):
        for text in corpus[whole[start : start + ROWS]]["text"]:
            yield text, "sentence"
    rng = generator(Stream.TRANSFER, seed)
    table: Iterator[str] = iter(())
    if perturb == "random":
        table = corpus_words(corpus, rows, rng, rules)
    family = "span" if perturb == "none" else "perturbed span"
    remaining = size - len(whole)
    while remaining > 0:
        picked = rng.choice(rows, size=min(remaining, ROWS))
        for text in corpus[picked]["text"]:
            words = sub_span(rules.units(text), rng)
            words = perturb_words(words, table, rng) if perturb == "random" else words
            yield _span_text(words, kind, rng, rules), family
        remaining -= len(picked)


def _heldout_texts(
    corpus: Dataset, rows: np.ndarray, size: int, kind: str, part: str, rules: Rules
) -> Iterator[tuple[str, str]]:
    """Each sentence and one of its sub-spans, unperturbed, until there are `size` inputs."""
    rng = generator(Stream.HELDOUT, part)
    sentences = corpus[rows[: (size + 1) // 2]]["text"]
    for text in sentences:
        yield text, "sentence"
    for text in sentences[: size // 2]:
        words = sub_span(rules.units(text), rng)
        yield _span_text(words, kind, rng, rules), "span"


def _pairs(
    corpus: Dataset,
    rows: np.ndarray,
    size: int,
    kinds: tuple[str, str],
    perturbed: float,
    rng: np.random.Generator,
    rules: Rules,
    wide: WideSource | None,
) -> Iterator[tuple[str, str, str]]:
    """Pairs of the plain families; with `wide`, also of those of `zskd.text.wide_pairs`."""
    if wide is None:
        return pair_texts(corpus, rows, size, kinds, perturbed, rng, rules)
    return wide_pair_texts(corpus, rows, size, kinds, perturbed, rng, wide.neighbours(rows, kinds))


def _batches(rows: Iterator[tuple[str, ...]], schema: pa.Schema, progress: tqdm) -> Iterator[pa.RecordBatch]:
    batch: list[tuple[str, ...]] = []

    def record() -> pa.RecordBatch:
        columns = zip(*batch, strict=True) if batch else [[] for _ in schema]
        return pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema)

    for row in rows:
        batch.append(row)
        if len(batch) == ROWS:
            yield record()
            progress.update(len(batch))
            batch = []
    yield record()
    progress.update(len(batch))


def build_pools(
    corpus: Corpus,
    *,
    inputs: tuple[str, ...],
    size: int,
    heldout: int,
    perturb: str,
    seed: int,
    cache: Path,
    language: str = ENGLISH,
    encoder: SentenceEncoder | None = None,
) -> Pools:
    """Shape a corpus into the three pools, or open the copies in the cache; damaged ones are rewritten.

    Args:
        inputs: kind of each input text, as in `zskd.tasks.task.Task.inputs`.
        size: number of inputs in the transfer pool.
        heldout: number of held-out inputs; there are fewer if the corpus is small.
        language: code of the corpus's language; all but English are shaped alike.
        encoder: for two English texts, gives pairs of more families (`zskd.text.wide_pairs`); None for plain ones.

    Raises:
        InputError: an encoder with one text or another language; or the corpus has too few documents to hold any out.
    """
    form = PAIR_FORMAT if len(inputs) == 2 else FORMAT
    if encoder is not None and (len(inputs) != 2 or not is_english(language)):
        found = f"text in the language {language}" if len(inputs) == 2 else "inputs of one text"
        raise InputError(f"--pairs wide: expected two English texts, found {found}; use --pairs plain")
    # Pools of English text have the keys that they had before there was a choice.
    marked: tuple[object, ...] = () if is_english(language) else (OTHER,)
    marked += () if encoder is None else (wide_identity(encoder),)
    identity = (form, corpus.fingerprint, inputs, size, heldout, perturb, seed, *marked)
    key, rules = hashlib.sha256(repr(identity).encode()).hexdigest(), rules_for(language)
    folder = cache / "pools" / key[:32]
    paths = {name: folder / f"{name}.arrow" for name in ("transfer", "select", "report")}
    schema = _TWO_TEXTS if len(inputs) == 2 else _ONE_TEXT
    digests = {name: arrow_digest(path, schema) for name, path in paths.items()}
    if None in digests.values():
        sentences = corpus.sentences
        origins = sentences.data.column("document").to_numpy()
        share = min(HELDOUT_LIMIT, 0.5 * heldout / len(sentences))
        parts = split_documents(origins, share)
        rows = [np.flatnonzero(parts == part) for part in range(3)]
        if any(len(part) == 0 for part in rows):
            names = " ".join(corpus.sources)
            raise InputError(
                f"--corpus {names}: expected text from several passages or documents, to hold some out; found too few"
            )
        made: dict[str, Iterator[tuple[str, ...]]]
        if len(inputs) == 2:
            kinds = (inputs[0], inputs[1])
            perturbed = perturbed_share(kinds) if perturb == "random" else 0.0
            # Held-out pairs are of every family, perturbed ones too: else no text would be paired with its edited copy.
            wide = None if encoder is None else WideSource(sentences, corpus.fingerprint, encoder, cache)
            made = {
                name: _pairs(
                    sentences,
                    rows[part],
                    min(heldout // 2, 2 * len(rows[part])) if part else size,
                    kinds,
                    PERTURBED_SHARE if part else perturbed,
                    generator(Stream.HELDOUT, name) if part else generator(Stream.TRANSFER, seed),
                    rules,
                    wide,
                )
                for part, name in ((1, "select"), (2, "report"), (0, "transfer"))
                if digests[name] is None
            }
        else:
            made = {
                "select": _heldout_texts(sentences, rows[1], heldout // 2, inputs[0], "select", rules),
                "report": _heldout_texts(sentences, rows[2], heldout // 2, inputs[0], "report", rules),
                "transfer": _transfer_texts(sentences, rows[0], size, inputs[0], perturb, seed, rules),
            }
        for name in [name for name in made if digests[name] is None]:
            with bar(f"shaping {name}", size if name == "transfer" else heldout // 2, "input") as progress:
                digests[name] = keep_arrow(paths[name], _batches(made[name], schema, progress), schema)
    pools = {name: open_arrow(path) for name, path in paths.items()}
    return Pools(fingerprint=hashlib.sha256("".join(map(str, digests.values())).encode()).hexdigest(), **pools)
