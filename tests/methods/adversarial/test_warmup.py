"""The generator's warm-up: it learns the corpus, costs nothing twice, and leaves its embeddings alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from zskd.methods.adversarial import warmup
from zskd.methods.adversarial.generator import build_generator, masked_logits
from zskd.methods.adversarial.warmup import warm_up
from zskd.models.loading import model_fingerprint
from zskd.system.checksums import checksum_file
from zskd.teacher.classifier import Classifier
from zskd.text.corpus import Corpus, build_corpus
from zskd.text.sources import find_sources


@pytest.fixture
def corpus(passages_file: Path, tmp_path: Path) -> Corpus:
    return build_corpus(find_sources([str(passages_file)]), 1.0, tmp_path / "corpus")


def options(folder: Path, **changes: object) -> dict:
    return {
        "pairs": False, "steps": 12, "max_length": 32, "precision": "fp32", "fingerprint": "start",
        "cache": folder / "cache", **changes,
    }  # fmt: skip


def loss(teacher: Classifier, generator: torch.nn.Module, corpus: Corpus) -> float:
    """Masked-LM loss of the third token of 100 sentences."""
    batch = teacher.tokenizer(corpus.sentences["text"][:100], padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    rows, columns = torch.arange(100), torch.full((100,), 3)
    original = inputs["input_ids"][rows, columns]
    inputs["input_ids"][rows, columns] = teacher.tokenizer.mask_token_id
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(masked_logits(generator, inputs, rows, columns), original))


@pytest.mark.parametrize("pairs", [False, True])
def test_it_learns_the_corpus_and_leaves_the_embeddings(
    pairs: bool, teacher: Classifier, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmup, "LEARNING_RATE", 5e-3)
    generator = build_generator(teacher)
    table = generator.get_input_embeddings().weight.clone()
    before = loss(teacher, generator, corpus)
    warm_up(generator, teacher.tokenizer, corpus, **options(tmp_path, pairs=pairs))
    assert loss(teacher, generator, corpus) < before - 1
    assert torch.equal(generator.get_input_embeddings().weight, table)
    assert not generator.training


def test_a_second_warm_up_comes_from_the_cache(
    teacher: Classifier, corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, other = (build_generator(teacher) for _ in range(3))
    assert model_fingerprint(first) == model_fingerprint(second), "the head does not depend on the run's seed"
    warm_up(first, teacher.tokenizer, corpus, **options(tmp_path))
    with caplog.at_level(logging.INFO, "zskd"):
        warm_up(second, teacher.tokenizer, corpus, **options(tmp_path))
    assert "from the cache" in caplog.text
    assert model_fingerprint(first) == model_fingerprint(second)
    kept = next(tmp_path.rglob("model.safetensors"))
    content = kept.read_bytes()
    kept.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    repaired = build_generator(teacher)
    warm_up(repaired, teacher.tokenizer, corpus, **options(tmp_path))
    assert model_fingerprint(repaired) == model_fingerprint(first), "a damaged file is written anew"
    checksum_file(kept).unlink()
    caplog.clear()
    with caplog.at_level(logging.INFO, "zskd"):
        warm_up(second, teacher.tokenizer, corpus, **options(tmp_path))
    assert "from the cache" in caplog.text, "an earlier version wrote no checksums"
    kept.write_bytes(content[:-100])
    assert not warmup._fits(kept, second)
    warm_up(other, teacher.tokenizer, corpus, **options(tmp_path, steps=3))
    assert model_fingerprint(other) != model_fingerprint(first)


def test_only_masked_positions_are_computed_and_they_are_the_models_own(teacher: Classifier) -> None:
    generator = build_generator(teacher).eval()
    batch = teacher.tokenizer(["one bridge", "a river and a bridge"], padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    rows, columns = torch.tensor([0, 1, 1]), torch.tensor([1, 2, 4])
    with torch.no_grad():
        whole = generator(**inputs).logits[rows, columns]
        torch.testing.assert_close(masked_logits(generator, inputs, rows, columns), whole)
