"""One seed, one student: the same command twice, a cache filled by others, and runs killed and resumed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import as_of_an_older_zskd

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import to_dict
from zskd.errors import InputError
from zskd.pipeline import distill
from zskd.system.files import sha256_file
from zskd.training.manifest import write_manifest

# Moment of the SIGKILL, or of a SIGTERM, after which the step has time to end -> step to resume at. An epoch has 20
# steps; a checkpoint is written every 10.
KILLS = {
    "step 13, in the first epoch": 10,
    "step 25, in the second epoch": 20,
    "step 35, in the second epoch": 30,
    "save 20, before the checkpoint's state is written": 10,
    "score, when the student is saved": 40,
    "signal 13, in the first epoch": 13,
}

# Each run is a fork that kills itself, so that the libraries are imported once.
SCRIPT = """
import json, os, signal, sys
from transformers import TrainerState
from zskd.evaluation import results
from zskd.config.distillation import DistillConfig
from zskd.pipeline import distill
from zskd.system import interrupts
from zskd.training import fit

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

for moment, options in json.load(sys.stdin).items():
    what, _, number = moment.partition(",")[0].partition(" ")
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (143 if what == "signal" else -signal.SIGKILL), (moment, code)
        continue
    interrupts.install(resumable=True)
    save = TrainerState.save_to_json
    class Killer(fit.EvaluationLog):
        def on_step_end(self, args, state, control, **kwargs):
            if what == "step" and state.global_step == int(number):
                die()
            if what == "signal" and state.global_step == int(number):
                os.kill(os.getpid(), signal.SIGTERM)
    fit.EvaluationLog = Killer
    if what == "save":
        TrainerState.save_to_json = lambda *args: (die if args[0].global_step == int(number) else save)(*args)
    if what == "score":
        results.score = die
    try:
        distill(DistillConfig(**options))
    except interrupts.Interrupted as error:
        os._exit(error.exit_code)
    finally:
        os._exit(1)
"""


def student(run: Path | str | None) -> tuple[str, str]:
    """SHA-256 of a run's student, and of its weights after the last step, which no early best checkpoint hides."""
    folder = Path(str(run))
    last = max(folder.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return sha256_file(folder / "student" / "model.safetensors"), sha256_file(last / "model.safetensors")


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    teacher_folder: Path,
    student_folder: Path,
    corpus_file: Path,
    shared_cache: Path,
) -> tuple[DistillConfig, dict]:
    """A run from beginning to end: its options and metrics. The student has dropout, which a built one has not."""
    run = tmp_path_factory.mktemp("whole") / "run"
    config = DistillConfig(
        task="sst2", teacher=str(teacher_folder), student=str(student_folder), corpus=[str(corpus_file)], pool_size=640,
        heldout=64, max_length=32, epochs=2.0, batch_size=32, checkpoints=4, learning_rate=0.01,
        logging_steps=4,  # so that most checkpoints lie between two log entries
        precision="fp32", cache_dir=str(shared_cache), output_dir=str(run),
    )  # fmt: skip
    return config, distill(config).metrics


@pytest.fixture(scope="module")
def killed(whole: tuple[DistillConfig, dict], tmp_path_factory: pytest.TempPathFactory) -> dict[str, DistillConfig]:
    """The same run, killed at each of the moments; only --resume is left to do."""
    folder = tmp_path_factory.mktemp("killed")
    configs = {moment: replace(whole[0], output_dir=str(folder / str(number))) for number, moment in enumerate(KILLS)}
    todo = json.dumps({moment: to_dict(config) for moment, config in configs.items()})
    subprocess.run([sys.executable, "-c", SCRIPT], input=todo, text=True, capture_output=True, check=True)
    return {moment: replace(config, resume=True) for moment, config in configs.items()}


# What differs between the history and the metrics of an uninterrupted run and those of a killed and resumed one.
DIFFERS = {
    r"history\[\d+\]\.eval_(runtime|samples_per_second|steps_per_second)": "measured anew by every call",
    r"history\[\d+\]\.train_(runtime|samples_per_second|steps_per_second)": "measured, over all calls",
    r"metrics\.seconds\.\w+": "measured, over all calls",
    r"metrics\.resumed_from": "0 in a run of one call",
    r"metrics\.calls": "1 in a run of one call",
    r"metrics\.teacher_queries_live(_in_all_calls)?": "the cache, which one run fills for the other",
}


