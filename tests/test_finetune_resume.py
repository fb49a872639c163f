"""Trainings of teachers killed and resumed: adapters and whole models, in both precisions, bit for bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import as_flags, glue_folder, tiny_bert, word_tokenizer

from zskd.config.resolve import to_dict
from zskd.config.verbs import FinetuneConfig
from zskd.errors import InputError, RunError
from zskd.finetune import finetune, teach
from zskd.models.loading import model_fingerprint
from zskd.runs.training_folder import working_folder
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import TASKS
from zskd.training.manifest import write_manifest

SST2 = TASKS["sst2"]
KINDS: dict[str, dict[str, Any]] = {
    "adapter, fp32": {"precision": "fp32"},
    "adapter, bf16": {"precision": "bf16"},
    "whole model, fp32": {"precision": "fp32", "full": True, "learning_rate": 1e-3},
    "whole model, bf16": {"precision": "bf16", "full": True, "learning_rate": 1e-3},
}
# Moment of the SIGKILL, or of a SIGTERM, after which the step has time to end -> step to resume at; None where training
# is over, or there is nothing to resume. An epoch has 7 steps, a training 56, with an evaluation every 13 and at the
# end; the mean of the last 4 evaluations is chosen.
KILLS = {
    "step 5, before the first checkpoint": None,
    "step 20, in the third epoch": 13,
    "step 28, at the end of an epoch": 26,
    "snapshots 26, when the weights are written and no checkpoint": 13,
    "save 39, before the checkpoint's state is written": 26,
    "signal 30, between two evaluations": 30,
    "choose, after the last step": 56,
    "score, when the teacher is saved": None,
}

# Each training is a fork that kills itself, so that the libraries are imported once.
SCRIPT = """
import json, os, signal, sys
from transformers import TrainerState
from zskd.config.verbs import FinetuneConfig
from zskd.finetune import classifier_trainer, finetune, snapshots, teach
from zskd.system import interrupts

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

