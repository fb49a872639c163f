"""Where a student differs from its teacher: on rows of the task's TRAINING file, by what the rows say.

For one text: rows with a negation, with a contrast, and the others. For two: rows by how many words the texts share,
and by content words in common and cosine, as `zskd.transfer.pair_grid` counts them.
Development evidence that says what to work on; the dev file is not opened.

    zskd distill --task sst2 --config embedded --output-dir runs/sst2
    python -m recipes.disagreement runs/sst2 --data DIR
    python -m recipes.disagreement runs/sst2 --shaped      the same for inputs that the student learned from
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from recipes.training_rows import training_rows
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root
from zskd.evaluation.scoring import predict_classes
from zskd.models.sentence_encoder import SentenceEncoder, embedded_encoder
from zskd.runs.read import read_run, run_config
from zskd.tasks.task import find_task
from zskd.teacher.classifier import load_classifier
from zskd.text.corpus import build_corpus
from zskd.text.language import resolve_language
from zskd.text.shaping import build_pools, limited_size, text_columns
from zskd.text.sources import find_sources
from zskd.transfer.pair_grid import COSINES as COSINE_ENDS
from zskd.transfer.pair_grid import OVERLAPS as OVERLAP_ENDS
from zskd.transfer.pair_grid import pair_measures, places_of

ROWS = 20_000  # at most; of SST-2 all
SHAPED = 6_000
MAX_LENGTH = 128  # tokens
NEGATIONS = {"not", "n't", "never", "without", "no", "hardly"}
CONTRASTS = {"but", "although", "though", "if", "while", "yet"}
OVERLAPS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST_SHARE = 0.02


def groups(texts: tuple[list[str], ...]) -> dict[str, np.ndarray]:
    """Name of a group -> which rows ``(rows,)`` belong to it."""
    words = [[set(text.lower().split()) for text in column] for column in texts]
    if len(words) == 1:
        negation = np.array([bool(row & NEGATIONS) for row in words[0]])
        contrast = np.array([bool(row & CONTRASTS) for row in words[0]])
        return {"negation": negation, "contrast": contrast & ~negation, "others": ~negation & ~contrast}
    shared = np.array([len(a & b) / max(1, min(len(a), len(b))) for a, b in zip(*words, strict=True)])
    ends = [*OVERLAPS[1:], 1.01]
    return {
        f"{low:.0%} or more shared": (low <= shared) & (shared < high) for low, high in zip(OVERLAPS, ends, strict=True)
    }


def grid_groups(texts: tuple[list[str], ...], encoder: SentenceEncoder) -> dict[str, np.ndarray]:
    """The same for the cells of the grid of pairs that hold at least `LEAST_SHARE` of the rows."""
    left, right = texts
    rows, columns = places_of(*pair_measures(left, right, encoder))
    found = {
        f"common <= {overlap:g}, cosine <= {cosine:g}": (rows == i) & (columns == j)
        for i, overlap in enumerate(OVERLAP_ENDS)
        for j, cosine in enumerate(COSINE_ENDS)
    }
    return {name: chosen for name, chosen in found.items() if chosen.mean() >= LEAST_SHARE}


def shaped_rows(config: DistillConfig, fingerprint: str) -> tuple[list[str], ...]:
    """Texts of `SHAPED` inputs of a run's transfer pool, evenly spaced.

    Raises:
        SystemExit: it is not the pool that the run's ``record.json`` names.
    """
    cache = cache_root(None)
    corpus = build_corpus(find_sources(config.corpus), config.corpus_fraction, cache)
    pools = build_pools(
        corpus, inputs=find_task(config.task).inputs, size=limited_size(config.pool_size or 0, corpus.count),
        heldout=config.heldout or 0, perturb=config.shaping, seed=config.shaping_seed, cache=cache,
        language=resolve_language(config.language, corpus.sentences),
        encoder=embedded_encoder(cache) if config.pairs == "wide" else None,
    )  # fmt: skip
    if pools.fingerprint != fingerprint:
        raise SystemExit(f"--shaped: expected the pool {fingerprint} of the run, made {pools.fingerprint}")
    pool = pools.transfer
    rows = np.linspace(0, len(pool), min(len(pool), SHAPED), endpoint=False, dtype=np.int64)
    return tuple(list(pool[rows][name]) for name in text_columns(pool))


def main() -> int:
    """Print the agreement by group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path, help="folder with glue/")
    where.add_argument("--shaped", action="store_true", help="inputs of the run's transfer pool in place of real rows")
    arguments = parser.parse_args()
    run = read_run(arguments.run)
    metrics = run.metrics
    task = find_task(metrics["task"])
    cache, labels = cache_root(None), None
    if arguments.shaped:
        config = run_config(str(arguments.run))
        assert config is not None
        texts = shaped_rows(config, run.record["pools"]["fingerprint"])
    else:
        texts, labels = training_rows(task, arguments.data / "glue", ROWS)
    models = {"teacher": metrics["teacher"]["name"], "student": str(arguments.run / "student")}
    found = {
        who: predict_classes(load_classifier(task, model, cache), texts, MAX_LENGTH, "fp32")
        for who, model in models.items()
    }
    named = groups(texts)
    if task.is_pair:
        named |= grid_groups(texts, embedded_encoder(cache))
    print(
        f"{'':32}{'rows':>7}{'agreement':>11}" + "".join(f"{f'{who} {x}':>24}" for x in task.labels for who in models)
    )
    for name, chosen in {"all": np.ones(len(texts[0]), dtype=bool), **named}.items():
        if chosen.any():
            agreement = (found["teacher"] == found["student"])[chosen].mean()
            shares = [(found[who][chosen] == label).mean() for label in range(task.num_labels) for who in models]
            print(f"{name:32}{chosen.sum():7,}{agreement:11.3f}" + "".join(f"{share:24.3f}" for share in shares))
    if labels is not None:
        accuracy = {who: float((classes == labels).mean()) for who, classes in found.items()}
        print(f"accuracy: teacher {accuracy['teacher']:.4f}, student {accuracy['student']:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
