"""The buffer of written rows: first in, first out."""

from __future__ import annotations

import numpy as np

from zskd.methods.adversarial.replay import ReplayBuffer


def test_the_buffer_keeps_the_newest_rows_and_comes_back_from_its_state() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "input_ids": rng.integers(9, size=n).astype(np.int32),
            "token_type_ids": np.zeros(n, np.int32),
            "teacher_logits": rng.normal(size=2).astype(np.float32),
            "step": n,
        }
        for n in range(3, 13)
    ]
    buffer, other = ReplayBuffer(6), ReplayBuffer(6)
    buffer.add(rows)
    assert [row["step"] for row in buffer.rows] == list(range(7, 13))
    other.load(buffer.state())
    for left, right in zip(buffer.rows, other.rows, strict=True):
        assert left.keys() == right.keys()
        assert all(np.array_equal(left[name], right[name]) for name in left)
        assert left["input_ids"].dtype == right["input_ids"].dtype
    drawn = [buffer.draw(7, np.random.default_rng(i))["step"] for i in range(50)]
    assert np.mean(drawn) < 8.5, "near the wanted length"
    other.load({})
    assert len(other) == 0 and other.state() == {}
