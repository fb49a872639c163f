"""The comparison of two versions: what it reads, what it calls different, and that it ends what it started."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipes import checkouts, outcomes, same_student, tiny
from recipes.checkouts import descendants, end_of, ended, kill, share_behind
from recipes.outcomes import Outcome, as_json, cache_keys, changed_keys, differences, nested_keys, read_outcome, table
from recipes.same_student import CASES, METHODS, TASKS, Case, main


def outcome(**changes: Any) -> Outcome:
    whole = Outcome("5" * 64, "1" * 64, {"steps": 40, "best_step": 30}, ["agreement", "seconds"], ["labels/a/b"], 0)
    return replace(whole, **changes)


def four(**changed: Outcome) -> dict[str, Outcome]:
    resumed = outcome(resumed_from=20)
    return {"old": outcome(), "new": outcome(), "handed": resumed, "resumed": resumed, **changed}


def test_nested_keys_name_every_mapping_and_look_into_no_list() -> None:
    assert nested_keys({"a": {"b": 1, "c": {}}, "d": [{"e": 1}]}) == {"a", "a.b", "a.c", "d"}


def test_cache_keys_are_the_files_of_the_five_caches(tmp_path: Path) -> None:
    for name in (
        "labels/t/1.arrow",
        "pools/p/select.arrow",
        "words/w.safetensors",
        "wheels/model.whl",
        "labels.txt",
        "words/w.safetensors.sha256",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert cache_keys(tmp_path) == ["labels/t/1.arrow", "pools/p/select.arrow", "words/w.safetensors"]


def test_changed_keys() -> None:
    assert changed_keys(["a", "b"], ["b", "c"]) == {"missing": ["a"], "added": ["c"]}


def test_outcome_is_read_from_the_student_and_the_checkpoint_of_the_largest_step(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for folder in ("student", "checkpoints/checkpoint-9", "checkpoints/checkpoint-10"):
        (run / folder).mkdir(parents=True)
        (run / folder / "model.safetensors").write_text(folder, encoding="utf-8")
    metrics = {"steps": 10, "resumed_from": 9, "transfer_set": {"texts": 3, "rows": 4}}
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    found = read_outcome(run, tmp_path / "cache")
    assert found.student == outcomes.sha256(run / "student" / "model.safetensors") != found.last
    assert found.last == outcomes.sha256(run / "checkpoints" / "checkpoint-10" / "model.safetensors")
    assert found.counts["transfer_set.rows"] == 4 and found.counts["best_step"] is None
    assert found.resumed_from == 9 and found.cache_keys == []


def test_equal_outcomes_have_no_differences_wherever_a_run_was_resumed() -> None:
    assert differences(four(resumed=outcome(resumed_from=30))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"student": "9" * 64}, "new: student: 99999999 (old: 55555555)"),
        ({"last": "9" * 64}, "new: last: 99999999 (old: 11111111)"),
        ({"counts": {"steps": 40, "best_step": 40}}, "new: counts: best_step 40 (old: 30)"),
        ({"metrics_keys": ["agreement", "time"]}, "new: metrics keys: missing seconds; added time"),
        ({"cache_keys": []}, "new: cache keys: missing labels/a/b"),
    ],
)
def test_every_part_that_differs_is_named(change: dict[str, Any], said: str) -> None:
    assert differences(four(new=outcome(**change))) == [said]


@pytest.mark.parametrize("step", [0, 40])
def test_a_run_that_was_not_resumed_in_its_midst_shows_nothing(step: int) -> None:
    (line,) = differences(four(handed=outcome(resumed_from=step)))
    assert line == f"handed: expected a step within the run to go on from, found {step}"


def test_json_has_all_keys_once_and_the_table_a_line_for_each_case() -> None:
    parts = as_json(four(new=outcome(metrics_keys=["agreement"], student="9" * 64)))
    assert parts["metrics_keys"]["old"] == ["agreement", "seconds"]
    assert parts["metrics_keys"]["new"] == {"missing": ["seconds"], "added": []}
    assert parts["student"]["new"] == "9" * 64
    cases = {
        "one-random-1": {"equal": False, "seconds": 12, "finished": True, **parts},
        "two-random-1": {"equal": False, "differences": ["exit code 1"]},
    }
    head, first, second = (line.split() for line in table(cases).splitlines())
    assert head == ["case", *outcomes.RUNS, "finished", "seconds", "equal"]
    assert first == ["one-random-1", "55555555", "99999999", "55555555", "55555555", "yes", "12", "NO"]
    assert second == ["two-random-1", "-", "-", "-", "-", "no", "-", "NO"]


def test_cases_are_all_combinations_and_balance_classes_in_one_process(tmp_path: Path) -> None:
    assert len({case.name for case in CASES}) == len(TASKS) * len(METHODS) * 2
    for case in CASES:
        flags = case.flags(tmp_path)
        assert flags[flags.index("--task") + 1] == TASKS[case.texts][0]
        assert ("--max-class-share" in flags) == ("--num-processes" in flags) == (case.processes == 2)
    assert Case(1, "gradient", 2).name == "one-gradient-2"


def test_unknown_cases_are_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["HEAD", "--cases", "three-*"])
    assert stopped.value.code == 2
    assert "expected some of one-random-1" in capsys.readouterr().err


def test_share_behind_counts_whole_checkpoints_of_all_processes(tmp_path: Path) -> None:
    def write(step: int, text: str, states: tuple[str, ...]) -> None:
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(text, encoding="utf-8")
        for name in states:
            (folder / name).touch()

    assert share_behind(tmp_path, 1) == 0.0
    write(10, json.dumps({"global_step": 10, "max_steps": 40}), ("rng_state_0.pth", "rng_state_1.pth"))
    write(20, json.dumps({"global_step": 20, "max_steps": 40}), ("rng_state_0.pth",))
    write(30, '{"global_step": 30, "max', ("rng_state_0.pth", "rng_state_1.pth"))
    assert share_behind(tmp_path, 2) == 0.25
    assert share_behind(tmp_path, 1) == 0.5


def test_kill_ends_what_a_process_started_in_a_session_of_its_own() -> None:
    script = "import subprocess as s; print(s.Popen(['sleep', '60'], start_new_session=True).pid, flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    started = int(process.stdout.readline())
    assert descendants(process.pid) == [started]
    kill(process)
    assert process.returncode == -9
    assert ended(started)
    assert ended(process.pid)
    assert not ended(os.getpid())


def test_end_of_a_log_has_no_path_of_this_machine(tmp_path: Path) -> None:
    log = tmp_path / "case" / "old.log"
    log.parent.mkdir()
    log.write_text(f"first\nsecond {tmp_path}/old\nthird {sys.prefix}/lib\n", encoding="utf-8")
    assert end_of(log) == "second .../old / third .../lib"


@pytest.mark.parametrize("module", [checkouts, outcomes, same_student, tiny])
def test_nothing_is_imported_that_moves_between_versions(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in names if name.split(".")[0] == "zskd"]
