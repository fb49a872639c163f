"""How many tokens a model can read. Imports neither torch nor transformers."""

from __future__ import annotations

from typing import Any

# Families that count positions from the padding id on, so that 514 rows are 512 positions.
_OFFSET = (
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


def usable_positions(config: dict[str, Any]) -> int | None:
    """Tokens that a model's position table holds, from the content of its ``config.json``; None where it has none."""
    rows = config.get("max_position_embeddings")
    if not isinstance(rows, int) or rows <= 0:
        return None
    if config.get("model_type") in _OFFSET:
        pad = config.get("pad_token_id")
        return rows - 1 - (pad if isinstance(pad, int) else 1)
    return rows
