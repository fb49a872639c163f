"""The search for a schedule: it is the same for a seed, and a member that gives way takes over weights and policy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from recipes import role_search
from recipes.role_search import LARGEST, Member, explored, fixed, next_generation, schedule, searched
from zskd.config.methods.roles import OPERATIONS, schedule_of, stage_at


def population() -> list[Member]:
    scores = (0.5, 0.9, 0.7, 0.1, 0.6, 0.8, 0.2, 0.4)
    policies = [dict.fromkeys(OPERATIONS, (number, number)) for number in range(8)]
    return [
        Member(number, history=(policies[number],), student=f"student-{number}", score=score, policy=policies[number])
        for number, score in enumerate(scores)
    ]


def test_the_worst_take_over_weights_and_policy_of_the_best_and_explore() -> None:
    before = population()
    after = next_generation(before, np.random.default_rng(0))
    assert [member.number for member in after] == list(range(8))
    for worst, best in ((3, 5), (6, 1)):
        assert after[worst].student == before[best].student and after[worst].history == before[best].history
        assert after[worst].policy != before[best].policy
    others = [number for number in range(8) if number not in (3, 6)]
    assert [after[number] for number in others] == [before[number] for number in others]
    equal = [replace(member, score=0.5) for member in before]
    assert next_generation(equal, np.random.default_rng(0)) == equal, "nobody is better"


def test_policies_stay_within_their_limits_and_are_a_function_of_the_seed() -> None:
    policy = dict.fromkeys(OPERATIONS, (0, LARGEST))
    found = [explored(policy, np.random.default_rng(seed)) for seed in range(50)]
    numbers = [value for one in found for pair in one.values() for value in pair]
    assert min(numbers) == 0 and max(numbers) == LARGEST and len(set(numbers)) > 5
    assert explored(policy, np.random.default_rng(3)) == found[3]


def test_a_history_is_a_schedule_that_a_run_replays() -> None:
    one, other = {"drop": (10, 2), "mask": (0, 5)}, {"drop": (0, 0), "mask": (5, 4)}
    written = schedule_of(yaml.safe_load(yaml.safe_dump(schedule((one, other)))), "test")
    stages = written["student"]
    assert [stage.until for stage in stages] == [0.5, 1.0] and written["teacher"] == []
    assert stages[0].operations == {"drop": (1.0, 0.1)} and stages[1].operations == {"mask": (0.5, 0.2)}
    assert stage_at(stages, 0.99) is stages[1]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A search without training: a policy that drops much is bad."""
    seen: list[dict[str, Any]] = []

    def distil(config: Any) -> Any:
        options = {name: getattr(config, name) for name in ("student", "roles_schedule", "output_dir", "epochs")}
        seen.append(options)
        (Path(options["output_dir"]) / "student").mkdir(parents=True)
        stage = yaml.safe_load(Path(options["roles_schedule"]).read_text(encoding="utf-8"))["student"][0]
        bad = sum(values[0] * values[1] for name, values in stage.items() if name != "until")
        return SimpleNamespace(metrics={"agreement": 1 - bad, "seconds": {"total": 1.0}})

    monkeypatch.setattr(role_search, "distill", distil)
    return seen


def test_a_search_is_reproducible_goes_on_from_students_and_is_kept(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    options = {"task": "sst2", "seed": 0, "corpus": ["embedded"], "pool_size": 1_000, "epochs": 0.5}
    best = searched(options, tmp_path / "work", tmp_path / "kept", 4, seed=0)
    assert best.score == 1.0 and len(best.history) == role_search.STAGES, "the member that changes nothing"
    first = len(runs)
    assert [run["student"] for run in runs[:4]] == ["build"] * 4
    assert all(Path(run["student"]).is_dir() for run in runs[4:]), "later stages begin with students"
    again = searched(options, tmp_path / "work", tmp_path / "kept", 4, seed=0)
    assert len(runs) == first and again == best, "nothing is trained twice"
    assert searched(options, tmp_path / "other", tmp_path / "others", 4, seed=0).history == best.history
    plain = fixed(options, tmp_path / "work", tmp_path / "kept", 4, seed=0)
    assert len({json.dumps(policy) for policy in plain.history}) == 1 and len(plain.history) == role_search.STAGES
