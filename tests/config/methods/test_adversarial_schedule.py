"""Which rows of a batch are fresh or replayed, and which steps are the generator's."""

from __future__ import annotations

import numpy as np
import pytest

from zskd.config.methods.adversarial_schedule import Origin, Schedule


@pytest.mark.parametrize(("fresh", "replayed"), [(0.25, 0.25), (0.1, 0.2), (1.0, 0.0), (0.3, 0.7), (1 / 3, 1 / 3)])
def test_kinds_of_rows_have_their_shares_and_do_not_depend_on_how_a_batch_is_cut(fresh: float, replayed: float) -> None:
    schedule = Schedule(0, 1, 1, fresh, replayed)
    whole = schedule.origins(0, 60)
    shares = np.bincount(whole, minlength=3) / 60
    np.testing.assert_allclose(shares, [1 - fresh - replayed, fresh, replayed], atol=1 / 60 + 1e-9)
    for size in (1, 4, 15):
        parts = [schedule.origins(first, size) for first in range(0, 60, size)]
        assert np.concatenate(parts).tolist() == whole.tolist()
    halves = [int((half == Origin.FRESH).sum()) for half in (whole[:30], whole[30:])]
    assert abs(halves[0] - halves[1]) <= 1, "spread evenly"


def test_a_round_begins_with_the_generators_steps() -> None:
    schedule = Schedule(3, 2, 5, 0.25, 0.0)
    assert [step for step in range(14) if schedule.active(step)] == list(range(3, 14))
    assert [step for step in range(14) if schedule.learns(step)] == [3, 4, 8, 9, 13]
    assert [step for step in range(14) if schedule.opens_round(step)] == [3, 8, 13]
    assert [step for step in range(14) if schedule.closes_round(step)] == [7, 12]
    assert schedule.queries(14, 16) == 4 * 11 + 4 * 3 and schedule.queries(14, 16, per_row=5) == 5 * 4 * 14
    assert Schedule(3, 0, 5, 0.25, 0.0).queries(14, 16) == 4 * 11
