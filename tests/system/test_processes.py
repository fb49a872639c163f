"""Two processes here, started by zskd, torchrun and accelerate: one student, every shard asked once, clear ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import as_flags, save_model, tiny_bert
from labelled_rows import task_file
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zskd.config.distillation import DistillConfig
from zskd.pipeline import distill
from zskd.system.files import sha256_file
from zskd.system.processes import gather, main_first, on_main
from zskd.teacher.asking import BATCH
from zskd.teacher.labelling import SHARD_ROWS

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1")
RUNS = ("alone", "both")
# Two processes of two threads each on two cores would wait for each other.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def without_dropout(student_folder: Path, tmp_path: Path) -> Path:
    """A student to start from whose loss does not depend on random numbers, which differ between processes."""
    model = AutoModelForSequenceClassification.from_pretrained(student_folder)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    model.save_pretrained(tmp_path / "start")
    AutoTokenizer.from_pretrained(student_folder).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def of_the_teachers_vocabulary(teacher_folder: Path, tmp_path: Path) -> Path:
    """The same with the teacher's tokenizer, so that a gradient can go through both."""
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    model = tiny_bert(len(tokenizer), ("negative", "positive"), 16, seed=3)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    return save_model(tmp_path / "start", model, tokenizer)


def zskd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**ENVIRONMENT, **environment}, timeout=240
    )


def losses(run: Path) -> list[float]:
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    return [entry["loss"] for entry in history if "loss" in entry]


def test_two_processes_of_torchrun_leave_the_student_of_one(
    tiny_config: DistillConfig, without_dropout: Path, tmp_path: Path
) -> None:
    small = replace(tiny_config, student=str(without_dropout), logging_steps=1, cache_dir=str(tmp_path / "cache"))
    alone = distill(replace(small, output_dir=str(tmp_path / "alone"))).metrics
    both = replace(small, num_processes=2, cache_dir=str(tmp_path / "other"), output_dir=str(tmp_path / "both"))
    done = zskd(*TORCHRUN, "-m", "zskd", "distill", *as_flags(both))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "both" / "record.json").read_text(encoding="utf-8"))
    metrics = json.loads((tmp_path / "both" / "metrics.json").read_text(encoding="utf-8"))
    assert record["processes"] == 2
    assert metrics["steps"] == alone["steps"] == 40
    assert metrics["teacher_queries_live"] == alone["teacher_queries_live"] == alone["teacher_queries"]
    np.testing.assert_allclose(losses(tmp_path / "both"), losses(tmp_path / "alone"), rtol=1e-4)
    left, right = (load_file(tmp_path / run / "student" / "model.safetensors") for run in ("alone", "both"))
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=1e-4, err_msg=name)
    assert done.stdout.count("agreement (held out)") == 1
    assert done.stderr.count("corpus: ") == 1


def test_two_processes_say_once_what_is_wrong_with_the_users_files(tiny_config: DistillConfig, tmp_path: Path) -> None:
    (corpus,) = tiny_config.corpus
    gold = tmp_path / "gold.tsv"
    gold.write_text("sentence\tlabel\nfine\t1\n\t0\ntoo few\n", encoding="utf-8")
    own = replace(
        tiny_config, corpus=[corpus, corpus], gold_labels=str(gold), skip_bad_rows=True, epochs=0.2, num_processes=2,
        cache_dir=str(tmp_path / "cache"), output_dir=str(tmp_path / "both"),
    )  # fmt: skip
    done = zskd("-m", "zskd", "distill", *as_flags(own))
    assert done.returncode == 0, done.stderr
    said = ("named twice; it is read once", "1 bad row(s) left out", "an empty text; there are 1")
    assert [done.stderr.count(part) for part in said] == [1, 1, 1], done.stderr


