"""Methods together: every pair trains, asks for what both announce, and moves rows of its own."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from contract import SUBJECTS, counting, trainer
from decided import decided_teacher

from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import METHODS
from zskd.models.loading import model_fingerprint
from zskd.pipeline import distill

# One subject for each method of the table, in the order in which their hooks are called.
NAMES = [next(name for name, s in SUBJECTS.items() if s.spec.name == method) for method in METHODS]


@pytest.mark.parametrize(("one", "other"), itertools.combinations(NAMES, 2))
def test_two_methods_go_together(one: str, other: str, tmp_path: Path) -> None:
    found: dict[str, tuple[int, str]] = {}
    for names in ((one, other), (one,), (other,)):
        teacher = decided_teacher()
        methods = [SUBJECTS[name].method(teacher) for name in names]
        made = trainer(tmp_path / "-".join(names), methods, teacher, inputs=192, max_steps=3)
        with counting(teacher) as rows:
            made.train()
        queries = sum(method.queries for method in methods)
        assert sum(rows) == queries
        assert all(np.isfinite(entry["loss"]) for entry in made.state.log_history if "loss" in entry)
        found["-".join(names)] = queries, model_fingerprint(made.model)
    both, first, second = found.values()
    assert both[0] == first[0] + second[0], "each asks for its own rows"
    assert len({both[1], first[1], second[1]}) == 3, "both have a part in the student"


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("class-balance", "adversarial")])
@pytest.mark.parametrize("task", ["sst2", "mrpc"])
def test_a_run_with_a_method_keeps_its_budget(task: str, name: str, config_for, tmp_path: Path) -> None:
    schedule = tmp_path / "schedule.yaml"
    schedule.write_text("{student: [{until: 1.0, drop: [1, 0.1]}], teacher: [{until: 0.5, mask: [1, 0.2]}]}")
    more = {"roles_schedule": str(schedule)} if name == "roles" else {}
    config: DistillConfig = config_for(task, method=[name], pool_size=1_200, **more)
    result = distill(config)
    metrics = result.metrics
    total, announced = metrics["teacher_queries_for"], METHODS[name].queries(replace(config, pool_size=1_200))
    asked = total.get(name, 0)
    assert 0 < asked <= announced or asked == announced == 0, "an epoch's last batch may be short"
    assert total["transfer_inputs"] == 1_200 - announced
    assert metrics["teacher_queries_live_in_all_calls"] >= asked
    history = json.loads((result.run_dir / "history.json").read_text(encoding="utf-8"))
    assert any(key.startswith(f"{name}/") for entry in history for key in entry)
    assert result.student.config.architectures[0].endswith("ForSequenceClassification")
