"""The live teacher: answers in the task's order, gradients to embeddings and states alone, every row counted."""

from __future__ import annotations

import doctest

import pytest
import torch
from architectures import ENTERED, PAD, batch, classifier
from conftest import word_tokenizer
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedModel

from zskd.errors import InputError
from zskd.models import entry
from zskd.models.fast_layers import is_fast
from zskd.models.segments import with_segments
from zskd.teacher import live
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.classifier import Classifier
from zskd.teacher.live import LiveTeacher, live_teacher

ORDER = (2, 0, 1)
SEGMENTED = with_segments(word_tokenizer(["one word"]))
every_kind = pytest.mark.parametrize("kind", ENTERED)


def teacher(model: PreTrainedModel, order: tuple[int, ...] = ORDER) -> Classifier:
    return Classifier(
        name="tiny",
        model=model,
        tokenizer=SEGMENTED,
        order=order,
        parameters=0,
        fingerprint="weights",
        tokenizer_fingerprint="words",
    )


def inputs_of(kind: str, lengths: list[int]) -> dict[str, torch.Tensor]:
    found = batch(kind, lengths)
    names = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "segments"}
    return {names[name]: value for name, value in found.items()}


@every_kind
def test_all_entries_answer_alike_in_the_tasks_order(kind: str) -> None:
    model, inputs = classifier(kind), inputs_of(kind, [7, 4, 9])
    with torch.no_grad():
        expected = entry.forward(model, **inputs).logits[:, list(ORDER)]
    asked = LiveTeacher(teacher(model))
    by_ids = asked.forward(**inputs, want_states=True)
    ids = inputs.pop("ids")
    assert by_ids.states is not None and len(by_ids.states) == asked.layers + 1 == 3
    entries = [{"embeds": asked.embeddings(ids)}, *({"states": x, "layer": i} for i, x in enumerate(by_ids.states))]
    for logits in (by_ids.logits, *(asked.forward(**entered, **inputs).logits for entered in entries)):
        assert logits.dtype == torch.float32 and not logits.requires_grad
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
    assert asked.queries == 3 * (1 + len(entries)) and asked.backwards == 0


@every_kind
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_reach_embeddings_and_states_and_no_weight(kind: str, precision: str) -> None:
    model, inputs = classifier(kind).requires_grad_(True).train(), inputs_of(kind, [6, 4])
    asked = LiveTeacher(teacher(model), precision)
    ids = inputs.pop("ids")
    states = asked.forward(ids=ids, **inputs, want_states=True).states
    assert states is not None
    entries = [{"embeds": asked.embeddings(ids)}, *({"states": x, "layer": i} for i, x in enumerate(states))]
    for done, entered in enumerate(entries):
        name = next(iter(entered))
        assert entered[name].dtype == torch.float32
        entered[name] = entered[name].clone().requires_grad_()
        with torch.no_grad():  # what is set around the call does not count
            answer = asked.forward(**entered, **inputs, grad=True)
        assert asked.backwards == 2 * done
        answer.logits[:, 0].sum().backward()
        assert entered[name].grad is not None and entered[name].grad.abs().sum() > 0
        assert asked.backwards == 2 * (done + 1)
    assert asked.queries == 2 * (1 + len(entries))
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.parameters())
    assert not any(module.training for module in model.modules())


def test_without_grad_nothing_is_kept() -> None:
    asked, inputs = LiveTeacher(teacher(classifier("bert"))), inputs_of("bert", [6, 4])
    embeds = asked.embeddings(inputs.pop("ids")).requires_grad_()
    with torch.enable_grad():
        answer = asked.forward(embeds=embeds, **inputs, want_states=True)
    assert answer.states is not None and not any(x.requires_grad for x in (answer.logits, *answer.states))
    assert (asked.queries, asked.backwards) == (2, 0)


def test_backward_passes_are_counted_by_rows_each_time_one_passes() -> None:
    asked, inputs = LiveTeacher(teacher(classifier("bert"))), inputs_of("bert", [6, 4, 3])
    embeds = asked.embeddings(inputs.pop("ids")).requires_grad_()
    answer = asked.forward(embeds=embeds, **inputs, grad=True, want_states=True)
    assert answer.states is not None
    answer.logits.sum().backward(retain_graph=True)
    answer.states[1][0].square().sum().backward(retain_graph=True)  # states alone, of one row: all rows are computed
    assert asked.backwards == 6
    (answer.logits.sum() + answer.states[2].square().sum()).backward()  # both at once are one pass
    assert asked.backwards == 9
    other = asked.forward(embeds=embeds.detach(), **inputs, grad=True).logits
    assert not other.requires_grad  # nothing asks for a gradient
    asked.forward(embeds=embeds, **inputs, grad=True)  # and this one is never used
    assert (asked.queries, asked.backwards) == (9, 9)


