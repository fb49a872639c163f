"""Fast encoders compute what stock ones do: logits, gradients, hidden states; and nothing else of a model changes."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import VOCABULARY, fast
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention

from zskd.models import fast_layers, fast_modules
from zskd.models.fast_layers import READ_FIRST, fast_copy, is_fast, make_fast, make_stock
from zskd.models.frozen import compiled, with_half_weights
from zskd.models.loading import model_fingerprint
from zskd.system.precision import HALVES, autocast

SIZES = {"hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 32}
V1 = SIZES | {"relative_attention": True, "max_relative_positions": 5, "position_biased_input": False}
V2 = V1 | {"norm_rel_ebd": "layer_norm", "share_att_key": True, "position_buckets": 4, "max_relative_positions": 8}
BOTH = ["c2p", "p2c"]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", SIZES),
    "roberta": ("roberta", SIZES),
    "camembert": ("camembert", SIZES),
    "xlm-roberta": ("xlm-roberta", SIZES),
    "electra": ("electra", {**SIZES, "embedding_size": 8}),
    "albert": ("albert", {**SIZES, "embedding_size": 8}),
    "distilbert": ("distilbert", {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32}),
    "mpnet": ("mpnet", SIZES),
    "deberta": ("deberta", {**V1, "pos_att_type": BOTH}),
    "deberta, c2p": ("deberta", {**V1, "pos_att_type": ["c2p"]}),
    "deberta, p2c": ("deberta", {**V1, "pos_att_type": ["p2c"]}),
    "deberta, no terms": ("deberta", {**V1, "pos_att_type": [], "position_biased_input": True}),
    "deberta, absolute": ("deberta", {**SIZES, "relative_attention": False, "pos_att_type": BOTH}),
    "deberta-v2": ("deberta-v2", {**V2, "pos_att_type": BOTH}),
    "deberta-v2, c2p": ("deberta-v2", {**V2, "pos_att_type": ["c2p"]}),
    "deberta-v2, p2c": ("deberta-v2", {**V2, "pos_att_type": ["p2c"]}),
    "deberta-v2, no terms": ("deberta-v2", {**V2, "pos_att_type": [], "position_biased_input": True}),
    "deberta-v2, absolute": ("deberta-v2", {**SIZES, "relative_attention": False, "pos_att_type": BOTH}),
    "deberta-v2, own keys": ("deberta-v2", {**V2, "pos_att_type": BOTH, "share_att_key": False}),
    "deberta-v2, no buckets": ("deberta-v2", {**V2, "pos_att_type": BOTH, "position_buckets": -1}),
    "deberta-v2, convolution": ("deberta-v2", {**V2, "pos_att_type": BOTH, "conv_kernel_size": 3}),
    "deberta-v2, one layer and convolution": (
        "deberta-v2", {**V2, "pos_att_type": BOTH, "conv_kernel_size": 3, "num_hidden_layers": 1},
    ),
}  # fmt: skip
every_case = pytest.mark.parametrize("name", CASES)
# Of the largest logit. Stock answers in bfloat16 differ by as much.
TOLERANCE = {"fp32": 1e-5, "bf16": 0.1, "fp16": 0.0125}


def build(name: str, attention: str = "sdpa", auto: Any = AutoModelForSequenceClassification) -> PreTrainedModel:
    """A model that looks at some tokens more than at others; a fresh one attends to all alike, whatever the scores."""
    kind, sizes = CASES[name]
    if kind in ("mpnet", "deberta", "deberta-v2"):
        attention = "eager"  # they have no other
    torch.manual_seed(0)
    shape = {"vocab_size": VOCABULARY, "pad_token_id": 0, "max_position_embeddings": 40, "num_labels": 3, **sizes}
    model = auto.from_config(AutoConfig.for_model(kind, **shape), attn_implementation=attention).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.mul_(20.0)
        else:
            weight.data.add_(0.1 * torch.randn_like(weight))
    return model


def batch(length: int, padding: str | None = None, rows: int = 3) -> dict[str, torch.Tensor]:
    """Texts of `length` tokens; with padding on a side, the first text has about half of them, the second one less."""
    ids = torch.randint(5, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    for row, without in ((0, length // 2), (1, 1)) if padding and length > 1 else ():
        mask[row, slice(length - without, None) if padding == "right" else slice(without)] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def answer(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradient of each weight that has one."""
    model.zero_grad()
    logits = model(**inputs).logits
    logits.square().sum().backward()
    gradients = {key: weight.grad for key, weight in model.named_parameters() if weight.grad is not None}
    return logits.detach(), {key: gradient.clone() for key, gradient in gradients.items()}


