"""Every teacher answers the same questions: logits in the task's order, states and weights where it has them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from architectures import SHAPES
from architectures import classifier as random_classifier
from conftest import prose, tiny_bert, word_tokenizer

from zskd.errors import InputError
from zskd.models.encoding import Cuts
from zskd.models.fast_layers import is_fast
from zskd.models.loading import model_fingerprint
from zskd.models.tokenizers import tokenizer_fingerprint
from zskd.system.precision import pick_precision
from zskd.tasks.task import TASKS
from zskd.teacher.base import Teacher
from zskd.teacher.blackbox import load_black_box
from zskd.teacher.classifier import Classifier, classifier_from

SST2 = TASKS["sst2"]
TEXTS = [" ".join(line.split()[: 2 + i % 9]) for i, line in enumerate(prose(30, seed=5))]


def ask(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


@pytest.fixture
def turned(teacher: Classifier) -> Classifier:
    """The teacher with its classes the other way round."""
    return replace(teacher, order=teacher.order[::-1])


def test_logits_are_in_the_tasks_order_whatever_the_kind(teacher: Classifier, turned: Classifier) -> None:
    own = teacher.own_logits(teacher.prepare((TEXTS,), 32), "fp32")
    np.testing.assert_array_equal(teacher.logits((TEXTS,), max_length=32), own)
    np.testing.assert_array_equal(turned.logits((TEXTS,), max_length=32), own[:, ::-1])
    tensor = torch.tensor(own, requires_grad=True)
    assert turned.in_task_order(tensor).tolist() == own[:, ::-1].tolist()
    with torch.inference_mode():
        turned.in_task_order(torch.tensor(own))
    (turned.in_task_order(tensor)[:, 0].sum() * 2).backward()
    assert tensor.grad is not None and tensor.grad.sum(dim=0).tolist() == [0.0, 2.0 * len(own)]


def test_what_a_teacher_says_of_itself(teacher: Classifier) -> None:
    box: Teacher = load_black_box(SST2, ask)
    assert (box.device_type, box.tokenizer, box.num_labels) == (None, None, 2)
    assert (teacher.device_type, teacher.num_labels) == ("cpu", 2)
    for asked in ("auto", "fp32", "bf16"):
        assert teacher.precision(asked) == pick_precision(asked, torch.device("cpu"))
        assert box.precision(asked) == "its own"
    assert box.for_inference("bf16", compile=True) is box
    assert teacher.require_weights("--anything") is teacher


def test_the_key_holds_the_length_that_the_tokenizer_allows(teacher: Classifier) -> None:
    assert teacher.cache_key("fp32", 512) == teacher.cache_key("fp32", teacher.tokenizer.model_max_length)
    assert teacher.cache_key("fp32", 32) != teacher.cache_key("fp32", 33)


def test_a_callable_has_neither_states_nor_weights() -> None:
    box = load_black_box(SST2, ask)
    with pytest.raises(InputError, match=r"^--student build: a callable teacher has no weights"):
        box.require_weights("--student build")
    with pytest.raises(InputError, match=r"^states: a callable teacher has no weights"):
        box.states((TEXTS,), max_length=32)
    with pytest.raises(InputError, match="output layer: a callable teacher has no weights"):
        box.output_weights()


def test_output_weights_are_in_the_tasks_order(teacher: Classifier, turned: Classifier) -> None:
    assert torch.equal(teacher.output_weights(), teacher.model.classifier.weight)
    assert torch.equal(turned.output_weights(), teacher.output_weights().flip(0))
    model = tiny_bert(len(teacher.tokenizer), SST2.labels)
    model.classifier = torch.nn.Identity()
    bare = classifier_from(SST2, model, teacher.tokenizer, name="bare")
    with pytest.raises(InputError, match="--teacher bare: expected a linear output layer with 2 rows"):
        bare.output_weights()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_states_are_what_berts_pooler_reads(teacher: Classifier, precision: str) -> None:
    found = teacher.states((TEXTS,), max_length=32, precision=precision)
    hidden = teacher.model.config.hidden_size
    assert found.dtype == np.float16 and found.shape == (len(TEXTS), hidden)
    seen: list[torch.Tensor] = []
    with torch.inference_mode(), teacher.model.bert.pooler.register_forward_pre_hook(lambda _, x: seen.append(x[0])):
        for text in TEXTS:
            teacher.model(**teacher.tokenizer(text, return_tensors="pt"))
    direct = torch.stack([states[0, 0] for states in seen]).numpy()
    np.testing.assert_allclose(found, direct, atol=2e-3 if precision == "fp32" else 0.1)


@pytest.mark.parametrize("kind", SHAPES)
def test_states_of_every_architecture_are_the_first_tokens_last(kind: str) -> None:
    tokenizer = word_tokenizer([])
    if kind in ("distilbert", "roberta"):
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    model = random_classifier(kind)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id)
    one = classifier_from(None, model, tokenizer, name=kind)
    texts = ["a", "b c d e f g", "h i", "j k l m n o p q r s t"]
    found = one.states((texts,), max_length=16)
    with torch.inference_mode():
        for row, text in zip(found, texts, strict=True):
            output = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
            np.testing.assert_allclose(row, output.hidden_states[-1][0, 0].numpy(), atol=2e-3)
    tokenizer.padding_side = "left"
    if kind == "distilbert":  # its positions are counted from the left end, so that padding there changes the states
        return
    moved = one.states((["a"],), max_length=16)
    np.testing.assert_allclose(moved, found[:1], atol=2e-3)
    quick = one.for_inference("fp32")  # a last layer of first places would have padding
    padded = one.states((texts,), max_length=16)
    np.testing.assert_allclose(quick.states((texts,), max_length=16), padded, atol=2e-3)


def test_states_that_float16_does_not_hold_are_refused(teacher: Classifier) -> None:
    model = copy.deepcopy(teacher.model)
    with torch.no_grad():
        model.bert.encoder.layer[-1].output.LayerNorm.weight.mul_(1e6)
    loud = replace(teacher, model=model)
    with pytest.raises(InputError, match=r"^states: expected pooled states of .* up to 65,504"):
        loud.states((TEXTS,), max_length=32)


# Models in memory.


def test_a_model_in_memory_is_frozen_and_known_by_its_weights(teacher: Classifier) -> None:
    model = tiny_bert(len(teacher.tokenizer), ("Positive", "NEGATIVE")).train()
    made = classifier_from(SST2, model, teacher.tokenizer, name="mine")
    assert made.model is model and not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert made.order == (1, 0) and made.name == "mine"
    assert made.fingerprint == model_fingerprint(model)
    assert made.tokenizer_fingerprint == tokenizer_fingerprint(teacher.tokenizer)
    named = classifier_from(
        SST2,
        tiny_bert(len(teacher.tokenizer), ("LABEL_0", "LABEL_1")),
        teacher.tokenizer,
        name="mine",
        label_map={"LABEL_0": "positive", "LABEL_1": "negative"},
    )
    assert named.order == (1, 0)
    assert classifier_from(None, model, teacher.tokenizer, name="mine").order == (0, 1)


def test_other_labels_are_refused(teacher: Classifier) -> None:
    with pytest.raises(InputError, match="mine: expected the labels negative, positive, found a, b"):
        classifier_from(SST2, tiny_bert(len(teacher.tokenizer), ("a", "b")), teacher.tokenizer, name="mine")


def test_a_student_that_is_scored_can_be_trained_further_and_is_never_cached(teacher: Classifier) -> None:
    model = tiny_bert(len(teacher.tokenizer), SST2.labels).train()
    student = classifier_from(SST2, model, teacher.tokenizer, name="student", frozen=False)
    assert all(weight.requires_grad for weight in model.parameters()) and not model.training
    assert student.logits((TEXTS,), max_length=32).shape == (len(TEXTS), 2)
    with pytest.raises(InputError, match="student: expected a classifier with a fingerprint"):
        student.cache_key("fp32", 32)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_a_copy_for_inference_differs_by_rounding(precision: str, tolerance: float, turned: Any) -> None:
    made = turned.for_inference(precision)
    assert (made.order, made.fingerprint, made.compiled) == (turned.order, turned.fingerprint, False)
    assert is_fast(made.model) and not is_fast(turned.model)
    expected, found = (each.logits((TEXTS,), max_length=32, precision=precision) for each in (turned, made))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    states = [each.states((TEXTS,), max_length=32, precision=precision) for each in (turned, made)]
    np.testing.assert_allclose(states[1], states[0], rtol=0, atol=tolerance * np.abs(states[0]).max() + 1e-3)


def test_inputs_that_it_cannot_read_are_refused(teacher: Classifier) -> None:
    assert teacher.reading_length == 128 and teacher.trained_length is None
    for ask in (teacher.logits, teacher.states):
        with pytest.raises(InputError, match="--max-length 129: expected at most the 128 positions"):
            ask((["a fine film"],), max_length=129)
    teacher.check_length(128)
    with pytest.raises(InputError, match="of --teacher x"):
        teacher.check_length(129, "--teacher x")


def test_what_is_cut_is_counted(teacher: Classifier) -> None:
    cuts = Cuts(10)
    teacher.logits((["a fine film", "fine " * 30],), max_length=10, cuts=cuts)
    assert (cuts.rows, cuts.cut) == (2, 1)


SEGMENTS = ["input_ids", "token_type_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("task", "listed", "rows", "said"),
    [
        ("rte", None, 2, True),
        ("rte", SEGMENTS, 2, False),
        ("rte", ["input_ids", "attention_mask"], 2, False),
        ("rte", None, 1, False),
        ("sst2", None, 2, False),
        (None, None, 2, False),
    ],
)
def test_a_teacher_of_pairs_that_may_have_had_segments_is_read_without_and_says_so(
    task: str | None, listed: list[str] | None, rows: int, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer, labels = word_tokenizer(prose(20)), TASKS[task or "sst2"].labels
    if listed:
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = listed
    model = tiny_bert(len(tokenizer), labels)
    model.config.type_vocab_size = rows
    made = classifier_from(TASKS[task] if task else None, model, tokenizer, name="x", shown="--teacher x")
    assert ("--teacher x: it is read without segments" in caplog.text) == said
    assert ("token_type_ids" in made.prepare((["a"], ["b"]), 16)) == (listed == SEGMENTS)
