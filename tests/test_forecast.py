"""`zskd distill --dry-run`: what a run would take, found out without starting it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import as_flags
from labelled_rows import rows_for, write_rows

from zskd.config.distillation import DistillConfig
from zskd.forecast import REHEARSED, forecast, words
from zskd.pipeline import distill
from zskd.system.interrupts import is_resumable
from zskd.tasks.task import TASKS


def labels(cache: Path) -> set[Path]:
    return set(cache.glob("labels/**/*")) | set(cache.glob("pools/**/*"))


@pytest.mark.parametrize(
    "options", [{}, {"perturb": "adversarial", "generator_warmup": 2}], ids=["random", "adversarial"]
)
def test_counts_are_those_of_the_run_and_nothing_is_left(
    options: dict[str, Any], tiny_config: DistillConfig, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    config = replace(tiny_config, cache_dir=str(cache), epochs=2.0, **options)
    found = forecast(config)
    assert not Path(str(config.output_dir)).exists() and labels(cache) == set()
    metrics = distill(config).metrics
    assert found.steps == metrics["steps"] and found.inputs == config.pool_size
    asked = metrics["teacher_queries_for"]
    assert found.single_tokens == asked["single_tokens"] and found.heldout == asked["held_out_inputs"]
    assert found.queries >= metrics["teacher_queries"]
    assert found.seconds is not None and set(found.seconds) <= set(metrics["seconds"])
    assert all(spent >= 0 for spent in found.seconds.values()) and found.seconds["training"] > 0
    run = sum(path.stat().st_size for path in Path(str(config.output_dir)).rglob("*") if path.is_file())
    assert found.run_bytes is not None and 0.3 * run < found.run_bytes < 3 * run
    kept = sum(path.stat().st_size for path in labels(cache) if path.is_file())
    assert found.cache_bytes is not None and 0.3 * kept < found.cache_bytes < 3 * kept
    # With all labels in the cache, it still says what they cost.
    again = forecast(config)
    assert again.seconds is not None and again.seconds["labelling"] > 0.2 * found.seconds["labelling"]


def test_the_text_limits_the_inputs(tiny_config: DistillConfig) -> None:
    found = forecast(replace(tiny_config, pool_size=1_000_000))
    assert REHEARSED < found.inputs < 1_000_000 and found.inputs % 40 == 0
    assert found.steps == math.ceil(tiny_config.epochs * math.ceil(found.inputs / tiny_config.batch_size))


def test_a_callable_is_not_asked(tiny_config: DistillConfig, student_folder: Path) -> None:
    found = forecast(replace(tiny_config, teacher="no_such_module:ask", student=str(student_folder)))
    assert found.seconds is None and found.queries == found.inputs + found.heldout
    assert "would have to be asked" in words(found, tiny_config)


def test_the_command_prints_it_and_starts_nothing(cli: Callable[..., Any], tiny_config: DistillConfig) -> None:
    done = cli("distill", "--dry-run", *as_flags(tiny_config))
    assert done.code == 0 and not Path(str(tiny_config.output_dir)).exists(), done.err
    first = [line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")]
    assert first == ["inputs", "teacher", "steps", "time", "disk", "found"]
    found = json.loads(cli("distill", "--dry-run", "--json", *as_flags(tiny_config)).out)
    assert found["inputs"] == tiny_config.pool_size and found["queries"] >= found["inputs"]
    assert cli("distill", "--dry-run", *as_flags(tiny_config), "--pool-size", "1").code == 2


def test_labelled_rows_and_the_text_s_limit_of_held_out_inputs_count(
    tiny_config: DistillConfig, tmp_path: Path
) -> None:
    gold = write_rows(tmp_path / "gold.tsv", TASKS["sst2"], rows_for(TASKS["sst2"], 90, seed=3))
    config = replace(tiny_config, gold_labels=str(gold), heldout=30_000, objective=None, epochs=2.0)
    found = forecast(config)
    metrics = distill(config).metrics
    asked = metrics["teacher_queries_for"]
    assert (found.gold_rows, found.heldout) == (asked["gold_rows"], asked["held_out_inputs"]) and found.heldout < 30_000
    assert found.steps == metrics["steps"] and found.queries >= metrics["teacher_queries"]


def test_nothing_is_published_or_resumed_or_launched(
    cli: Callable[..., Any], tiny_config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert cli("distill", "--dry-run", "--publish", "me/mine", *as_flags(tiny_config)).code == 0
    assert not is_resumable(["distill", "--dry-run"]) and is_resumable(["distill"])
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    done = cli("distill", "--dry-run", *as_flags(tiny_config))
    assert done.code == 2 and "--dry-run: expected one process" in done.errors[0]