def same(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    scale = float(expected.abs().max()) or 1.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def sides(name: str, length: int) -> list[str | None]:
    """Where padding is tried. DeBERTa's first token must not be padding: its stock code gives padding no attention."""
    both: list[str | None] = [None, "right"]
    return both if CASES[name][0].startswith("deberta") or length != 9 else [*both, "left"]


@every_case
def test_logits_and_gradients_are_those_of_the_stock_model(name: str) -> None:
    model = build(name).double()
    inexact = 1e-5 if CASES[name][0].startswith("deberta") else 1e-10  # DeBERTa normalises in float32
    compared = set()
    for length in (1, 2, 9, 20):
        for side in sides(name, length):
            logits, gradients = answer(model, batch(length, side))
            with fast(model, first_token=True):
                assert is_fast(model)
                found, others = answer(model, batch(length, side))
            same(found, logits, inexact)
            assert set(others) <= set(gradients)
            largest = max(float(gradient.abs().max()) for gradient in gradients.values())
            for key, gradient in gradients.items():
                torch.testing.assert_close(
                    others.get(key, torch.zeros_like(gradient)), gradient, rtol=0, atol=inexact * largest, msg=key
                )
            compared |= {key for key, gradient in gradients.items() if float(gradient.abs().max()) > 1e-6 * largest}
    silent = {key for key in set(dict(model.named_parameters())) - compared if not key.endswith("bias")}
    unused = "encoder.rel_embeddings", "encoder.LayerNorm"
    assert not silent or ("no terms" in name and all(any(part in key for part in unused) for key in silent)), silent


@every_case
def test_mask_and_order_of_tokens_matter_in_the_stock_model(name: str) -> None:
    """Else the tests above compare models that do without."""
    model, inputs = build(name), batch(9, "right")
    with torch.inference_mode():
        logits = model(**inputs).logits
        scale = float(logits.abs().max())
        unmasked = model(inputs["input_ids"], attention_mask=torch.ones_like(inputs["attention_mask"])).logits
        assert float((unmasked - logits)[0].abs().max()) > 1e-3 * scale
        order = torch.tensor([0, 2, 1, 4, 3, 5, 6, 8, 7])
        whole = {"input_ids": inputs["input_ids"][2:]}
        moved = {"input_ids": whole["input_ids"][:, order]}
        assert float((model(**moved).logits - model(**whole).logits).abs().max()) > 1e-3 * scale


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@every_case
def test_hidden_states_are_those_of_the_stock_model_at_every_token(name: str, attention: str) -> None:
    model = build(name, attention)
    for side in (None, "right", "left"):
        inputs = batch(9, side)
        real = inputs["attention_mask"].bool()
        with torch.inference_mode():
            expected = model(**inputs, output_hidden_states=True).hidden_states
            with fast(model):
                found = model(**inputs, output_hidden_states=True).hidden_states
        assert len(found) == len(expected) > 1
        for one, other in zip(found, expected, strict=True):
            same(one[real], other[real], 1e-5)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", ["bert", "distilbert", "albert", "mpnet", "deberta", "deberta-v2"])
def test_precisions_of_16_bits_stay_near(name: str, precision: str) -> None:
    model, inputs = build(name), batch(9, "right")
    with torch.inference_mode():
        expected = model(**inputs).logits
        with fast(model, first_token=True), autocast("cpu", precision):
            found = model(**inputs).logits.float()
    assert not torch.equal(found, expected)
    same(found, expected, TOLERANCE[precision])


@every_case
def test_the_last_layer_computes_the_first_token_only_where_no_other_is_read(name: str) -> None:
    model = build(name)
    only = type(model) in READ_FIRST and name != "deberta-v2, one layer and convolution"
    assert only == (name not in ("albert", "deberta-v2, one layer and convolution"))
    with torch.inference_mode():
        for first_token, tokens in ((False, 9), (True, 1 if only else 9)):
            with fast(model, first_token=first_token):
                assert model.base_model(**batch(9)).last_hidden_state.shape == (3, tokens, 16)
        model.config.output_hidden_states = True
        with fast(model, first_token=True):
            assert model(**batch(9)).hidden_states[-1].shape == (3, 9, 16)
        tagger = build(name, auto=AutoModelForTokenClassification)
        with fast(tagger, first_token=True):
            assert is_fast(tagger) and tagger(**batch(9)).logits.shape == (3, 9, 3)


@pytest.mark.parametrize("name", ["bert", "distilbert", "mpnet", "deberta-v2"])
def test_nothing_is_left_behind(name: str, tmp_path: Path) -> None:
    model, inputs = build(name), batch(9, "right")
    classes = [type(module) for module in model.modules()]
    attributes = [set(vars(module)) for module in model.modules()]
    names, bits = list(model.state_dict()), model_fingerprint(model)
    with torch.inference_mode():
        expected = model(**inputs).logits
    model.save_pretrained(tmp_path / "stock")
    with pytest.raises(KeyError), fast(model, first_token=True):
        assert [type(module) for module in model.modules()] != classes
        assert list(model.state_dict()) == names and model_fingerprint(model) == bits
        model.save_pretrained(tmp_path / "fast")
        raise KeyError(name)
    assert [type(module) for module in model.modules()] == classes
    assert [set(vars(module)) for module in model.modules()] == attributes
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, expected)
    files = sorted(path.name for path in (tmp_path / "stock").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "fast").iterdir()) and "config.json" in files
    for file in files:
        assert (tmp_path / "fast" / file).read_bytes() == (tmp_path / "stock" / file).read_bytes(), file


