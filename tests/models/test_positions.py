"""Usable positions of model families."""

from __future__ import annotations

from typing import Any

import pytest

from zskd.models.positions import usable_positions


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 20, "pad_token_id": 0}, 19),
        ({"model_type": "t5"}, None),
        ({"model_type": "deberta-v2", "max_position_embeddings": -1}, None),
        ({"max_position_embeddings": "many"}, None),
    ],
)
def test_positions(config: dict[str, Any], expected: int | None) -> None:
    assert usable_positions(config) == expected