def test_a_gradient_is_that_of_the_model() -> None:
    model, inputs = classifier("roberta"), inputs_of("roberta", [6, 4])
    asked = LiveTeacher(teacher(model))
    embeds = asked.embeddings(inputs.pop("ids")).requires_grad_()
    answer = asked.forward(embeds=embeds, **inputs, grad=True).logits
    ours = torch.autograd.grad(answer[:, 1].sum(), embeds)[0]
    logits = model(inputs_embeds=embeds, attention_mask=inputs["mask"]).logits
    theirs = torch.autograd.grad(logits[:, ORDER[1]].sum(), embeds)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "deberta-v2"])
def test_bf16_is_autocast_and_float16_is_float32(kind: str) -> None:
    model, inputs = classifier(kind), inputs_of(kind, [7, 4])
    single = LiveTeacher(teacher(model)).forward(**inputs).logits
    half = LiveTeacher(teacher(model), "bf16")
    assert half.precision == "bf16"
    found = half.forward(**inputs, want_states=True)
    assert found.states is not None and all(x.dtype == torch.float32 for x in (found.logits, *found.states))
    assert 0 < (found.logits - single).abs().max() < 0.05
    embeds = half.embeddings(inputs["ids"])
    assert torch.equal(embeds, model.get_input_embeddings()(inputs["ids"]))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        stock = entry.forward(model, **inputs).logits.float()[:, list(ORDER)]
    torch.testing.assert_close(found.logits, stock, rtol=0, atol=0.02)
    small = LiveTeacher(teacher(model), "fp16")
    assert small.precision == "fp32"
    with torch.autocast("cpu", torch.bfloat16):  # an outer autocast is not the teacher's
        assert torch.equal(small.forward(**inputs).logits, single)
    with pytest.raises(InputError, match=r"^precision: expected one of fp32, bf16, fp16, found auto"):
        LiveTeacher(teacher(model), "auto")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_moves_with_all_its_parts(precision: str) -> None:
    """To the device without values, which every machine has."""
    asked = LiveTeacher(teacher(classifier("bert")), precision)
    assert asked.device == torch.device("cpu")
    assert is_fast(asked._model) == (precision == "bf16")
    assert asked.to("meta") is asked and asked.device == torch.device("meta")
    parts = [asked._order, *asked._frozen.state_dict().values(), *asked._model.state_dict().values()]
    assert {part.device.type for part in parts} == {"meta"}
    assert asked.embeddings(torch.zeros(2, 7, dtype=torch.long, device="meta")).shape == (2, 7, 16)
    assert not is_fast(asked._model)


def test_a_family_that_autocast_breaks_computes_in_float32() -> None:
    model, inputs = classifier("deberta"), inputs_of("deberta", [7, 4])
    asked = LiveTeacher(teacher(model), "bf16")
    assert asked.precision == "fp32"
    assert torch.equal(asked.forward(**inputs).logits, LiveTeacher(teacher(model)).forward(**inputs).logits)
    with pytest.raises(RuntimeError, match="overflow"), torch.autocast("cpu", torch.bfloat16):
        entry.forward(model, **inputs)  # once transformers mends it, the exception can go


def test_what_has_no_weights_or_no_entries_is_refused() -> None:
    model = classifier("bert")
    assert live_teacher(teacher(model), "bf16").precision == "bf16"
    box = BlackBox("my.py:ask", lambda texts: texts, (0, 1), "x")
    with pytest.raises(InputError, match=r"^--teacher my.py:ask: live answers: a callable teacher has no weights"):
        live_teacher(box)
    other = GPT2ForSequenceClassification(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(InputError, match=r"^--teacher tiny: .* found model_type gpt2"):
        live_teacher(teacher(other))
    asked, inputs = LiveTeacher(teacher(model)), inputs_of("bert", [7, 4])
    with pytest.raises(ValueError, match=r"^grad: expected with embeds or states"):
        asked.forward(**inputs, grad=True)
    with pytest.raises(ValueError, match=r"^expected exactly one of ids, embeds and states"):
        asked.forward(mask=inputs["mask"])
    assert asked.queries == 0


def test_the_example_of_the_module() -> None:
    ids = torch.tensor([[2, 7, 9, 3], [2, 8, 3, PAD]])
    given = {"teacher": teacher(classifier("bert")), "ids": ids, "mask": (ids != PAD).long()}
    found = doctest.testmod(live, extraglobs=given)
    assert found.attempted >= 5 and not found.failed
