"""The adversary that learns from ranks: which candidate it keeps, what it learns, what text the teacher gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_bert, word_tokenizer
from decided import LABELS, Judge, decided_teacher
from test_gradient import inputs, place
from transformers import PreTrainedModel

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.methods.adversarial.candidates import CandidateAdversary
from zskd.methods.adversarial.generator import build_generator
from zskd.metrics.divergence import kl_divergence
from zskd.models.fast_layers import is_fast
from zskd.teacher.classifier import Classifier

ONLY = {"anchor_weight": 0.0, "confidence_weight": 0.0, "balance_weight": 0.0, "diversity_weight": 0.0}


@pytest.fixture(scope="module")
def teacher() -> Classifier:
    """A random teacher with decided opinions."""
    return decided_teacher()


def candidate_adversary(teacher: Classifier, judge: Any, **changes: Any) -> CandidateAdversary:
    torch.manual_seed(0)
    return CandidateAdversary(build_generator(teacher), teacher.tokenizer, judge, AdversarialOptions(**changes))


def student_for(teacher: Classifier) -> PreTrainedModel:
    return tiny_bert(len(teacher.tokenizer), LABELS, seed=2)


@pytest.mark.parametrize("pairs", [False, True])
def test_the_candidate_with_the_largest_divergence_is_kept(teacher: Classifier, pairs: bool) -> None:
    judge = Judge(teacher)
    made, student = candidate_adversary(teacher, judge, row_candidates=5, **ONLY), student_for(teacher)
    batch = inputs(teacher, pairs=pairs)
    written = made.rewrite(student, batch, place(), learn=False)
    (texts,) = judge.asked
    assert len(texts) == 1 + pairs and len(texts[0]) == 5 * 16 == written.queries and made.queries_per_row() == 5
    choices, _ = made.fill(batch, place(), 5)
    ids = [choice.write_into(batch["input_ids"]) for choice in choices]
    with torch.no_grad():
        q = torch.stack([student(**{**batch, "input_ids": each}).logits for each in ids])
    p = torch.from_numpy(np.stack([Judge(teacher)(made.texts({**batch, "input_ids": each})) for each in ids]))
    divergences = kl_divergence(p.flatten(0, 1), q.flatten(0, 1)).view(5, 16)
    torch.testing.assert_close(written.divergence, divergences.max(dim=0).values, rtol=1e-3, atol=1e-5)
    for row, best in enumerate(divergences.argmax(dim=0).tolist()):
        assert torch.equal(written.inputs["input_ids"][row], ids[best][row])
        torch.testing.assert_close(written.teacher_logits[row], p[best, row], rtol=1e-2, atol=1e-2)
    assert written.divergence.mean() > divergences.mean()


@pytest.mark.parametrize("pairs", [False, True])
def test_the_teacher_reads_the_text_that_the_ids_stand_for(teacher: Classifier, pairs: bool) -> None:
    batch = inputs(teacher, pairs=pairs)
    texts = candidate_adversary(teacher, Judge(teacher)).texts(batch)
    encoded = teacher.tokenizer(*texts, padding=True, return_tensors="pt")
    assert torch.equal(encoded["input_ids"], batch["input_ids"])


def test_unknown_words_do_not_divide_a_text() -> None:
    tokenizer = word_tokenizer(["one two"])
    one = Classifier("t", tiny_bert(len(tokenizer), LABELS), tokenizer, (0, 1, 2), 1, "", "")
    made = CandidateAdversary(build_generator(one), tokenizer, Judge(one), AdversarialOptions())
    encoded = tokenizer(["one \u4e2d two"], ["two"], return_tensors="pt")
    assert made.texts(dict(encoded)) == (["one [UNK] two"], ["two"])


def test_learning_from_ranks_makes_better_candidates_likelier(teacher: Classifier) -> None:
    """A teacher whose answer depends on half of the words: writing them is what pays."""
    favourites = {token for token, index in teacher.tokenizer.get_vocab().items() if index % 2}

    def judge(texts: tuple[list[str], ...]) -> np.ndarray:
        words = [text.split() for text in texts[0]]
        shares = [sum(word in favourites for word in row) / len(row) for row in words]
        return np.array([[20 * share, 0, 0] for share in shares], np.float32)

    made = candidate_adversary(teacher, judge, row_candidates=8, token_candidates=0, mask_rate=0.5, **ONLY)
    student, batch = student_for(teacher), inputs(teacher, 32)
    weights = [weight for weight in made.generator.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=1e-3)

    def share(step: int) -> float:
        choices, _ = made.fill(batch, place(32, step=step), 8)
        return float(torch.stack([(choice.tokens % 2).float().mean() for choice in choices]).mean())

    before = share(100)
    for step in range(15):
        written = made.rewrite(student, batch, place(32, step=step), learn=True)
        assert written.loss is not None
        found = torch.autograd.grad(written.loss, weights, allow_unused=True)
        for weight, gradient in zip(weights, found, strict=True):
            weight.grad = gradient
        optimizer.step()
    assert share(100) > before + 0.1


def test_in_bfloat16_the_generator_learns_with_finite_gradients(teacher: Classifier) -> None:
    torch.manual_seed(0)
    made = CandidateAdversary(
        build_generator(teacher), teacher.tokenizer, Judge(teacher), AdversarialOptions(), precision="bf16"
    )
    made.to(torch.device("cpu"))
    assert is_fast(made.generator)
    exact = candidate_adversary(teacher, Judge(teacher))
    batch = inputs(teacher)
    rounded, wanted = (each.fill(batch, place())[1] for each in (made, exact))
    assert not torch.equal(rounded, wanted)
    torch.testing.assert_close(rounded, wanted, rtol=0.02, atol=0.02)
    written = made.rewrite(student_for(teacher), batch, place(), learn=True)
    found = torch.autograd.grad(written.loss, made.trainable(), allow_unused=True)
    learned = torch.cat([gradient.ravel() for gradient in found if gradient is not None])
    assert learned.dtype == torch.float32 and learned.isfinite().all() and learned.any()


def test_an_unsure_teacher_and_a_common_class_count_against_a_candidate(teacher: Classifier) -> None:
    student, batch = student_for(teacher), inputs(teacher)

    def kept(**changes: Any) -> torch.Tensor:
        made = candidate_adversary(teacher, Judge(teacher), row_candidates=8, **{**ONLY, **changes})
        return made.rewrite(student, batch, place(), learn=False).teacher_logits

    def unevenness(logits: torch.Tensor) -> float:
        return float(logits.softmax(-1).mean(0).max())

    assert unevenness(kept(balance_weight=50.0)) < unevenness(kept())


def test_places_and_parts_are_those_of_the_gradient_adversary(teacher: Classifier) -> None:
    made, student, batch = candidate_adversary(teacher, Judge(teacher)), student_for(teacher), inputs(teacher)
    whole = made.rewrite(student, batch, place(), learn=False)
    half = {name: value[8:] for name, value in batch.items()}
    made.options.balance_weight = 0.0  # its slope is the batch's
    part = made.rewrite(student, half, place(8, first=8, whole=16), learn=False)
    whole = made.rewrite(student, batch, place(), learn=False)
    assert torch.equal(part.inputs["input_ids"], whole.inputs["input_ids"][8:])
