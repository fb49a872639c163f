"""Entry points: embeddings and the states of any layer give what ids give, on ten architectures."""

from __future__ import annotations

import doctest

import pytest
import torch
from architectures import ENTERED, PAD, batch, classifier
from transformers import AutoModel, BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

from zskd.errors import InputError
from zskd.models import entry
from zskd.models.entry import SUPPORTED, count_layers, embeddings, forward
from zskd.models.fast_layers import fast_copy, is_fast

LENGTHS = {"padded": [7, 4, 9], "one length": [6, 6], "one row": [5]}
# Each family, as its layers' settings can differ in published models.
CASES = [(kind, {}) for kind in ENTERED] + [
    ("albert", {"num_hidden_layers": 3, "num_hidden_groups": 2}),
    ("bert", {"num_hidden_layers": 4}),
    ("deberta", {"position_biased_input": False, "type_vocab_size": 0}),
    ("deberta-v2", {"conv_kernel_size": 0, "share_att_key": False, "position_buckets": -1, "type_vocab_size": 0}),
    ("electra", {"embedding_size": 16}),
    ("mpnet", {"num_hidden_layers": 3}),
    ("roberta", {"type_vocab_size": 2, "pad_token_id": 0}),
]  # fmt: skip
every_case = pytest.mark.parametrize(
    ("kind", "changes"), CASES, ids=[" ".join([kind, *map(str, changes)]) for kind, changes in CASES]
)
every_kind = pytest.mark.parametrize("kind", ENTERED)


def attentions(kind: str) -> list[str]:
    """Those that the family has."""
    return ["eager"] if kind in ("mpnet", "deberta", "deberta-v2") else ["sdpa", "eager"]


def inputs_of(kind: str, lengths: list[int], pad: int = PAD) -> dict[str, torch.Tensor]:
    """Arguments of `forward` beside the entry, and the ids."""
    found = batch(kind, lengths)
    ids, mask = found["input_ids"], found["attention_mask"]
    known = {"ids": torch.where(mask == 1, ids, pad), "mask": mask}
    return known | ({"segments": found["token_type_ids"]} if "token_type_ids" in found else {})


def plain(model, ids, mask, segments=None):
    """What the model says by itself, without any entry."""
    more = {} if segments is None else {"token_type_ids": segments}
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, **more)
    return found.logits, found.hidden_states


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@every_case
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_every_entry_gives_what_the_model_gives_by_ids(kind: str, changes: dict, lengths: list[int]) -> None:
    for attention in attentions(kind):
        model = classifier(kind, attention, **changes).requires_grad_(False)
        inputs = inputs_of(kind, lengths, model.config.pad_token_id)
        if changes.get("type_vocab_size") == 2:
            inputs["segments"] = (inputs["ids"] > 30).long()
        logits, states = plain(model, **inputs)
        assert len(states) == count_layers(model) + 1 and len(logits) == len(lengths)
        ids = inputs.pop("ids")
        embeds = embeddings(model, ids)
        assert embeds.shape == (*ids.shape, model.get_input_embeddings().embedding_dim)
        entries = [(0, {"ids": ids}), (0, {"embeds": embeds})]
        entries += [(layer, {"states": state, "layer": layer}) for layer, state in enumerate(states)]
        for layer, entered in entries:
            same(forward(model, **entered, **inputs).logits, logits)
            found = forward(model, **entered, **inputs, want_states=True)
            same(found.logits, logits)
            assert found.states is not None and len(found.states) == len(states) - layer
            for one, other in zip(found.states, states[layer:], strict=True):
                same(one, other)
        assert forward(model, ids=ids, **inputs).states is None


