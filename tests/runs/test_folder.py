"""The run folder knows which task it was made for, whatever the task file says now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.runs.folder import RunFolder, check_run_folder

TASK = "text_columns: [text]\nlabel_column: label\nlabels: [{}]\n"


def test_resuming_after_the_task_file_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(TASK.format("bad, good"), encoding="utf-8")
    config = DistillConfig(task=str(file), output_dir=str(tmp_path / "run"), resume=True)
    run = RunFolder(config)
    run.start({"seed": 0}, {})
    assert check_run_folder(run.path, config) == []
    file.write_text(TASK.format("good, bad"), encoding="utf-8")
    (problem,) = check_run_folder(run.path, config)
    assert "another definition" in problem and str(run.path) in problem


def test_a_student_of_another_precision_is_another_run(tmp_path: Path) -> None:
    config = DistillConfig(task="sst2", output_dir=str(tmp_path / "run"), resume=True)
    run = RunFolder(config)
    run.start({}, {})
    (problem,) = check_run_folder(run.path, replace(config, student_precision="bf16"))
    assert "student_precision 'fp32' there, 'bf16' here" in problem


def test_a_folder_without_a_record_is_resumed_by_its_options(tmp_path: Path) -> None:
    config = DistillConfig(task="sst2", output_dir=str(tmp_path / "run"), resume=True)
    run = RunFolder(config)
    run.start({}, {})
    (run.path / "record.json").unlink()  # stopped between the two files
    assert check_run_folder(run.path, config) == []


def test_an_option_that_an_older_run_lacks_counts_as_its_default(tmp_path: Path) -> None:
    config = DistillConfig(task="sst2", output_dir=str(tmp_path / "run"), resume=True)
    run = RunFolder(config)
    run.start({}, {})
    path = run.path / "config.yaml"
    held = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name in ("method", "student_precision"):
        del held[name]
    path.write_text(yaml.safe_dump(held), encoding="utf-8")
    assert check_run_folder(run.path, config) == []
    (problem,) = check_run_folder(run.path, replace(config, method=["adversarial"], student_precision="bf16"))
    assert "method [] there, ['adversarial'] here" in problem and "student_precision 'fp32' there" in problem


def test_other_inputs_are_another_run_however_their_seed_is_named(tmp_path: Path) -> None:
    config = DistillConfig(task="sst2", seed=3, output_dir=str(tmp_path / "run"), resume=True)
    run = RunFolder(config)
    run.start({}, {})
    held = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    assert (held["seed"], held["pool_seed"]) == (3, None)
    assert check_run_folder(run.path, replace(config, pool_seed=3)) == [], "the default by its name"
    (problem,) = check_run_folder(run.path, replace(config, pool_seed=0))
    assert "(pool_seed None there, 0 here)" in problem
    (problem,) = check_run_folder(run.path, replace(config, seed=4, pool_seed=3))
    assert "(seed 3 there, 4 here)" in problem
    (problem,) = check_run_folder(run.path, replace(config, seed=4))
    assert "(seed 3 there, 4 here)" in problem
    del held["pool_seed"]  # as an older zskd wrote it
    (run.path / "config.yaml").write_text(yaml.safe_dump(held), encoding="utf-8")
    assert check_run_folder(run.path, config) == []
    (problem,) = check_run_folder(run.path, replace(config, pool_seed=0))
    assert "(pool_seed None there, 0 here)" in problem


def test_what_a_kill_before_the_first_file_left_is_no_other_run(tmp_path: Path) -> None:
    config = DistillConfig(task="sst2", output_dir=str(tmp_path / "run"))
    run = RunFolder(config)
    left = run.path / ".config.yaml.a1b2c3d4.part"
    left.mkdir(parents=True)
    (left / "config.yaml").write_text("task: ss", encoding="utf-8")
    assert check_run_folder(run.path, config) == check_run_folder(run.path, replace(config, resume=True)) == []
    run.clear()
    assert list(run.path.iterdir()) == []
    (run.path / ".thesis.tex.a1b2c3d4.part").mkdir()
    (problem,) = check_run_folder(run.path, config)
    assert "expected an empty or new folder" in problem


def test_a_run_folder_with_links_is_not_resumed(tmp_path: Path) -> None:
    """One from elsewhere could have old checkpoints removed that are not its own."""
    config = DistillConfig(task="sst2", output_dir=str(tmp_path / "run"), resume=True)
    RunFolder(config).start({}, {})
    assert check_run_folder(tmp_path / "run", config) == []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    (problem,) = check_run_folder(tmp_path / "run", config)
    assert problem.endswith("found links, which are not followed: checkpoints")


def test_checkpoints_of_a_training_on_other_inputs_are_not_gone_on_from(tmp_path: Path) -> None:
    run = RunFolder(DistillConfig(task="sst2", output_dir=str(tmp_path / "run"), resume=True))
    run.check_inputs("here")  # a new folder
    run.start({"pools": {"fingerprint": "there"}}, {})
    run.check_inputs("here")  # no checkpoint yet
    (run.checkpoints / "checkpoint-5").mkdir(parents=True)
    run.check_inputs("there")
    with pytest.raises(InputError, match=r"--resume: .* found others: .*; .* remove .*checkpoints"):
        run.check_inputs("here")
    (run.path / "record.json").write_text("{", encoding="utf-8")  # is written anew
    run.check_inputs("here")
