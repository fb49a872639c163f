"""Share of the machine's matrix peak that teachers of base size reach with stock and with fast layers, on one thread.

Weights are random, so only speed is measured: BERT, MPNet and DeBERTa-v3 of base shape, rows of 16 and of 64 tokens
without padding, 1,024 tokens a batch as in labelling, in bfloat16 if the CPU has such products, else in float32. Stock
layers, fast ones, and fast ones whose last layer computes the first token only run in turns, and so does the peak.

``computed`` counts the products that a variant really computes; its share is ``share``. ``plain share`` counts the same
for all variants: linear maps and the two products of attention, for every token of every layer. A variant that computes
less for the same answer gains there; a model with terms for positions pays there for what it computes beside.

    python -m recipes.benchmarks.attention [--layers 2] [--turns 15]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from recipes.benchmarks.common import report
from recipes.benchmarks.labelling import DTYPES, peak
from zskd.models.fast_layers import fast_copy
from zskd.models.frozen import with_half_weights
from zskd.system.precision import HALVES, autocast, pick_precision

BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 1_000}
MODELS: dict[str, dict[str, Any]] = {
    "bert": {},
    "mpnet": {},
    "deberta-v2": {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256, "share_att_key": True,
        "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0,
    },
}  # fmt: skip
TOKENS = 1_024  # of a batch


def variants(kind: str, layers: int, precision: str) -> dict[str, PreTrainedModel]:
    """The same random teacher with each kind of layers."""
    config = AutoConfig.for_model(kind, **BASE, num_hidden_layers=layers, **MODELS[kind])
    stock = AutoModelForSequenceClassification.from_config(config).requires_grad_(False).eval()
    if precision in HALVES:
        stock = with_half_weights(stock, HALVES[precision])
    return {"stock": stock, "fast": fast_copy(stock), "fast, first token": fast_copy(stock, first_token=True)}


def computed(model: PreTrainedModel, inputs: dict[str, torch.Tensor], precision: str) -> int:
    """Operations of all matrix products of a forward pass."""
    stock = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the fused kernel's products are not counted
    with torch.no_grad(), autocast("cpu", precision), FlopCounterMode(display=False) as counter:
        model(**inputs)
    model.set_attn_implementation(stock)
    return int(counter.get_total_flops())


def plain(layers: int, rows: int, tokens: int) -> int:
    """Operations of linear maps and attention's two products, for every token of every layer."""
    width, inner = BASE["hidden_size"], BASE["intermediate_size"]
    linear = 2 * (4 * width * width + 2 * width * inner)
    return layers * rows * tokens * (linear + 4 * width * tokens)


def seconds_of(run: Callable[[], object], least: float) -> float:
    """Seconds of a call, from as many calls as `least` seconds hold."""
    calls, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < least or not calls:
        run()
        calls += 1
    return seconds / calls


def quartiles(values: list[float], digits: int) -> list[float]:
    """Lower quartile, median and upper quartile."""
    return [round(float(value), digits) for value in np.percentile(values, [25, 50, 75])]


def measure(kind: str, tokens: int, layers: int, turns: int, precision: str) -> list[dict[str, Any]]:
    """A row for each variant of one model at one length."""
    rows = TOKENS // tokens
    ids = torch.randint(5, BASE["vocab_size"], (rows, tokens))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    models = variants(kind, layers, precision)
    operations = {name: computed(model, inputs, precision) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    limits = []
    with torch.inference_mode(), autocast("cpu", precision):
        for turn in range(turns + 1):
            limit = peak(DTYPES[precision], torch.device("cpu"), least=0.1)
            found = {name: seconds_of(partial(model, **inputs), 0.2) for name, model in models.items()}
            if turn:  # the first one warms up
                limits.append(limit)
                for name, seconds in found.items():
                    times[name].append(seconds)
    shares = {
        name: {
            key: quartiles([count / seconds / limit for seconds, limit in zip(each, limits, strict=True)], 3)
            for key, count in (("share", operations[name]), ("plain share", plain(layers, rows, tokens)))
        }
        for name, each in times.items()
    }
    return [
        {
            "model": kind,
            "tokens": tokens,
            "layers": name,
            "computed, GFLOP": round(operations[name] / 1e9, 2),
            "plain, GFLOP": round(plain(layers, rows, tokens) / 1e9, 2),
            "ms": quartiles([1e3 * seconds for seconds in each], 1),
            **shares[name],
            "peak, GFLOP/s": quartiles([limit / 1e9 for limit in limits], 0),
        }
        for name, each in times.items()
    ]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 64], help="tokens of a row")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    precision = pick_precision("auto", torch.device("cpu"))
    rows = [
        row
        for kind in MODELS
        for tokens in arguments.tokens
        for row in measure(kind, tokens, arguments.layers, arguments.turns, precision)
    ]
    about = {"precision": precision, "number of layers": arguments.layers, "turns": arguments.turns}
    report("attention", rows, **about, quartiles="lower, median, upper")
    return 0


if __name__ == "__main__":
    sys.exit(main())
