"""Peak resident memory of `zskd distill` against the size of the corpus.

The lines are distinct: words of this machine's documentation prose, put together anew from a seed. The teacher is
tiny, and every line becomes an input of the transfer set (`--perturb none`), so that corpus, pool, labels and token
ids all grow with the lines. Each run is a process of its own; its peak is what the kernel reports for it.

    python -m recipes.benchmarks.memory [--lines 10000 100000 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, set_seed

from recipes.benchmarks.common import report
from zskd.config.resolve import cache_root
from zskd.text.corpus import build_corpus
from zskd.text.sources import find_sources

LABELS = ("left", "right")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (8, 24)  # shortest and longest line
STEPS = 50


def vocabulary(count: int) -> list[str]:
    """Words of the documentation prose."""
    corpus = build_corpus(find_sources(["embedded"]), 1.0, cache_root(None))
    found: dict[str, None] = {}
    for text in corpus.sentences["text"]:
        found.update(dict.fromkeys(word.lower() for word in text.split() if word.isalpha()))
        if len(found) >= count:
            break
    return list(found)[:count]


def recombined(words: list[str], lines: int, seed: int) -> Iterator[str]:
    """Lines of words drawn at random; that two are the same is all but impossible."""
    rng = np.random.default_rng(seed)
    for _ in range(lines):
        drawn = rng.integers(len(words), size=rng.integers(*WORDS))
        yield " ".join(words[i] for i in drawn).capitalize() + "."


def tiny_classifier(folder: Path, words: list[str], seed: int) -> None:
    """Save a random BERT of two narrow layers that knows the words."""
    entries = {token: i for i, token in enumerate((*SPECIAL, ".", *words))}
    tokenizer = Tokenizer(models.WordPiece(entries, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    set_seed(seed)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(
        vocab_size=len(entries),
        id2label=dict(enumerate(LABELS)),
        label2id={name: i for i, name in enumerate(LABELS)},
        initializer_range=0.5,
        **shape,
    )
    BertForSequenceClassification(config).save_pretrained(folder)


def peak_of(command: list[str], environment: dict[str, str]) -> float:
    """Run a command; its peak resident memory in MB."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: ended with status {status}")
    return usage.ru_maxrss / 1024


def measure(lines: int, folder: Path) -> dict[str, Any]:
    """One run over so many lines."""
    words = vocabulary(4_000)
    text = folder / f"{lines}.txt"
    with text.open("w", encoding="utf-8") as handle:
        handle.writelines(f"{line}\n" for line in recombined(words, lines, seed=lines))
    for name, seed in (("teacher", 0), ("student", 1)):
        tiny_classifier(folder / name, words, seed)
    task = folder / "task.yaml"
    columns = "text_columns: [text]\nlabel_column: label\ndev_files: {dev: dev.tsv}\n"
    task.write_text(f"labels: [{', '.join(LABELS)}]\n{columns}", encoding="utf-8")
    options = {
        "--task": task,
        "--teacher": folder / "teacher",
        "--student": folder / "student",
        "--corpus": text,
        "--perturb": "none",
        "--pool-size": lines,
        "--max-class-share": 1.0,
        "--epochs": STEPS * 64 / lines,
        "--max-length": 32,
        "--output-dir": folder / f"run-{lines}",
        "--cache-dir": folder / "cache",
    }
    flags = [str(part) for pair in options.items() for part in pair]
    command = [sys.executable, "-m", "zskd", "distill", "--config", "embedded", *flags]
    megabytes = peak_of(command, {**os.environ})
    record = json.loads((folder / f"run-{lines}" / "record.json").read_text(encoding="utf-8"))
    return {"lines": lines, "kept": record["corpus"]["sentences"], "peak MB": round(megabytes)}


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for lines in arguments.lines:
            rows.append(measure(lines, Path(folder)))
            rows[-1]["of the run before"] = round(rows[-1]["peak MB"] / rows[-2]["peak MB"], 3) if rows[1:] else None
            print(rows[-1], flush=True)
    report("memory", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
