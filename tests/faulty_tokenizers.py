"""Faults of the tokenizer beside a good BERT of two segments; each builder spoils a folder in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _change(path: Path, **values: Any) -> None:
    """Change values of a JSON file; None takes a key out."""
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


def segments_of_four(folder: Path) -> None:
    """A tokenizer of one's own, written by transformers 4, which gave segments without listing them: read with them."""
    _change(
        folder / "tokenizer_config.json",
        tokenizer_class="PreTrainedTokenizerFast",
        backend=None,
        model_input_names=None,
    )
    _change(folder / "config.json", transformers_version="4.44.0")


def another_class(folder: Path) -> None:
    """A class that would keep capitals, beside a ``tokenizer.json`` that lowers them: the file is used."""
    _change(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=False)


def padded_left(folder: Path) -> None:
    """Padding on the left, where BERT counts its positions: padded on the right."""
    _change(folder / "tokenizer_config.json", padding_side="left")


def without_padding(folder: Path) -> None:
    """No padding token, but its id in the configuration: that one is taken."""
    _change(folder / "tokenizer_config.json", pad_token=None)


def another_padding(folder: Path) -> None:
    """Another padding id in the configuration than the tokenizer's, which BERT masks in any case: read."""
    _change(folder / "config.json", pad_token_id=7)


def added_beyond(folder: Path) -> None:
    """A token that was added after the model was saved: refused."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    last = max(content["model"]["vocab"].values())
    content["added_tokens"].append({
        "id": last + 1, "content": "<extra>", "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": False,
    })  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")


Build = Callable[[Path], None]
READ: tuple[Build, ...] = (segments_of_four, another_class, padded_left, without_padding, another_padding)
REFUSED: dict[Build, str] = {added_beyond: "is it the tokenizer of another model"}
ALL: tuple[Build, ...] = (*READ, *REFUSED)