@pytest.mark.slow
def test_two_processes_warm_up_one_generator_and_write_what_one_would(
    tiny_config: DistillConfig, of_the_teachers_vocabulary: Path, tmp_path: Path
) -> None:
    small = replace(
        tiny_config,
        student=str(of_the_teachers_vocabulary),
        perturb="adversarial",
        pool_size=672,  # leaves whole batches, see docs/performance.md
        generator_warmup=10,
        student_steps=10,
        generator_steps=5,
        logging_steps=1,
    )
    for name, processes in zip(RUNS, (None, 2), strict=True):
        own = {"cache_dir": str(tmp_path / f"cache-{name}"), "output_dir": str(tmp_path / name)}
        done = zskd("-m", "zskd", "distill", *as_flags(replace(small, num_processes=processes, **own)))
        assert done.returncode == 0, done.stderr
    generators = [next((tmp_path / f"cache-{name}" / "generators").glob("*/model.safetensors")) for name in RUNS]
    left, right = map(load_file, generators)
    assert all((left[name] == right[name]).all() for name in left)
    assert len(losses(tmp_path / "both")) >= 30
    np.testing.assert_allclose(losses(tmp_path / "both"), losses(tmp_path / "alone"), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("perturb", ["random", "adversarial"])
def test_two_processes_that_are_killed_and_resumed_train_what_they_would_have(
    perturb: str, tiny_config: DistillConfig, of_the_teachers_vocabulary: Path, tmp_path: Path
) -> None:
    """Also where they resume in the second epoch, whose rows have another order, and within a round."""
    config = replace(
        tiny_config,
        student=str(of_the_teachers_vocabulary),
        perturb=perturb,
        num_processes=2,
        pool_size=4_096,
        checkpoints=16,
        adversarial_start=0.2,
        generator_warmup=2,
        student_steps=10,
        generator_steps=2,
        cache_dir=str(tmp_path / "cache"),
    )
    whole = replace(config, output_dir=str(tmp_path / "whole"))
    assert zskd("-m", "zskd", "distill", *as_flags(whole)).returncode == 0
    run = tmp_path / "run"

    def in_the_second_epoch() -> bool:
        steps = [int(path.parent.name.rpartition("-")[2]) for path in run.glob("checkpoints/*/trainer_state.json")]
        return max(steps, default=0) > 4_096 // config.batch_size

    kill_second_worker(config, in_the_second_epoch)
    again = zskd("-m", "zskd", "distill", *as_flags(config), "--resume")
    assert again.returncode == 0, again.stderr
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["resumed_from"] > 128
    weights = [sha256_file(tmp_path / name / "student" / "model.safetensors") for name in ("whole", "run")]
    assert weights[0] == weights[1]
    assert zskd("-m", "zskd", "distill", *as_flags(config), "--resume").returncode == 0, "it is finished"


def test_accelerate_starts_two_processes_where_there_is_no_gpu_either(
    tiny_config: DistillConfig, tmp_path: Path
) -> None:
    """``--multi_gpu`` is torch's launcher and counts no GPUs; zskd's processes take the CPU where there are none."""
    small = replace(tiny_config, pool_size=128, epochs=1.0, checkpoints=1)
    done = zskd(*ACCELERATE, "--multi_gpu", "--main_process_port", "0", "-m", "zskd", "distill", *as_flags(small))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "record.json").read_text(encoding="utf-8"))
    assert record["processes"] == 2
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
    assert done.stdout.count("agreement (held out)") == 1


