"""Layers of a shallow student and a deep teacher."""

from __future__ import annotations

import pytest

from zskd.methods.layer_pairs import layer_pairs


@pytest.mark.parametrize(("student", "teacher"), [(1, 1), (2, 6), (2, 12), (3, 4), (6, 2)])
def test_every_layer_has_one_as_far_up_and_the_last_belongs_to_the_last(student: int, teacher: int) -> None:
    pairs = layer_pairs(student, teacher)
    assert [own for own, _ in pairs] == list(range(1, student + 1)) and pairs[-1] == (student, teacher)
    others = [other for _, other in pairs]
    assert others == sorted(others) and others[0] >= 1