def leaves(value: Any, name: str) -> dict[str, Any]:
    """Every number and text in JSON content by its place."""
    if not isinstance(value, dict | list) or not value:
        return {name: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    found: dict[str, Any] = {}
    for key, part in parts:
        found |= leaves(part, f"{name}.{key}" if isinstance(value, dict) else f"{name}[{key}]")
    return found


def differing(first: Path | str | None, second: Path | str | None) -> set[str]:
    """Places in the history, the metrics and the examples of two runs whose values differ, bit for bit."""
    found: set[str] = set()
    for name in ("history", "metrics", "disagreements"):
        left, right = (
            leaves(json.loads((Path(str(run)) / f"{name}.json").read_text(encoding="utf-8")), name)
            for run in (first, second)
        )
        found |= {key for key in left.keys() | right.keys() if left.get(key, ...) != right.get(key, ...)}
    return found


def unexplained(first: Path | str | None, second: Path | str | None) -> set[str]:
    """`differing`, without what differs for one of the reasons in `DIFFERS`."""
    return {key for key in differing(first, second) if not any(re.fullmatch(known, key) for known in DIFFERS)}


def same_run(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """True where nothing that is not a time or a cache differs."""
    free = ("seconds", "resumed_from", "calls", "teacher_queries_live", "teacher_queries_live_in_all_calls")
    return {k: v for k, v in first.items() if k not in free} == {k: v for k, v in second.items() if k not in free}


def test_the_last_weights_of_the_fixture_run_depend_on_every_step_and_on_dropout(whole) -> None:
    config, metrics = whole
    saved = json.loads((Path(str(config.output_dir)) / "student" / "config.json").read_text())
    assert saved["hidden_dropout_prob"] > 0
    assert metrics["steps"] == 40
    assert (Path(str(config.output_dir)) / "checkpoints" / "checkpoint-40").is_dir()


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_resumed_run_equals_the_uninterrupted_one(whole, killed, moment: str) -> None:
    config, (uninterrupted, expected) = killed[moment], whole
    run = Path(str(config.output_dir))
    assert not (run / "metrics.json").exists()
    assert (run / "student").exists() == moment.startswith("score")
    metrics = distill(config).metrics
    assert 0 < metrics["resumed_from"] == KILLS[moment] <= metrics["steps"]
    assert metrics["resumed_from"] < metrics["steps"] or moment.startswith("score")
    assert student(run) == student(uninterrupted.output_dir)
    assert same_run(metrics, expected)
    assert metrics["teacher_queries_live"] == 0
    assert unexplained(run, uninterrupted.output_dir) == set()
    assert json.loads((run / "disagreements.json").read_text(encoding="utf-8")), "nothing was compared"
    assert metrics["calls"] == 2 and expected["calls"] == 1


def test_a_resumed_run_ends_with_the_sums_of_the_whole(whole, killed, tmp_path: Path, caplog) -> None:
    # Two calls before this one, which left what the first phases took and asked, and training up to a checkpoint.
    config = replace(whole[0], output_dir=str(tmp_path / "run"), resume=True)
    run = shutil.copytree(str(whole[0].output_dir), tmp_path / "run")
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "checkpoints" / "checkpoint-40")
    calls = [{"seconds": {"corpus": 100.0, "labelling": 1000.0}, "teacher_queries_live": n} for n in (600, 4)]
    (run / "calls.json").write_text(json.dumps(calls), encoding="utf-8")
    held = run / "checkpoints" / "checkpoint-30" / "so_far.json"
    held.write_text(json.dumps({**json.loads(held.read_text()), "seconds": 5000.0}), encoding="utf-8")
    write_manifest(held.parent)
    with caplog.at_level("INFO"):
        metrics = distill(config).metrics
    assert "training: going on from step 30" in caplog.text
    assert metrics["calls"] == 3 and metrics["resumed_from"] == 30
    assert metrics["teacher_queries_live"] == 0 and metrics["teacher_queries_live_in_all_calls"] == 604
    seconds = metrics["seconds"]
    assert 200 <= seconds["corpus"] < 300 and 2000 <= seconds["labelling"] < 2100 and 5000 < seconds["training"] < 5100
    assert seconds["total"] == pytest.approx(sum(value for name, value in seconds.items() if name != "total"), abs=0.01)
    last = json.loads((run / "history.json").read_text(encoding="utf-8"))[-1]
    assert last["train_runtime"] > 5000 and last["train_steps_per_second"] == pytest.approx(40 / 5000, abs=1e-3)


def test_run_that_was_moved_before_it_was_resumed_keeps_its_best_checkpoint(whole, tmp_path, monkeypatch) -> None:
    # With these three the best checkpoint is not the last.
    config = replace(whole[0], learning_rate=0.03, seed=1, max_class_share=1.0, output_dir=str(tmp_path / "here"))
    with monkeypatch.context() as patched:
        patched.setattr("zskd.evaluation.results.score", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            distill(config)
    before = student(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    metrics = distill(replace(config, output_dir=str(tmp_path / "there"), resume=True)).metrics
    assert metrics["best_step"] < metrics["resumed_from"]
    assert student(tmp_path / "there") == before


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_finished_run_is_returned_and_left_alone(whole) -> None:
    config, expected = whole
    files = [path for path in Path(str(config.output_dir)).rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, sha256_file(path)) for path in files}
    assert distill(replace(config, resume=True)).metrics == expected
    assert {path: (path.stat().st_mtime_ns, sha256_file(path)) for path in files} == before


def test_a_run_killed_after_its_metrics_is_completed(whole, tmp_path: Path) -> None:
    config, expected = whole
    run = shutil.copytree(str(config.output_dir), tmp_path / "run")
    left = run / ".report.html.a1b2c3d4.part"
    left.mkdir()
    (run / "_cache").mkdir()
    (run / "report.html").unlink()
    assert distill(replace(config, output_dir=str(run), resume=True)).metrics == expected
    assert (run / "report.html").is_file() and not left.exists() and not (run / "_cache").exists()


def test_resume_of_nothing_is_a_fresh_run(whole, tmp_path: Path) -> None:
    config, expected = whole
    metrics = distill(replace(config, output_dir=str(tmp_path / "run"), resume=True)).metrics
    assert metrics["resumed_from"] == 0
    assert same_run(metrics, expected)
    assert student(tmp_path / "run") == student(config.output_dir)


def test_another_seed_gives_another_student_and_its_cache_changes_nothing(
    whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zskd.teacher.labelling.SHARD_ROWS", 100)  # so that seeds share some shards and not others
    found = {}
    for name, seed in (("other", 1), ("first", 0), ("alone", 0)):
        cache = str(tmp_path / ("empty" if name == "alone" else "cache"))
        found[name] = distill(replace(whole[0], seed=seed, output_dir=str(tmp_path / name), cache_dir=cache)).metrics
    assert student(tmp_path / "other") != student(whole[0].output_dir)
    assert 0 < found["first"]["teacher_queries_live"] < found["alone"]["teacher_queries_live"]
    assert found["alone"]["teacher_queries_live"] == found["alone"]["teacher_queries"]
    assert student(tmp_path / "first") == student(tmp_path / "alone")
    assert same_run(found["first"], found["alone"])


def test_another_seed_with_the_same_pool_seed_asks_nothing_and_gives_another_student(whole, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = replace(whole[0], seed=1, pool_seed=0, epochs=0.5, output_dir=str(run))
    metrics = distill(config).metrics
    assert metrics["teacher_queries_live"] == 0 and metrics["teacher_queries"] == whole[1]["teacher_queries"]
    assert (metrics["seed"], metrics["pool_seed"]) == (1, 0) and whole[1]["pool_seed"] == 0
    record, first = (json.loads((Path(str(f)) / "record.json").read_text()) for f in (run, whole[0].output_dir))
    assert (record["seed"], record["pool_seed"], record["pools"]) == (1, 0, first["pools"])
    assert student(run) != student(whole[0].output_dir)
    assert "1, and 0 for the inputs" in (run / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"another run \(pool_seed 0 there, 2 here\)"):
        distill(replace(config, pool_seed=2, resume=True))


def resumable(whole: tuple[DistillConfig, dict], folder: Path) -> tuple[DistillConfig, list[Path]]:
    """A copy of the run without its results, and its checkpoints, the newest first."""
    config = replace(whole[0], output_dir=str(folder), resume=True)
    run = shutil.copytree(str(whole[0].output_dir), folder)
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "student")
    return config, sorted((run / "checkpoints").iterdir(), reverse=True)


def test_a_damaged_checkpoint_is_passed_over_and_the_student_stays_the_same(
    whole, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, (newest, older) = resumable(whole, tmp_path / "run")
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "model.safetensors").write_bytes(bytes(content))
    metrics = distill(config).metrics
    assert f"{newest}: passed over: model.safetensors: expected the checksum of what was written" in caplog.text
    assert metrics["resumed_from"] == int(older.name.rpartition("-")[2]) < metrics["steps"]
    assert student(tmp_path / "run") == student(whole[0].output_dir) and same_run(metrics, whole[1])


def test_a_run_is_not_resumed_on_other_inputs(whole, tmp_path: Path) -> None:
    """As after an update that shapes text otherwise."""
    run = shutil.copytree(str(whole[0].output_dir), tmp_path / "run")
    (run / "metrics.json").unlink()
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    record["pools"]["fingerprint"] = "0" * 64
    (run / "record.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match="expected the inputs that the training in"):
        distill(replace(whole[0], output_dir=str(run), resume=True))


@pytest.mark.parametrize("held", ["another machine", "this one", "an older zskd"])
def test_a_run_resumed_on_another_kind_of_machine_says_so_and_goes_on(
    whole, held: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, expected = whole
    run = shutil.copytree(str(config.output_dir), tmp_path / "run")
    (run / "metrics.json").unlink()
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    file = run / "checkpoints" / "checkpoint-40" / "machine.json"
    assert json.loads(file.read_text(encoding="utf-8")) == record["machine"]
    if held == "another machine":
        file.write_text(json.dumps({**record["machine"], "cpu": "AVX1024"}), encoding="utf-8")
        write_manifest(file.parent)
    if held == "an older zskd":
        file.unlink()
        as_of_an_older_zskd(file.parent)
        del record["machine"]
        (run / "record.json").write_text(json.dumps(record), encoding="utf-8")
    with caplog.at_level("INFO"):
        metrics = distill(replace(config, output_dir=str(run), resume=True)).metrics
    assert metrics["resumed_from"] == 40 and same_run(metrics, expected)
    assert ("has no manifest.json, as an older zskd" in caplog.text) == (held == "an older zskd")
    assert ("cpu AVX1024 there" in caplog.text) == (held == "another machine")
    assert caplog.text.count("another kind of machine") == (held == "another machine")
