"""What is the transformer worth? Two plain students that learn the same teacher answers as zskd's.

    tfidf   words and pairs of words, TF-IDF; for two texts those of each text and of what they share
    bag     the mean of a start's embeddings (the packaged one's, or --start); for two texts means, differences and
            products
            (both: shares of words in common beside them for two texts)

Each is a ridge regression on the teacher's centred logits. Its penalty is the one with the smallest error on held-out
text. Without --dev it is scored like `recipes.screen`, on rows of the task's TRAINING file; --dev scores the dev file.

    python -m recipes.rivals --data DIR [--tasks sst2 mnli] [--pool-size 60000] [--start FOLDER] [--dev]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from transformers import AutoModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from recipes.answers import teacher_answers
from recipes.cells import cell_config, wikipedia
from recipes.training_rows import training_rows
from zskd.cli.parser import set_up_logging
from zskd.config.resolve import cache_root
from zskd.evaluation.scoring import predict_classes
from zskd.runs.start_record import Start, open_start
from zskd.system.files import write_text
from zskd.tasks.defaults import input_length
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import TASKS, Task
from zskd.teacher.classifier import load_classifier
from zskd.text.corpus import build_corpus
from zskd.text.language import ENGLISH
from zskd.text.shaping import build_pools, text_columns
from zskd.text.sources import find_sources

RESULTS = Path("docs/results/rivals")
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
BATCH = 4_096

Texts = tuple[list[str], ...]
Features = Callable[[Texts], Any]


def words_of(text: str) -> list[str]:
    """The words of a text in lower case.

    Example:
        >>> words_of("It's fine.")
        ["it's", 'fine']
    """
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def shares(texts: Texts) -> np.ndarray:
    """For two texts, how many words they share ``(rows, 3)``: of the first, of the second, of both."""
    found = []
    for one, other in zip(*(map(words_of, column) for column in texts), strict=True):
        left, right = set(one), set(other)
        common = len(left & right)
        found.append([common / max(1, len(part)) for part in (left, right, left | right)])
    return np.array(found, dtype=np.float64)


def tfidf_features(train: Texts) -> Features:
    """Fit `TfidfVectorizer` on each text, and for two also on the words that they share."""

    def columns(texts: Texts) -> list[list[str]]:
        if len(texts) == 1:
            return [texts[0]]
        both = zip(*(map(words_of, column) for column in texts), strict=True)
        return [*texts, [" ".join(word for word in one if word in set(other)) for one, other in both]]

    vectorizers = [
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, tokenizer=words_of, token_pattern=None)
        for _ in columns(tuple([""] for _ in train))
    ]
    for vectorizer, column in zip(vectorizers, columns(train), strict=True):
        vectorizer.fit(column)

    def features(texts: Texts) -> sparse.csr_matrix:
        parts = [vectorizer.transform(c) for vectorizer, c in zip(vectorizers, columns(texts), strict=True)]
        return sparse.hstack([*parts, *([shares(texts)] if len(texts) == 2 else [])]).tocsr()

    return features


def bag_features(start: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Features:
    """The mean of a start's word embeddings over the tokens of a text.

    Args:
        tokenizer: of the teacher, which has the start's vocabulary. A packaged start comes without one.
    """
    table = AutoModel.from_pretrained(start).get_input_embeddings().weight.detach().numpy()

    def mean(column: list[str]) -> np.ndarray:
        rows = []
        for at in range(0, len(column), BATCH):
            encoded = tokenizer(
                column[at : at + BATCH], add_special_tokens=False, truncation=True, max_length=max_length
            )
            rows += [table[ids].mean(axis=0) if ids else np.zeros(table.shape[1]) for ids in encoded["input_ids"]]
        return np.array(rows, dtype=np.float64)

    def features(texts: Texts) -> np.ndarray:
        one, *other = map(mean, texts)
        if not other:
            return one
        return np.hstack([one, other[0], np.abs(one - other[0]), one * other[0], shares(texts)])

    return features


def fitted(
    features: Features, train: Texts, logits: np.ndarray, select: Texts, heldout: np.ndarray
) -> tuple[Any, float]:
    """The ridge regression with the smallest error on held-out text, and its penalty."""
    known, unseen = features(train), features(select)
    best: tuple[float, Any, float] | None = None
    for penalty in PENALTIES:
        model = Ridge(alpha=penalty, solver="lsqr" if sparse.issparse(known) else "cholesky").fit(known, logits)
        error = float(np.square(model.predict(unseen) - heldout).mean())
        if best is None or error < best[0]:
            best = (error, model, penalty)
    assert best is not None
    return best[1], best[2]


def centred(logits: np.ndarray) -> np.ndarray:
    """Logits whose mean over the classes is 0."""
    return logits - logits.mean(axis=1, keepdims=True)


def columns_of(pool: Dataset) -> Texts:
    """The one or two texts of every row."""
    return tuple(list(pool[name]) for name in text_columns(pool))


def measure(
    task: Task, data: Path, names: Sequence[str], pool_size: int | None, seed: int, start: Start, dev: bool
) -> list[dict[str, Any]]:
    """One entry for each rival: accuracy, agreement with the teacher, seconds, and what it learned from."""
    changes = {} if pool_size is None else {"pool_size": pool_size}
    config = cell_config({"task": task.name, "seed": seed, "corpus": wikipedia(data), **changes})
    assert config.pool_size is not None and config.heldout is not None
    cache, length = cache_root(None), input_length(config)
    corpus = build_corpus(find_sources(config.corpus), 1.0, cache)
    pools = build_pools(
        corpus, inputs=task.inputs, size=config.pool_size, heldout=config.heldout, perturb="random",
        seed=config.shaping_seed, cache=cache, language=ENGLISH,
    )  # fmt: skip
    answers = {
        name: centred(teacher_answers(task, config, pool, f"teacher answers {name}"))
        for name, pool in (("transfer", pools.transfer), ("select", pools.select))
    }
    if dev:
        rows = read_labelled(task, next(iter(task.glue_files(data / "glue").values())))
        texts, labels = rows.texts, np.array(rows.labels)
    else:
        texts, labels = training_rows(task, data / "glue")
    loaded = load_classifier(task, "embedded", cache)
    teacher = predict_classes(loaded, texts, length, "fp32")
    found = []
    for name in names:
        began = time.perf_counter()
        train = columns_of(pools.transfer)
        made = tfidf_features(train) if name == "tfidf" else bag_features(start.folder, loaded.tokenizer, length)
        model, penalty = fitted(made, train, answers["transfer"], columns_of(pools.select), answers["select"])
        predicted = model.predict(made(texts)).argmax(axis=1)
        found.append(
            {
                "rival": name,
                "task": task.name,
                "seed": seed,
                "rows": "dev" if dev else "training rows",
                "inputs": len(pools.transfer),
                "penalty": penalty,
                "accuracy": round(float((predicted == labels).mean()), 4),
                "majority": round(float(np.bincount(labels).max() / len(labels)), 4),
                "agreement": round(float((predicted == teacher).mean()), 4),
                "seconds": round(time.perf_counter() - began, 1),
                **({"start": start.record["fingerprint"]} if name == "bag" else {}),
            }
        )
    return found


def main() -> int:
    """Measure the rivals of one task and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/ and ood/")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--rivals", nargs="+", default=["tfidf", "bag"], choices=["tfidf", "bag"])
    parser.add_argument("--pool-size", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", default="packaged", help="folder of a start, whose embeddings the bag takes")
    parser.add_argument("--dev", action="store_true")
    given = parser.parse_args()
    set_up_logging()
    start = open_start(given.start, pair=True)
    for task in given.tasks:
        for entry in measure(TASKS[task], given.data, given.rivals, given.pool_size, given.seed, start, given.dev):
            name = "-".join(str(entry[key]).replace(" ", "-") for key in ("task", "rival", "inputs", "rows", "seed"))
            write_text(RESULTS / f"{name}.json", json.dumps(entry, indent=1) + "\n")
            print(entry, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
