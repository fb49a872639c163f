"""How fast a model is, compared with others in turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from zskd.evaluation.analysis import BATCH_CALLS, LATENCY_BATCH, LATENCY_CALLS, latency, time_answers
from zskd.tasks.task import find_task
from zskd.teacher.load import load_teacher


def test_latency_is_measured_on_the_model_it_names(teacher_folder: Path, shared_cache: Path) -> None:
    teacher = load_teacher(find_task("sst2"), str(teacher_folder), shared_cache, None, None)
    found = latency({"one": teacher, "other": teacher}, (["one text of some words"],), 32)
    assert list(found) == ["one", "other"]
    for entry in found.values():
        low, high = entry["milliseconds_quartiles"]
        assert 0 < low <= entry["milliseconds"] <= high
        slow, fast = entry["texts_per_second_quartiles"]
        assert 0 < slow <= entry["texts_per_second"] <= fast
        assert entry["device"] == "cpu"
        assert entry["threads"] >= 1


class Machine:
    """A machine whose clock only moves while a model answers, and whose load changes."""

    def __init__(self, load=lambda calls: 1.0) -> None:
        self.now, self.calls, self.load = 0.0, 0, load

    def model(self, seconds: float, per_text: float = 0.0):
        def answers(texts):
            self.calls += 1
            self.now += self.load(self.calls) * (seconds + per_text * len(texts[0]))

        return answers

    def clock(self) -> float:
        return self.now


def test_known_times_are_what_is_measured() -> None:
    machine = Machine()
    models = {"slow": machine.model(0.004, 0.001), "fast": machine.model(0.001)}
    found = time_answers(models, (["a", "b"],), machine.clock)
    assert found["slow"]["milliseconds"] == pytest.approx(5.0)
    assert found["slow"]["milliseconds_quartiles"] == pytest.approx([5.0, 5.0])
    assert found["slow"]["texts_per_second"] == pytest.approx(LATENCY_BATCH / 0.036, abs=0.1)
    assert found["fast"]["milliseconds"] == pytest.approx(1.0)
    assert found["fast"]["texts_per_second"] == pytest.approx(LATENCY_BATCH / 0.001, abs=0.1)


def test_load_that_comes_and_goes_slows_all_models_alike() -> None:
    # Ten times slower in the second half of the measurement: where models were timed one after the other, this made
    # the second of two equal models ten times slower.
    whole = 2 * (2 + LATENCY_CALLS + BATCH_CALLS)
    machine = Machine(lambda calls: 10.0 if calls > whole // 2 else 1.0)
    found = time_answers({"first": machine.model(0.001), "second": machine.model(0.001)}, (["a"],), machine.clock)
    first, second = found["first"], found["second"]
    assert first["milliseconds"] == second["milliseconds"]
    assert first["texts_per_second"] == second["texts_per_second"]
    assert first["milliseconds_quartiles"] == second["milliseconds_quartiles"] == pytest.approx([1.0, 10.0])


def test_one_hiccup_is_in_no_number() -> None:
    machine = Machine(lambda calls: 1000.0 if calls == 11 else 1.0)
    found = time_answers({"first": machine.model(0.001), "second": machine.model(0.002)}, (["a"],), machine.clock)
    assert found["first"]["milliseconds_quartiles"] == pytest.approx([1.0, 1.0])
    assert found["second"]["milliseconds_quartiles"] == pytest.approx([2.0, 2.0])
