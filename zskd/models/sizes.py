"""Sizes in a ``config.json``, looked at before anything is built. Imports neither torch nor transformers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from zskd.errors import InputError
from zskd.system.yaml_text import brief

LARGEST_SIZE = 10**12  # more than any model has of anything
MOST_LAYERS = 1000  # every layer is built one by one; the deepest published model has as many
MOST_CLASSES = 10**5  # each gets a name
MOST_EXPERTS = 10**5  # of one layer; Switch has 2048
_LAYERS = re.compile(r"(^|_)(layers?|blocks?|groups|experts|stages|depths?|block_sizes)$|^inner_group_num$")
_EXPERTS = re.compile(r"(^|_)experts$")
# Names of sizes. Other numbers (a timestamp, a seed, the tokens seen in training) build nothing.
_SIZE = re.compile(
    r"(^|_)(sizes?|layers?|heads?|dims?|positions?|embeddings?|embd?|experts|groups|blocks?|stages|depths?|buckets|"
    r"channels?|filters?|kernels?|width|height|window|stride|ratio|rank|labels|ctx|inner|model|ff|ffn|kv)$|"
    r"^(d|r|n|q|k|v)$"
)
# Numbers that count something the model must have: none of them may be 0 or less, or anything but a whole number.
_COUNTS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "embedding_size", "n_positions", "d_model", "dim", "hidden_dim", "n_layers", "n_heads",
)  # fmt: skip
_PER_LAYER = 16  # more matrices than a layer has, each at most as large as the two largest sizes allow


def check_sizes(config: dict[str, Any], shown: str) -> None:
    """Check the numbers of a configuration.

    Args:
        config: content of a ``config.json``, or of a part of it.
        shown: flag and value to quote in the message.

    Raises:
        InputError: a size is no whole number above 0, or so large that building the model would not end.
    """
    for name in _COUNTS:
        value = config.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            # Families that have the number under another name say null here.
            if value is None and name not in ("vocab_size", "hidden_size", "num_hidden_layers"):
                continue
            raise InputError(f"{shown}: expected a whole number above 0 as {name} in config.json, found {brief(value)}")
    if isinstance(count := config.get("num_labels"), int) and count > MOST_CLASSES:
        raise InputError(
            f"{shown}: expected at most {MOST_CLASSES:,} classes as num_labels in config.json, found {brief(count)}"
        )
    for name, value in _numbers(config):
        if abs(value) > (most := _most(name)):
            raise InputError(f"{shown}: expected at most {most:,} as {name} in config.json, found {brief(value)}")


def _most(name: str) -> float:
    if _EXPERTS.search(name):
        return MOST_EXPERTS
    if _LAYERS.search(name):
        return MOST_LAYERS
    return LARGEST_SIZE if _SIZE.search(name) else math.inf


def most_parameters(config: dict[str, Any]) -> int:
    """A number of parameters that no model of these sizes exceeds, far above the true one."""
    numbers = list(_numbers(config))
    layers = math.prod(max(value, 1) for name, value in numbers if _LAYERS.search(name))
    sizes = sorted(abs(value) for _, value in numbers)
    return (layers + 4) * _PER_LAYER * math.prod(sizes[-2:])


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number of a nested value, with the key that it stands under."""
    waiting = [(name, value)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(str(key), each) for key, each in value.items() if key not in ("label2id", "id2label")]
        elif isinstance(value, list):
            waiting += [(name, each) for each in value]
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, value