def test_accelerate_that_starts_one_process_instead_of_two_is_noticed(
    tiny_config: DistillConfig, tmp_path: Path
) -> None:
    flags = as_flags(replace(tiny_config, num_processes=2))
    done = zskd(*ACCELERATE, "--cpu", "-m", "zskd", "distill", *flags)
    assert done.returncode != 0
    assert "--num-processes 2: expected 2 processes, found 1" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_killed_process_ends_the_run_and_the_next_start_goes_on(
    tiny_config: DistillConfig, without_dropout: Path, tmp_path: Path
) -> None:
    config = replace(
        tiny_config,
        student=str(without_dropout),
        num_processes=2,
        pool_size=20_000,
        epochs=2.0,
        checkpoints=20,
        cache_dir=str(tmp_path / "cache"),
    )
    run = tmp_path / "run"
    kill_second_worker(config, lambda: any(run.glob("checkpoints/checkpoint-*/trainer_state.json")))
    again = zskd("-m", "zskd", "distill", *as_flags(config), "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("agreement (held out)") == 1
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["resumed_from"] > 0
    assert metrics["teacher_queries_live"] == 0
    assert json.loads((run / "record.json").read_text(encoding="utf-8"))["processes"] == 2


# In its second shard, the second process waits until it is killed; every answer is noted, but for those to the few
# fixed texts by which a callable is known.
WAITING_TEACHER = """
import os, time
from pathlib import Path

HERE, RANK = Path(__file__).parent, os.environ.get("RANK", "0")
calls = 0

def ask(texts):
    global calls
    if len(texts) > 8:
        calls += 1
        if RANK == "1" and calls > 20:
            (HERE / "waiting").touch()
            time.sleep(600)
        with (HERE / f"asked by {RANK}").open("a") as file:
            file.writelines(f"{text}\\n" for text in texts)
    return [[len(text) % 7, len(text) % 5] for text in texts]
"""


def test_a_process_killed_while_labelling_ends_the_run_and_finished_shards_are_not_asked_again(
    config_for: Callable[..., DistillConfig],
    student_folder: Path,
    corpus_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "waiting_teacher.py").write_text(WAITING_TEACHER, encoding="utf-8")
    config = config_for(
        task_file(tmp_path / "two.yaml", {"text_columns": ["text"], "label_column": "label", "labels": ["a", "b"]}),
        teacher="waiting_teacher:ask",
        student=str(student_folder),
        corpus=[str(corpus_file)],
        num_processes=2,
        pool_size=4 * SHARD_ROWS,
        epochs=0.05,
        checkpoints=1,
        cache_dir=str(tmp_path / "cache"),
    )
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}
    shards = tmp_path / "cache" / "labels"
    # By then the first process has done its two shards and waits for the other.
    kill_second_worker(
        config, lambda: (tmp_path / "waiting").exists() and len(list(shards.glob("*/*.arrow"))) == 3, **path
    )
    finished = {file: file.stat().st_mtime_ns for file in shards.glob("*/*.arrow")}
    before = asked(tmp_path)
    assert len(before) == 3 * SHARD_ROWS + 4 * BATCH
    # In one process, this one, which is quicker than to start two; they would find the same shards.
    monkeypatch.syspath_prepend(tmp_path)
    metrics = distill(replace(config, num_processes=None, resume=True)).metrics
    assert len(asked(tmp_path)) - len(before) == metrics["teacher_queries_live"]
    # The four calls in the shard that was not finished are not made again either; a few texts are in two pools.
    known = metrics["teacher_queries"] - metrics["teacher_queries_live"]
    assert len(before) <= known < len(before) + 20 and len(asked(tmp_path)) == len(set(asked(tmp_path)))
    assert all(file.stat().st_mtime_ns == written for file, written in finished.items())


def asked(folder: Path) -> list[str]:
    """Texts that all processes asked the waiting teacher for."""
    return [line for file in folder.glob("asked by *") for line in file.read_text(encoding="utf-8").splitlines()]


def kill_second_worker(config: DistillConfig, condition: Callable[[], bool], **environment: str) -> None:
    """Start a run, kill its second process when `condition` holds, and see that the run ends soon and says why."""
    command = [sys.executable, "-m", "zskd", "distill", *as_flags(config)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, **environment}
    )
    wait_for(condition, process)
    os.kill(worker_of(process.pid, rank=1), signal.SIGKILL)
    started = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - started < 60
    assert process.returncode == 1
    assert "process 1 of 2 was killed by SIGKILL" in error
    assert "--resume" in error
    assert "Traceback" not in error


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def worker_of(parent: int, rank: int) -> int:
    """Process id of the worker that has a rank."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                environment = (entry / "environ").read_bytes().split(b"\0")
                found += [int(entry.name)] if f"RANK={rank}".encode() in environment else []
        except FileNotFoundError:
            continue  # it ended meanwhile
    (only,) = found
    return only


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_sharded_training_is_refused_with_a_reason(
    variable: str, cli: Callable[..., Any], tiny_config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "true")
    done = cli("distill", *as_flags(tiny_config))
    assert done.code == 2
    assert "nothing to shard" in done.err


def test_a_batch_that_the_processes_cannot_share_is_wrong_input(
    cli: Callable[..., Any], tiny_config: DistillConfig
) -> None:
    done = cli("distill", *as_flags(replace(tiny_config, num_processes=3)))
    assert done.code == 2
    assert "--batch-size 32: expected a multiple of the 3 processes" in done.err


def test_alone_everything_is_done_here() -> None:
    assert gather(3) == [3]
    assert on_main(lambda: 4) == 4
    calls: list[int] = []
    assert main_first(lambda: calls.append(1) or len(calls)) == 1