@every_case
@pytest.mark.parametrize("lengths", [[7, 4, 12], [6, 6], [1]], ids=str)
def test_a_fast_model_is_entered_like_the_stock_one(kind: str, changes: dict, lengths: list[int]) -> None:
    model = classifier(kind, **changes).requires_grad_(False)
    quick = fast_copy(model)
    assert is_fast(quick) and not is_fast(model)
    inputs = inputs_of(kind, lengths, model.config.pad_token_id)
    if changes.get("type_vocab_size") == 0:
        inputs.pop("segments", None)
    ids, real = inputs.pop("ids"), inputs["mask"].bool()
    states = forward(model, ids=ids, **inputs, want_states=True).states
    assert states is not None
    entries = [{"ids": ids}, {"embeds": embeddings(model, ids)}]
    entries += [{"states": state, "layer": layer} for layer, state in enumerate(states)]
    for entered in entries:
        found = forward(quick, **entered, **inputs, want_states=True)
        same(found.logits, forward(model, **entered, **inputs).logits)
        assert found.states is not None
        for one, other in zip(found.states, states[entered.get("layer", 0) :], strict=True):
            same(one[real], other[real])


@every_kind
def test_every_state_matters_and_other_states_give_other_logits(kind: str) -> None:
    model, inputs = classifier(kind).requires_grad_(False), inputs_of(kind, [7, 4, 9])
    logits, states = plain(model, **inputs)
    ids = inputs.pop("ids")
    entries = [{"embeds": embeddings(model, ids)}, *({"states": x, "layer": i} for i, x in enumerate(states))]
    for entered in entries:
        name = next(iter(entered))
        changed = forward(model, **{**entered, name: entered[name] + torch.randn_like(entered[name])}, **inputs).logits
        assert (changed - logits).abs().max() > 1e-3
        entered[name] = entered[name].clone()
        entered[name][inputs["mask"] == 0] += 1  # padding is hidden from every token
        if not (kind == "deberta-v2" and entered.get("layer") == 0):  # its convolution sees one place to each side
            same(forward(model, **entered, **inputs).logits, logits)


@every_kind
def test_a_gradient_reaches_the_entry_and_no_weight_of_a_frozen_model(kind: str) -> None:
    """Against a central difference along the gradient, in float64 (DeBERTa normalises in float32)."""
    model, inputs = classifier(kind).double().requires_grad_(False), inputs_of(kind, [6, 4])
    ids = inputs.pop("ids")
    states = forward(model, ids=ids, **inputs, want_states=True).states
    assert states is not None
    entries = [{"embeds": embeddings(model, ids)}, *({"states": x, "layer": i} for i, x in enumerate(states))]
    for entered in entries:
        name = next(iter(entered))
        base = entered[name].clone().requires_grad_()

        def answer(value: torch.Tensor, entered: dict = entered, name: str = name) -> torch.Tensor:
            return forward(model, **{**entered, name: value}, **inputs).logits[:, 0].sum()

        (gradient,) = torch.autograd.grad(answer(base), base)
        assert gradient.norm() > 0
        step = 1e-3 * gradient / gradient.norm()
        with torch.no_grad():
            difference = (answer(base + step) - answer(base - step)) / 2
        torch.testing.assert_close((gradient * step).sum(), difference, rtol=2e-3, atol=0)
    assert all(weight.grad is None for weight in model.parameters())


@every_kind
def test_a_gradient_reaches_the_entry_through_the_states_above(kind: str) -> None:
    model, inputs = classifier(kind).requires_grad_(False), inputs_of(kind, [6, 4])
    embeds = embeddings(model, inputs.pop("ids")).requires_grad_()
    states = forward(model, embeds=embeds, **inputs, want_states=True).states
    assert states is not None
    for state in states:
        (gradient,) = torch.autograd.grad(state[:, 0].square().sum() + state[:, 0, 0].sum(), embeds, retain_graph=True)
        assert gradient.abs().max() > 0


@every_kind
def test_the_model_is_left_as_it_was(kind: str) -> None:
    model, inputs = classifier(kind), inputs_of(kind, [7, 4])
    before = {name: (id(module), len(module._forward_hooks)) for name, module in model.named_modules()}
    config, logits = model.config.to_dict(), forward(model, **inputs).logits
    ids = inputs.pop("ids")
    states = forward(model, ids=ids, **inputs, want_states=True).states
    assert states is not None
    forward(model, states=states[1], layer=1, **inputs, want_states=True)
    forward(model, states=states[2], layer=2, **inputs)
    assert {n: (id(m), len(m._forward_hooks)) for n, m in model.named_modules()} == before
    assert model.config.to_dict() == config
    assert torch.equal(forward(model, ids=ids, **inputs).logits, logits)
    # Weights are shared: a view sees what is done to the model, and a gradient reaches it where it is not frozen.
    states[1].sum().backward()
    assert model.get_input_embeddings().weight.grad is not None