for name, options in json.load(sys.stdin).items():
    what, _, number = name.partition(": ")[2].partition(",")[0].partition(" ")
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (143 if what == "signal" else -signal.SIGKILL), (name, code)
        continue
    interrupts.install(resumable=True)
    class Killer(classifier_trainer.EvaluationLog):
        def on_step_end(self, args, state, control, **kwargs):
            if what == "step" and state.global_step == int(number):
                die()
            if what == "signal" and state.global_step == int(number):
                os.kill(os.getpid(), signal.SIGTERM)
    classifier_trainer.EvaluationLog = Killer
    if what == "save":
        save = TrainerState.save_to_json
        TrainerState.save_to_json = lambda *args: (die if args[0].global_step == int(number) else save)(*args)
    if what == "snapshots":
        before = snapshots.Snapshots.save
        snapshots.Snapshots.save = lambda *args: (die if args[2] == int(number) else before)(*args)
    if what == "choose":
        classifier_trainer.choose_weights = die
    if what == "score":
        teach.score_teacher = die
    try:
        finetune(FinetuneConfig(**options))
    except interrupts.Interrupted as error:
        os._exit(error.exit_code)
    finally:
        os._exit(1)
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> FinetuneConfig:
    """A training that takes about a second; backbone and adapter have dropout."""
    folder = tmp_path_factory.mktemp("resumed")
    tokenizer = word_tokenizer(read_labelled(SST2, str(SST2.probe_path())).texts[0])
    body = tiny_bert(len(tokenizer), SST2.labels).bert
    assert body.config.hidden_dropout_prob > 0
    body.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return FinetuneConfig(
        task="sst2", base=str(folder / "base"), rank=4, glue_dir=str(glue_folder(folder)), selection_rows=16,
        max_length=16, epochs=8.0, batch_size=16, learning_rate=0.01, checkpoints=4,
        output_dir=str(folder / "whole"), cache_dir=str(folder / "cache"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept() -> Iterator[list[str]]:
    """Fingerprints of the weights of finished trainings, before an adapter is rounded to float16, the newest last."""
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        keep = teach._keep

        def note(config: Any, output: Any, start: Any, record: Any) -> None:
            found.append(model_fingerprint(start.model))
            keep(config, output, start, record)

        patched.setattr(teach, "_keep", note)
        yield found


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Equal but for what is measured."""
    return {**first, "seconds": 0} == {**second, "seconds": 0}


def working(config: FinetuneConfig) -> Path:
    return working_folder(Path(str(config.output_dir)))


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*"))


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End trainings in this process after a step, as a kill would."""

    def end(self: object, args: object, state: Any, control: object, **kwargs: object) -> None:
        if state.global_step == step:
            raise ZeroDivisionError

    monkeypatch.setattr("zskd.training.log.EvaluationLog.on_step_end", end)


def test_a_training_that_was_cut_short_goes_on_bit_for_bit(
    cli, options: FinetuneConfig, kept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    config = replace(options, precision="bf16", epochs=2.0, output_dir=str(tmp_path / "teacher"))
    whole = finetune(replace(config, output_dir=str(tmp_path / "whole")))
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        stop_at(patched, 8)
        finetune(config)
    work = working(config)
    assert steps_in(work) == [3, 6]
    again = cli("finetune", *as_flags(config))
    assert again.code == 2 and len(again.errors) == 1, again.err
    assert f"{work}, unfinished, with a checkpoint of step 6; pass --resume to continue it" in again.errors[0]
    other = cli("finetune", *as_flags(replace(config, rank=2, learning_rate=0.02, resume=True)))
    assert other.code == 2 and len(other.errors) == 1, other.err
    assert "(--rank 4 there, 2 here, --learning-rate 0.01 there, 0.02 here)" in other.errors[0]
    with pytest.raises(InputError, match="--precision 'bf16' there, 'fp32' here"):
        finetune(replace(config, precision="fp32", resume=True))
    assert steps_in(work) == [3, 6], "nothing is lost"
    held = work / "checkpoint-6" / "so_far.json"
    held.write_text(json.dumps({**json.loads(held.read_text()), "seconds": 5000.0}), encoding="utf-8")
    write_manifest(held.parent)
    caplog.clear()
    with caplog.at_level("INFO", "zskd"):
        done = finetune(replace(config, resume=True))
    assert "training: going on from step 6" in caplog.text and "; 83 min so far, about " in caplog.text
    assert kept[-1] == kept[-2] and same(done.record, whole.record)
    assert 5000 < done.record["seconds"] < 5100 and 0 < whole.record["seconds"] < 100
    assert not work.exists()


def test_what_a_training_began_with_has_to_be_there(
    options: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glue, base = shutil.copytree(str(options.glue_dir), tmp_path / "glue"), tmp_path / "base"
    shutil.copytree(options.base, base)
    config = replace(
        options, glue_dir=str(glue), base=str(base), epochs=1.0, precision="fp32", output_dir=str(tmp_path / "teacher")
    )
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        stop_at(patched, 2)
        finetune(config)
    resumed = replace(config, resume=True)
    train = glue / "SST-2" / "train.tsv"
    rows = train.read_text(encoding="utf-8")
    train.write_text(rows.replace("a fine and moving film 3\t1", "a fine and moving film 3\t0"), encoding="utf-8")
    tiny_bert(
        len(word_tokenizer(read_labelled(SST2, str(SST2.probe_path())).texts[0])), SST2.labels, seed=1
    ).bert.save_pretrained(base)
    with pytest.raises(InputError) as raised:
        finetune(resumed)
    first, second = raised.value.problems
    assert first.startswith(f"{train}: expected the rows that the training in {working(config)} began with")
    assert second.startswith(f"--base {base}: expected the weights that the training in")
    monkeypatch.setattr(teach, "training_precision", lambda asked: "bf16" if asked == "auto" else asked)
    with pytest.raises(InputError) as raised:
        finetune(replace(resumed, precision="auto"))
    assert "--precision auto: expected fp32" in raised.value.problems[0]
    assert "pass --precision fp32" in raised.value.problems[0]
    assert steps_in(working(config)) == [1], "nothing is lost"


@pytest.mark.slow
def test_resume_of_what_is_finished_returns_it_and_refuses_another(
    cli, options: FinetuneConfig, tmp_path: Path, caplog
) -> None:
    config = replace(options, precision="fp32", epochs=1.0, output_dir=str(tmp_path / "teacher"))
    first = finetune(replace(config, resume=True))  # of nothing: a new training
    files = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    with caplog.at_level("INFO", "zskd"):
        assert finetune(replace(config, resume=True)) == first
    assert "holds the finished teacher; nothing is left to train" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == files
    assert finetune(replace(config, resume=True, precision="auto")) == first, "auto may mean what it was"
    for changed, found in (({"seed": 3}, "--seed 0 there, 3 here"), ({"adapter": str(first.folder)}, "--adapter None")):
        done = cli("finetune", *as_flags(replace(config, resume=True, **changed)))
        assert done.code == 2 and len(done.errors) == 1, done.err
        assert "holds another teacher" in done.errors[0] and found in done.errors[0]
    done = cli("finetune", *as_flags(config))
    assert done.code == 2 and "expected a new or empty folder" in done.errors[0]
    weights = first.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    done = cli("finetune", *as_flags(replace(config, resume=True)))
    assert done.code == 2 and "expected the weights that the training wrote" in done.errors[0]


@pytest.mark.slow
def test_a_damaged_snapshot_is_missed(
    options: FinetuneConfig, kept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    config = replace(options, precision="fp32", output_dir=str(tmp_path / "teacher"))
    whole = finetune(replace(config, output_dir=str(tmp_path / "whole")))
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        stop_at(patched, 30)
        finetune(config)
    work = working(config)
    (work / "snapshots" / "step-26.safetensors").unlink()
    done = finetune(replace(config, resume=True))
    assert "checkpoint-26: passed over: snapshots/step-26.safetensors: expected a file, found none" in caplog.text
    assert kept[-1] == kept[-2] and same(done.record, whole.record)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        stop_at(patched, 30)
        finetune(config := replace(config, output_dir=str(tmp_path / "other")))
    (working(config) / "snapshots" / "step-13.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="expected a checkpoint that is as it was written, found none"):
        finetune(replace(config, resume=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_training_equals_the_uninterrupted_one(
    kind: str, options: FinetuneConfig, kept: list[str], tmp_path: Path, caplog
) -> None:
    base = replace(options, **KINDS[kind])
    whole = finetune(replace(base, output_dir=str(tmp_path / "whole")))
    weights = kept[-1]
    assert whole.record["chosen"] == "mean of last 4" and whole.record["steps"] == 56
    configs = {
        f"{kind}: {moment}": replace(base, output_dir=str(tmp_path / str(number)))
        for number, moment in enumerate(KILLS)
    }
    todo = json.dumps({name: to_dict(config) for name, config in configs.items()})
    subprocess.run([sys.executable, "-c", SCRIPT], input=todo, text=True, capture_output=True, check=True)
    for (moment, step), config in zip(KILLS.items(), configs.values(), strict=True):
        assert (Path(str(config.output_dir))).exists() == moment.startswith("score"), moment
        caplog.clear()
        count = len(kept)
        with caplog.at_level("INFO", "zskd"):
            done = finetune(replace(config, resume=True))
        assert ("going on from step" in caplog.text) == (step is not None), moment
        assert f"going on from step {step}" in caplog.text or step is None, moment
        assert kept[count:] == ([] if moment.startswith("score") else [weights]), moment
        assert same(done.record, whole.record), moment
        assert done.record == json.loads((done.folder / "training.json").read_text(encoding="utf-8"))
        assert done.record["seconds"] > 0 and not working(config).exists()