def test_a_copy_shares_its_weights_and_leaves_the_model_alone() -> None:
    model, inputs = build("deberta-v2"), batch(9, "right")
    made = fast_copy(model, first_token=True)
    assert is_fast(made) and not is_fast(model)
    assert all(one is other for one, other in zip(made.parameters(), model.parameters(), strict=True))
    again = copy.deepcopy(made)
    assert is_fast(again)
    with torch.inference_mode():
        expected = model(**inputs).logits
        assert torch.equal(again(**inputs).logits, made(**inputs).logits)
        same(made(**inputs).logits, expected, 1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("name", ["mpnet", "deberta-v2"])  # tests/teacher/test_labelling.py compiles BERT
def test_a_fast_copy_can_be_compiled(name: str) -> None:
    stock = build(name).requires_grad_(False)
    made = compiled(fast_copy(with_half_weights(stock, torch.bfloat16), first_token=True))
    for rows, length, side in ((4, 9, "right"), (7, 5, None), (3, 16, "right")):
        inputs = batch(length, side, rows)
        with torch.inference_mode():
            expected = stock(**inputs).logits
            with autocast("cpu", "bf16"):
                same(made(**inputs).logits.float(), expected, TOLERANCE["bf16"])


def test_a_fast_model_is_not_pickled_whole_but_its_weights_are() -> None:
    model = build("bert")
    with fast(model):
        weights = pickle.loads(pickle.dumps(model.state_dict()))
        with pytest.raises((AttributeError, pickle.PicklingError), match="FastBertSelfAttention"):
            pickle.dumps(model)
    assert list(weights) == list(model.state_dict())
    assert is_fast(pickle.loads(pickle.dumps(model))) is False


class _Own(BertSelfAttention):
    pass


def _decoder(model: PreTrainedModel) -> None:
    for module in model.modules():
        if isinstance(module, BertSelfAttention):
            module.is_decoder = True


def _subclass(model: PreTrainedModel) -> None:
    for module in list(model.modules()):
        if isinstance(module, BertSelfAttention):
            module.__class__ = _Own


def _attentions(model: PreTrainedModel) -> None:
    model.set_attn_implementation("eager")
    model.config.output_attentions = True


def _adapted(model: PreTrainedModel) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(target_modules=["query"], r=2), model)


def _patched(model: PreTrainedModel) -> None:
    part = model.base_model.encoder.layer[1].output
    part.forward = part.forward


def _quantized(model: PreTrainedModel) -> None:
    """As `torch.ao.quantization.quantize_dynamic` makes them, on machines that have an engine for it."""
    kind = type("Linear", (torch.nn.Module,), {"__module__": "torch.ao.nn.quantized.dynamic.modules.linear"})
    model.base_model.encoder.layer[0].attention.self.query = kind()


@pytest.mark.parametrize(
    "change", [PreTrainedModel.train, _decoder, _subclass, _attentions, _adapted, _patched, _quantized]
)
def test_what_the_fast_attention_lacks_is_left_alone(change: Any) -> None:
    model = build("bert")
    assert make_fast(copy.deepcopy(model))
    change(model)
    assert make_fast(model, first_token=True) == [] and not is_fast(model)