def test_code_around_the_models_own_is_left_out() -> None:
    """Machine code and wrapped forwards would call the model itself, with all its layers."""
    model, inputs = classifier("bert"), inputs_of("bert", [7, 4])
    expected, states = plain(model, **inputs)
    inputs.pop("ids")

    def wrong(*_, **__):
        raise AssertionError("the whole model was called")

    model._compiled_call_impl = wrong
    model.forward = model.bert.forward = wrong
    same(forward(model, states=states[1], layer=1, **inputs).logits, expected)


def test_hooks_of_others_still_see_what_passes() -> None:
    model, inputs = classifier("bert"), inputs_of("bert", [7, 4])
    seen: list[str] = []
    model.register_forward_hook(lambda *_: seen.append("model"))
    model.bert.encoder.layer[0].register_forward_hook(lambda *_: seen.append("layer"))
    forward(model, **inputs)
    assert seen == ["layer", "model"]


def test_a_mask_of_booleans_is_a_mask() -> None:
    for kind in ENTERED:
        model, inputs = classifier(kind), inputs_of(kind, [7, 4])
        expected = forward(model, **inputs).logits
        assert torch.equal(forward(model, **{**inputs, "mask": inputs["mask"].bool()}).logits, expected)


@pytest.mark.parametrize("kind", ["distilbert", "mpnet"])
def test_families_without_segments_read_none(kind: str) -> None:
    model, inputs = classifier(kind), inputs_of(kind, [7, 4])
    with_segments = forward(model, **inputs, segments=torch.ones_like(inputs["ids"])).logits
    assert torch.equal(with_segments, forward(model, **inputs).logits)


def test_segments_matter_where_there_are_some() -> None:
    for kind in ("bert", "electra", "albert", "deberta", "deberta-v2"):
        model, inputs = classifier(kind), inputs_of(kind, [7, 9])
        other = inputs | {"segments": 1 - inputs["segments"]}
        assert not torch.allclose(forward(model, **inputs).logits, forward(model, **other).logits, atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    model, inputs = classifier("bert"), inputs_of("bert", [7, 4])
    ids = inputs.pop("ids")
    embeds, states = embeddings(model, ids), torch.zeros(2, 7, 16)
    for entered in ({}, {"ids": ids, "embeds": embeds}, {"embeds": embeds, "states": states, "layer": 1}):
        with pytest.raises(ValueError, match=r"^expected exactly one of ids, embeds and states"):
            forward(model, **entered, **inputs)
    for entered in ({"states": states}, {"ids": ids, "layer": 0}):
        with pytest.raises(ValueError, match=r"^layer: expected together with states"):
            forward(model, **entered, **inputs)
    for layer in (-1, 3):
        with pytest.raises(ValueError, match=rf"^layer: expected 0 to 2, .* found {layer}"):
            forward(model, states=states, layer=layer, **inputs)


def test_other_architectures_are_refused_by_name() -> None:
    assert set(SUPPORTED) == set(ENTERED)
    shape = {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 1}
    other = GPT2ForSequenceClassification(GPT2Config(**shape, pad_token_id=0))
    mask = torch.ones(1, 3, dtype=torch.long)
    with pytest.raises(InputError, match=r"^model: .*\(model_type one of albert, bert, .*found model_type gpt2; "):
        forward(other, ids=mask, mask=mask)
    with pytest.raises(InputError, match=r"^--teacher x: "):
        entry.check_entry(other, "--teacher x")
    with pytest.raises(InputError, match=r"^model: expected a sequence classifier, found BertModel"):
        forward(AutoModel.from_config(classifier("bert").config), ids=mask, mask=mask)
    assert count_layers(BertForSequenceClassification(BertConfig(num_hidden_layers=1, hidden_size=12))) == 1


def test_the_example_of_the_module() -> None:
    found = doctest.testmod(entry)
    assert found.attempted >= 7 and not found.failed
