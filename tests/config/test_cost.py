"""What a run takes at the least: what no machine gets through is refused, more than a day or the memory is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from zskd.config import cost
from zskd.config.cost import cost_problems, cost_warnings, fast, slow
from zskd.config.distillation import DistillConfig
from zskd.config.limits import within_limits

CONFIG = DistillConfig(task="sst2", pool_size=6_400, batch_size=64, epochs=2.0, max_length=64)


def test_a_usual_run_is_neither_refused_nor_warned_of() -> None:
    default = DistillConfig(pool_size=180_000, max_length=64, epochs=2.0)
    for config in (CONFIG, default, replace(default, perturb="adversarial", epochs=20.0)):
        assert cost_problems(config) == [] and cost_warnings(config, labels=2, texts=1) == []


@pytest.mark.parametrize(
    ("changes", "batches"), [({"epochs": 1e4}, 10**6), ({"epochs": 1e5, "batch_size": 1}, 640_000_000)]
)
def test_more_than_a_day_is_a_lower_bound_in_days(changes: dict[str, Any], batches: int) -> None:
    config = replace(CONFIG, **changes)
    lines = cost_warnings(config, labels=2, texts=1)
    days = batches / cost.FASTEST / 86_400
    assert lines == slow(f"--epochs {config.epochs:g}, --pool-size 6400, --batch-size {config.batch_size}", batches)
    assert (len(lines) == 1) is (days > 1)
    assert all(f"{batches:,} batches, which take at least {days:,.1f} days" in line for line in lines)


def test_a_run_that_never_ends_is_refused() -> None:
    most = replace(CONFIG, batch_size=1, pool_size=10**9, epochs=1.0)
    assert cost_problems(most) == []
    (problem,) = cost_problems(replace(most, epochs=1e5))
    assert problem.startswith("--epochs 100000, --pool-size 1000000000, --batch-size 1: expected at most 1,000,000,000")
    assert "found 100,000,000,000,000" in problem


def test_memory_is_held_against_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, pool_size=10**6, batch_size=10**4, epochs=0.01)
    monkeypatch.setattr(cost, "machine_memory", lambda: 10**9)
    assert cost_warnings(config, labels=2, texts=1) == []
    assert cost_warnings(config, labels=1_000, texts=1) == [
        "--pool-size 1000000: may take 4 GB of memory or more, and this machine has 1 GB"
    ]
    (line,) = cost_warnings(replace(config, batch_size=20_000), labels=2, texts=2)
    assert line.startswith("--batch-size 20000: may take 1 GB of memory or more")
    assert cost_warnings(replace(config, batch_size=20_000, num_processes=2), labels=2, texts=2) == []


def test_the_warmup_counts_where_there_is_a_generator() -> None:
    config = replace(CONFIG, generator_warmup=10**8)
    assert cost_warnings(config, labels=2, texts=1) == []
    for changes in ({"perturb": "adversarial"}, {"method": ["adversarial"]}):
        (line,) = cost_warnings(replace(config, **changes), labels=2, texts=1)
        assert line.startswith("--generator-warmup 100000000: 100,000,000 batches, which take at least 11.6 days")


def test_a_wild_learning_rate_is_said() -> None:
    assert fast("--learning-rate", None) == fast("--learning-rate", 1.0) == []
    (line,) = cost_warnings(replace(CONFIG, learning_rate=1e30), labels=2, texts=1)
    assert line.startswith("--learning-rate 1e+30: above 1,")


@pytest.mark.parametrize("name", ["epochs", "batch_size", "pool_size", "generator_warmup"])
def test_no_number_overflows_once_it_is_within_its_limits(name: str) -> None:
    values = {"pool_size": 6_400, "max_length": 64, name: 1e300}
    config = within_limits(DistillConfig(**values))  # type: ignore[arg-type]
    config = replace(config, pool_size=config.pool_size or 6_400, epochs=config.epochs or 2.0)
    assert cost_problems(config) == [] and getattr(config, name) != 1e300
