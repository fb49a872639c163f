"""The adversary: gradient signs, what it may write, and which weights change."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_bert, word_tokenizer
from decided import LABELS, TEXTS, decided_teacher

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.errors import InputError
from zskd.methods.adversarial.generator import build_generator, usable_tokens
from zskd.methods.adversarial.gradient import GradientAdversary
from zskd.methods.adversarial.writer import Rewritten
from zskd.methods.step import Step
from zskd.metrics.divergence import kl_divergence
from zskd.models.fast_layers import is_fast
from zskd.models.loading import model_fingerprint
from zskd.teacher.classifier import Classifier
from zskd.transfer.collator import TransferCollator


@pytest.fixture(scope="module")
def teacher() -> Classifier:
    """The same teacher for every test; none of them changes it."""
    return decided_teacher()


def adversary(teacher: Classifier, **changes: Any) -> GradientAdversary:
    torch.manual_seed(0)
    return GradientAdversary(build_generator(teacher), teacher, AdversarialOptions(**changes))


def inputs(teacher: Classifier, count: int = 16, *, pairs: bool = False) -> dict[str, torch.Tensor]:
    texts = (TEXTS[:count], TEXTS[count : 2 * count]) if pairs else (TEXTS[:count],)
    names = ["input_ids", "token_type_ids"] if pairs else ["input_ids"]
    encoded = teacher.tokenizer(*texts, truncation=True, max_length=40, return_token_type_ids=pairs)
    rows = [{n: encoded[n][i] for n in names} | {"teacher_logits": np.zeros(3)} for i in range(count)]
    batch = TransferCollator(0)(rows)
    return {name: value for name, value in batch.items() if name != "teacher_logits"}


def place(count: int = 16, step: int = 0, first: int = 0, whole: int | None = None, micros: int = 1) -> Step:
    return Step(step, 100, 0, np.arange(first, first + count), whole=count if whole is None else whole, micros=micros)


def rewrite(made: GradientAdversary, student: Any, batch: dict, *, learn: bool = True, **where: int) -> Rewritten:
    count = len(batch["input_ids"])
    return made.rewrite(student, batch, place(count, **where), learn=learn)


def gradients(made: GradientAdversary, loss: torch.Tensor) -> list[torch.Tensor]:
    weights = [weight for weight in made.generator.parameters() if weight.requires_grad]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


ONLY = {"anchor_weight": 0.0, "confidence_weight": 0.0, "balance_weight": 0.0, "diversity_weight": 0.0}


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("candidates", [0, 64])
def test_one_small_generator_step_raises_the_divergence_and_one_student_step_lowers_it(
    teacher: Classifier, pairs: bool, candidates: int
) -> None:
    """On the expectation over choices, of which the straight-through gradient is an estimate: many places at once."""
    student = tiny_bert(len(teacher.tokenizer), LABELS, seed=2)
    made = adversary(teacher, token_candidates=candidates, **ONLY)
    batch = inputs(teacher, 32, pairs=pairs)
    before = rewrite(made, student, batch)
    weights = [weight for weight in made.generator.parameters() if weight.requires_grad]
    found = torch.autograd.grad(before.loss, weights, allow_unused=True)
    assert sum(float(g.abs().sum()) for g in found if g is not None) > 0
    with torch.no_grad():
        for weight, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                weight -= 0.3 * gradient / torch.stack([g.norm() for g in found if g is not None]).norm()
    after = rewrite(made, student, batch, learn=False)
    assert torch.equal(after.written[0], before.written[0]) and torch.equal(after.written[1], before.written[1])
    assert after.divergence.mean() > before.divergence.mean() > 0

    student.eval().zero_grad()
    loss = kl_divergence(after.teacher_logits, student(**after.inputs).logits).mean()
    assert float(loss.detach()) == pytest.approx(float(after.divergence.mean()), rel=1e-5)
    loss.backward()
    with torch.no_grad():
        for weight in student.parameters():
            weight -= 1e-3 * weight.grad
        assert kl_divergence(after.teacher_logits, student(**after.inputs).logits).mean() < loss


def test_nothing_is_to_be_gained_from_a_student_that_is_the_teacher(teacher: Classifier) -> None:
    straight = Classifier(**{**vars(teacher), "order": (0, 1, 2)})
    made = adversary(straight, **ONLY)
    student = copy.deepcopy(teacher.model)
    written = rewrite(made, student, inputs(teacher))
    assert written.divergence.abs().max() < 1e-6
    largest = max(float(g.abs().max()) for g in gradients(made, written.loss))
    other = rewrite(made, tiny_bert(len(teacher.tokenizer), LABELS, seed=2), inputs(teacher))
    assert largest < 1e-3 * max(float(g.abs().max()) for g in gradients(made, other.loss))


def test_a_student_that_is_not_asked_changes_nothing_that_is_written(teacher: Classifier) -> None:
    made, batch, asked = adversary(teacher), inputs(teacher), []
    student = tiny_bert(len(teacher.tokenizer), LABELS)
    student.register_forward_hook(lambda *_: asked.append(1))
    whole = rewrite(made, student, batch, learn=False)
    part = made.rewrite(student, batch, place(16), learn=False, compare=False)
    assert asked == [1] and part.divergence is None and part.student_logits is None
    assert torch.equal(part.inputs["input_ids"], whole.inputs["input_ids"])
    assert torch.equal(part.teacher_logits, whole.teacher_logits)
    assert set(whole.terms) - set(part.terms) == {"divergence"}
    learnt = made.rewrite(student, batch, place(16), learn=True, compare=False)
    assert learnt.loss is not None and learnt.divergence is not None


def test_the_gradient_reaches_the_generator_through_both_networks(teacher: Classifier) -> None:
    made, batch = adversary(teacher, **ONLY), inputs(teacher)
    student = tiny_bert(len(teacher.tokenizer), LABELS, seed=2)
    both = torch.cat([g.ravel() for g in gradients(made, rewrite(made, student, batch).loss)])
    flat = copy.deepcopy(made)
    flat.teacher.requires_grad_(False)
    whole = flat.teacher.forward
    flat.teacher.forward = lambda **kwargs: type("Output", (), {"logits": whole(**kwargs).logits.detach()})
    through_student = torch.cat([g.ravel() for g in gradients(flat, rewrite(flat, student, batch).loss)])
    assert through_student.norm() > 0
    assert (both - through_student).norm() > 0.1 * both.norm(), "the teacher's part is missing"


def test_no_weight_of_teacher_or_student_changes_or_keeps_a_gradient(teacher: Classifier) -> None:
    student = tiny_bert(len(teacher.tokenizer), LABELS, seed=2)
    hashes = model_fingerprint(teacher.model), model_fingerprint(student)
    made = adversary(teacher)
    written = rewrite(made, student, inputs(teacher))
    gradients(made, written.loss)
    assert (model_fingerprint(teacher.model), model_fingerprint(student)) == hashes
    assert all(weight.grad is None for model in (teacher.model, student) for weight in model.parameters())
    assert all(weight.requires_grad for weight in student.parameters())


def test_logits_are_in_the_order_of_the_task_and_are_those_of_the_rewritten_ids(teacher: Classifier) -> None:
    written = rewrite(adversary(teacher), tiny_bert(len(teacher.tokenizer), LABELS), inputs(teacher), learn=False)
    with torch.no_grad():
        expected = teacher.model(**written.inputs).logits[:, list(teacher.order)]
    assert torch.equal(written.teacher_logits, expected)
    assert written.loss is None and written.queries == 16


def test_in_bfloat16_the_answers_are_float32_and_gradients_finite(teacher: Classifier) -> None:
    batch = inputs(teacher)
    torch.manual_seed(0)
    made = GradientAdversary(build_generator(teacher), teacher, precision="bf16")
    made.to(torch.device("cpu"))
    student = tiny_bert(len(teacher.tokenizer), LABELS, seed=2)
    written = rewrite(made, student, batch)
    assert written.teacher_logits.dtype == written.divergence.dtype == torch.float32
    assert torch.cat([g.ravel() for g in gradients(made, written.loss)]).isfinite().all()
    assert [is_fast(model) for model in (made.teacher, made.generator, teacher.model)] == [True, True, False]


def test_no_gradient_goes_through_float16(teacher: Classifier) -> None:
    student, batch = tiny_bert(len(teacher.tokenizer), LABELS, seed=2), inputs(teacher)
    found = []
    for precision in ("fp32", "fp16"):
        torch.manual_seed(0)
        made = GradientAdversary(build_generator(teacher), teacher, precision=precision)
        written = rewrite(made, student, batch)
        found.append((written.teacher_logits, written.loss, *gradients(made, written.loss)))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("candidates", [0, 16])
@pytest.mark.parametrize("temperature", [0.05, 3.0])
def test_every_gradient_is_finite_and_every_term_has_one(
    teacher: Classifier, candidates: int, temperature: float
) -> None:
    """Also where most of a vocabulary's probabilities underflow to zero, and where special tokens are excluded."""
    student, batch = tiny_bert(len(teacher.tokenizer), LABELS, seed=2), inputs(teacher)
    settings = {"token_candidates": candidates, "gumbel_start": temperature, "gumbel_end": temperature}
    seen = []
    for name in (None, *ONLY):
        weights = {**ONLY, name: 1.0} if name else ONLY
        made = adversary(teacher, **settings, **weights)
        with torch.no_grad():
            made.generator.get_output_embeddings().bias[20:40] -= 1e4
        if name == "confidence_weight":
            made.teacher = copy.deepcopy(made.teacher)
            with torch.no_grad():
                made.teacher.classifier.weight.mul_(0.01)
                made.teacher.classifier.bias.mul_(0.01)
        written = rewrite(made, student, batch)
        found = torch.cat([g.ravel() for g in gradients(made, written.loss)])
        assert torch.isfinite(found).all() and all(map(np.isfinite, written.terms.values())), name
        seen.append(found)
    assert seen[0].abs().max() > 0
    for found in seen[1:]:
        assert not torch.allclose(found, seen[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("pairs", [False, True])
def test_only_a_share_of_the_ordinary_places_is_rewritten(teacher: Classifier, pairs: bool) -> None:
    batch = inputs(teacher, pairs=pairs)
    written = rewrite(adversary(teacher, mask_rate=0.4), tiny_bert(len(teacher.tokenizer), LABELS), batch, learn=False)
    rows, columns = written.written
    special = torch.tensor(teacher.tokenizer.all_special_ids)
    assert not torch.isin(batch["input_ids"][rows, columns], special).any()
    assert not torch.isin(written.inputs["input_ids"][rows, columns], special).any()
    changed = written.inputs["input_ids"] != batch["input_ids"]
    assert changed.any() and changed.sum() == changed[rows, columns].sum()
    for name in batch.keys() - {"input_ids"}:
        assert torch.equal(written.inputs[name], batch[name])
    ordinary = ~torch.isin(batch["input_ids"], special)
    written_in = torch.bincount(rows, minlength=16)
    if not pairs:
        assert torch.equal(written_in.double(), (0.4 * ordinary.sum(dim=1).double()).round().clamp(min=1))
        return
    # Of a pair one text keeps all of its words, the first or the second, and the other most of them.
    side = batch["token_type_ids"]
    chosen = torch.stack([side[row, columns[rows == row]].unique() for row in range(16)])
    assert chosen.shape == (16, 1) and len(chosen.unique()) == 2
    most = (0.4 * (ordinary & (side == chosen)).sum(dim=1).double()).round().clamp(min=1)
    assert (written_in >= 1).all() and (written_in <= most).all() and (written_in < most).any()
    if pairs:
        sides = batch["token_type_ids"][rows, columns]
        assert 0.2 < sides.double().mean() < 0.8, "either text"


def test_everything_random_is_a_function_of_seed_step_and_place(teacher: Classifier) -> None:
    student, batch = tiny_bert(len(teacher.tokenizer), LABELS), inputs(teacher)
    made = adversary(teacher)
    whole = rewrite(made, student, batch, learn=False).inputs["input_ids"]
    torch.manual_seed(99)
    assert torch.equal(rewrite(made, student, batch, learn=False).inputs["input_ids"], whole)
    half = {name: value[8:] for name, value in batch.items()}
    assert torch.equal(rewrite(made, student, half, learn=False, first=8).inputs["input_ids"], whole[8:])
    assert not torch.equal(rewrite(made, student, half, learn=False).inputs["input_ids"], whole[8:])
    assert not torch.equal(rewrite(made, student, batch, learn=False, step=1).inputs["input_ids"], whole)


def test_parts_of_a_batch_add_up_to_the_whole(teacher: Classifier) -> None:
    """With the terms of single rows; those of the whole batch are stricter in parts."""
    student, batch = tiny_bert(len(teacher.tokenizer), LABELS, seed=2), inputs(teacher)
    made = adversary(teacher, balance_weight=0.0, diversity_weight=0.0)
    whole = gradients(made, rewrite(made, student, batch).loss)
    parts = []
    for start, end in ((0, 3), (3, 16)):
        part = {name: value[start:end] for name, value in batch.items()}
        written = made.rewrite(student, part, place(end - start, first=start, whole=16, micros=2), learn=True)
        parts.append(gradients(made, written.loss))
    for one, left, right in zip(whole, *parts, strict=True):
        assert ((left + right) / 2 - one).norm() <= 1e-5 * one.norm() + 1e-9


def test_a_generator_writes_no_special_and_no_unused_token() -> None:
    tokenizer = word_tokenizer(["one two three"])
    tokenizer.add_tokens(["[unused3]", "<unused12>", "unused"])
    usable = usable_tokens(tokenizer, len(tokenizer) + 5)
    named = {token: bool(usable[index]) for token, index in tokenizer.get_vocab().items()}
    refused = {token for token, allowed in named.items() if not allowed}
    assert refused == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused3]", "<unused12>"}
    assert not usable[-5:].any()


def test_a_teacher_without_a_masked_language_model_is_refused(teacher: Classifier) -> None:
    other = copy.deepcopy(teacher)
    other.model.config.model_type = "gpt2"
    with pytest.raises(InputError, match="albert, bert, distilbert, electra, roberta, found gpt2"):
        build_generator(other)
