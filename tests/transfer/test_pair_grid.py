"""The grid of a transfer set of pairs: cells that add up, classes, and one line."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from small_encoder import encoder, sentences

from zskd.text.synonyms import overlap_of
from zskd.transfer import pair_grid as module
from zskd.transfer.pair_grid import COSINES, OVERLAPS, grid_line, pair_grid

LABELS = ("no", "yes", "maybe")


class Fixed:
    """An encoder whose directions are at the angles that stand in the texts, in degrees."""

    name = "fixed"

    def texts(self, texts: list[str], what: str) -> np.ndarray:
        turns = np.radians([float(text.split()[0]) for text in texts])
        return np.stack([np.cos(turns), np.sin(turns)], axis=1)


def labelled(rows: list[tuple[str, str, int]]) -> tuple[Dataset, np.ndarray]:
    pool = Dataset.from_dict({"text": [left for left, *_ in rows], "text_b": [right for _, right, _ in rows]})
    return pool, np.eye(3, dtype=np.float32)[[label for *_, label in rows]]


def test_a_grid_made_by_hand() -> None:
    same = ("0 river", "0 river", 1)  # overlap 1, cosine 1
    apart = ("0 river town", "30 river meadow lawn", 2)  # overlap 1/6, cosine 0.87
    other = ("0 river town", "120 garden", 0)  # overlap 0, cosine -0.5
    edge = ("0 river", "0 town", 1)  # overlap 1/3: the number is a content word
    found = pair_grid(*labelled([same, same, apart, other, edge]), LABELS, Fixed())  # type: ignore[arg-type]
    cells = {(cell["overlap"], cell["cosine"]): (cell["share"], cell["classes"]) for cell in found["cells"]}
    assert cells == {
        (4, 4): (0.4, {"no": 0.0, "yes": 1.0, "maybe": 0.0}),
        (1, 4): (0.2, {"no": 0.0, "yes": 0.0, "maybe": 1.0}),
        (0, 0): (0.2, {"no": 1.0, "yes": 0.0, "maybe": 0.0}),
        (2, 4): (0.2, {"no": 0.0, "yes": 1.0, "maybe": 0.0}),
    }
    assert (found["pairs"], found["encoder"], found["apart_and_alike"]) == (5, "fixed", 0.4)
    assert grid_line(found) == (
        "pairs: 40.0 % of 5 have at most half of their content words in common and a cosine above 0.7 (fixed); "
        "4 of 25 cells of the grid hold at least 2 %"
    )


def test_shares_add_up_and_at_most_so_many_pairs_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, rng = sentences(300), np.random.default_rng(0)
    rows = [(texts[i], texts[299 - i], int(rng.integers(3))) for i in range(300)]
    monkeypatch.setattr(module, "SAMPLED", 100)
    pool, logits = labelled(rows)
    found = pair_grid(pool, logits, LABELS, encoder())
    assert found["pairs"] == 100 and (found["overlaps"], found["cosines"]) == (list(OVERLAPS), list(COSINES))
    assert sum(cell["share"] for cell in found["cells"]) == pytest.approx(1.0, abs=1e-4)
    assert all(sum(cell["classes"].values()) == pytest.approx(1.0, abs=1e-4) for cell in found["cells"])
    yes = sum(cell["share"] * cell["classes"]["yes"] for cell in found["cells"])
    assert yes == pytest.approx(np.mean([row[2] == 1 for row in rows[::3]]), abs=1e-4)
    low = sum(cell["share"] for cell in found["cells"] if OVERLAPS[cell["overlap"]] <= 0.5)
    assert low == pytest.approx(np.mean([overlap_of(*row[:2]) <= 0.5 for row in rows[::3]]), abs=1e-4)