@pytest.mark.parametrize("name", ["bert", "deberta-v2"])
@pytest.mark.parametrize("where", ["attention", "attention.self", "intermediate", "output", ""])
@pytest.mark.parametrize("backward", [False, True])
def test_hooks_on_parts_of_layers_are_called(name: str, where: str, backward: bool) -> None:
    model, calls = build(name), []
    expected = answer(model, batch(9))[0]
    part = model.base_model.encoder.layer[1].get_submodule(where)

    def hook(_: Any, given: Any, found: Any) -> None:
        calls.append((given if backward else found)[0].shape)

    (part.register_full_backward_hook if backward else part.register_forward_hook)(hook)
    with fast(model, first_token=True, fused=True):
        assert is_fast(model)
        found = answer(model, batch(9))[0]
    same(found, expected, 1e-5)
    assert len(calls) == 1 and 9 in calls[0]  # tokens


class _Mean(torch.nn.Module):
    """A head, or a pooler, that reads all tokens."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.stock = stock

    def forward(self, states: torch.Tensor, **_: Any) -> torch.Tensor:
        return self.stock(states.mean(1, keepdim=True))


@pytest.mark.parametrize("name", sorted({name for name in CASES if "," not in name} - {"albert", "distilbert"}))
def test_a_head_of_ones_own_may_read_all_tokens(name: str) -> None:
    model = build(name)
    owner = next(one for one in (model, model.base_model) if getattr(one, "pooler", None)) if name in (
        "bert", "deberta", "deberta-v2"
    ) else model  # fmt: skip
    attribute = "classifier" if getattr(owner, "pooler", None) is None else "pooler"
    setattr(owner, attribute, _Mean(getattr(owner, attribute)))
    expected = answer(model, batch(9))[0]
    with fast(model, first_token=True):
        same(answer(model, batch(9))[0], expected, 1e-5)


def _one_layer_twice(model: Any) -> None:
    model.bert.encoder.layer[1] = model.bert.encoder.layer[0]


def _one_attention_twice(model: Any) -> None:
    model.bert.encoder.layer[0].attention.self = model.bert.encoder.layer[1].attention.self


class _Turned(BertLayer):
    def forward(self, hidden_states: torch.Tensor, *others: Any, **more: Any) -> torch.Tensor:
        return super().forward(hidden_states, *others, **more).flip(1)


def _another_last_layer(model: Any) -> None:
    model.bert.encoder.layer[1].__class__ = _Turned


def _other_layers(model: Any) -> None:
    for one in model.bert.encoder.layer:
        one.__class__ = _Turned


def _another_encoder(model: Any) -> None:
    model.beside = copy.deepcopy(model.bert)


@pytest.mark.parametrize(
    "change", [_one_layer_twice, _one_attention_twice, _another_last_layer, _other_layers, _another_encoder]
)
@pytest.mark.parametrize("fused", [False, True])
def test_layers_may_be_shared_or_of_ones_own_and_stand_beside_the_encoder(change: Any, fused: bool) -> None:
    model, inputs = build("bert"), batch(9, "right")
    change(model)
    expected, gradients = answer(model, inputs)
    with fast(model, first_token=True, fused=fused):
        assert is_fast(model)
        found, others = answer(model, inputs)
        if change is _another_encoder:
            assert model.beside(**inputs).last_hidden_state.shape[1] == 9
    same(found, expected, 1e-5)
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for key, gradient in gradients.items():
        torch.testing.assert_close(others[key], gradient, rtol=0, atol=1e-4 * largest, msg=key)


def test_dropout_of_zero_is_no_dropout() -> None:
    model = build("mpnet").train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        expected = model(**batch(9, "right")).logits
        changed = make_fast(model, first_token=True)
        same(model(**batch(9, "right")).logits, expected, 1e-5)
    make_stock(changed)
    assert not is_fast(model)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("deberta", {**V1, "pos_att_type": BOTH, "talking_head": True}),
        ("t5", {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4}),
        ("qwen2", {**SIZES, "num_key_value_heads": 2}),
    ],
)
def test_other_architectures_are_left_alone(kind: str, sizes: dict[str, Any]) -> None:
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, pad_token_id=0, **sizes)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    assert make_fast(model, first_token=True) == [] and not is_fast(model)


def test_every_forward_pass_of_the_module_stands_in_for_one() -> None:
    made = {
        name for name, part in vars(fast_modules).items() if getattr(part, "__module__", "") == fast_modules.__name__
    }
    public = {name for name in made if not name.startswith("_")}
    assert public and public == {mixin.__name__ for mixin in fast_layers._MIXINS}


def test_only_on_a_cpu() -> None:
    with fast(model := build("bert").to("meta")):
        assert not is_fast(model)
