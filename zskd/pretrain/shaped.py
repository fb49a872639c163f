"""The text of a pretraining: inputs of one or two texts, shaped as for a task, and encoded."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.pretraining import PretrainConfig
from zskd.models.encoding import Cuts, encode_texts
from zskd.models.tokenizers import gives_segments
from zskd.system.arrow import ROWS, open_arrow, write_arrow
from zskd.system.processes import on_main
from zskd.system.seeds import Stream, seed_of
from zskd.text.corpus import Corpus
from zskd.text.shaping import INPUTS_PER_SENTENCE, Pools, build_pools, text_columns
from zskd.transfer.collator import ID_COLUMNS

logger = logging.getLogger(__name__)

_ONE, _PAIRS = ("text",), (("text", "text"), ("question", "question"), ("question", "passage"))
SAMPLE = 1_024  # inputs of each kind that tell how many tokens an input has

Kind = tuple[str, ...]


def kinds_of(inputs: str) -> dict[Kind, float]:
    """Kinds of the inputs and their shares: pairs of all kinds alike, and for ``both`` as many single texts as pairs.

    Example:
        >>> kinds_of("both")[("text",)]
        0.5
    """
    if inputs == "one":
        return {_ONE: 1.0}
    share = {"two": 1.0, "both": 0.5}[inputs]
    pairs: dict[Kind, float] = {kind: share / len(_PAIRS) for kind in _PAIRS}
    return pairs if inputs == "two" else {_ONE: share, **pairs}


@dataclass(frozen=True)
class Inputs:
    """The inputs of a pretraining.

    Attributes:
        pools: of each kind, in the order of `kinds_of`; all of them hold out the same documents.
        heldout: how many held-out inputs of each kind are read.
        steps: optimizer steps.
    """

    pools: list[Pools]
    heldout: list[int]
    steps: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the pools."""
        return hashlib.sha256("".join(pool.fingerprint for pool in self.pools).encode()).hexdigest()


@dataclass(frozen=True)
class Rows:
    """Encoded inputs: ``input_ids``, ``token_type_ids`` where the tokenizer gives segments, and ``length``.

    Attributes:
        train: rows to learn from, all kinds one after the other.
        heldout: rows of other documents.
    """

    train: Dataset
    heldout: Dataset


def make_inputs(
    config: PretrainConfig, corpus: Corpus, language: str, tokenizer: PreTrainedTokenizerBase, cache: Path
) -> Inputs:
    """Shape as many inputs as the steps need, or as the text holds: it is then read several times.

    Args:
        language: code of the corpus's language.

    Raises:
        InputError: the text has too few documents to hold any out.
    """
    shares, seed = kinds_of(config.inputs), seed_of(Stream.PRETRAINING, config.seed)

    def pools(kind: Kind, size: int) -> Pools:
        return build_pools(
            corpus,
            inputs=kind,
            size=size,
            heldout=2 * config.heldout,  # half of which are there to select, and half to report
            perturb="random",
            seed=seed,
            cache=cache,
            language=language,
        )

    def shape() -> Inputs:
        steps = config.steps
        if steps is None:
            samples = {kind: pools(kind, SAMPLE).transfer for kind in shares}
            mean = sum(share * _tokens(samples[kind], tokenizer, config.max_length) for kind, share in shares.items())
            steps = max(1, round(config.tokens / (mean * config.batch_size)))
        wanted = {kind: math.ceil(steps * config.batch_size * share) for kind, share in shares.items()}
        most = INPUTS_PER_SENTENCE * corpus.count
        # All kinds are read equally often, so that their shares stay what they are.
        passes = max(1.0, max(wanted.values()) / most)
        if passes > 1:
            logger.info("shaping: the inputs are read %.1f times, as the text holds %s of a kind", passes, f"{most:,}")
        made = [pools(kind, max(1, int(size / passes))) for kind, size in wanted.items()]
        return Inputs(made, [max(1, round(config.heldout * share)) for share in shares.values()], steps)

    return on_main(shape)


def _tokens(pool: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> float:
    """Tokens of an input, in the mean."""
    rows = encode_texts(tokenizer, tuple(list(pool[name]) for name in text_columns(pool)), max_length)["input_ids"]
    return sum(map(len, rows)) / len(rows)


def encode_inputs(inputs: Inputs, tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> Rows:
    """Encode inputs into Arrow files in `folder`; the main process writes, all processes open."""
    paths = {name: folder / f"{name}.arrow" for name in ("train", "heldout")}

    def write() -> None:
        cuts = Cuts(max_length)
        _write([pools.transfer for pools in inputs.pools], tokenizer, cuts, paths["train"])
        heldout = [_some(pools.select, size) for pools, size in zip(inputs.pools, inputs.heldout, strict=True)]
        _write(heldout, tokenizer, cuts, paths["heldout"])
        cuts.tell("pretraining")

    on_main(write)
    return Rows(**{name: open_arrow(path) for name, path in paths.items()})


def _some(pool: Dataset, size: int) -> Dataset:
    """As many rows, evenly spaced."""
    return pool.select(np.linspace(0, len(pool), min(len(pool), size), endpoint=False, dtype=np.int64))


def _write(parts: list[Dataset], tokenizer: PreTrainedTokenizerBase, cuts: Cuts, path: Path) -> None:
    segments = any(gives_segments(tokenizer, len(text_columns(part))) for part in parts)
    names = ID_COLUMNS[: 2 if segments else 1]
    schema = pa.schema([(name, pa.list_(pa.int32())) for name in names] + [("length", pa.int32())])

    def batches() -> Iterator[pa.RecordBatch]:
        for part in parts:
            columns = text_columns(part)
            for start in range(0, len(part), ROWS):
                rows = part[start : start + ROWS]
                encoded = encode_texts(tokenizer, tuple(rows[name] for name in columns), cuts.max_length)
                ids = encoded["input_ids"]
                cuts.add(encoded, len(ids))
                # Most tokenizers say nothing of the segments of a single text, which are all 0.
                given = {name: encoded.get(name) or [[0] * len(row) for row in ids] for name in names}
                arrays = [pa.array(given[name], schema.field(name).type) for name in names]
                yield pa.record_batch([*arrays, pa.array(map(len, ids), pa.int32())], schema=schema)

    write_arrow(path, batches(), schema)
