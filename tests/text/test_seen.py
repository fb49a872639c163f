import random

import pytest

from zskd.text import seen
from zskd.text.seen import Seen


@pytest.mark.parametrize("pending", [1, 7, 10_000])
def test_it_answers_as_a_set_does(pending: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_PENDING", pending)
    draw, ours, theirs = random.Random(pending), Seen(), set[int]()
    for _ in range(3_000):
        value = draw.choice([draw.getrandbits(64), draw.randrange(500), 2**64 - 1, 0])
        assert ours.add(value) == (value not in theirs)
        theirs.add(value)
    assert len(ours) == len(theirs)
