"""`check` finds what is wrong with a configuration before a weight is loaded, and names flag and value."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from labelled_rows import task_file

from zskd import checks
from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.resolve import to_dict
from zskd.models.backbones import PACKAGED
from zskd.tasks.task import TASKS, Task, find_task


def model_folder(folder: Path, **config: object) -> str:
    """A model folder as far as the checks look: a ``config.json``."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def only(problems: list[str], *parts: object) -> None:
    """There is one problem, and it says all of `parts`."""
    assert len(problems) == 1, problems
    for part in parts:
        assert str(part) in problems[0]


def test_sound_configuration_has_no_problem(tiny_config: DistillConfig, glue_dir: Path) -> None:
    assert check(replace(tiny_config, glue_dir=str(glue_dir))) == []


def test_compiling_needs_a_compiler_and_a_teacher_with_weights(
    tiny_config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "python3")
    assert check(replace(tiny_config, compile=True)) == []
    assert any("--compile: a callable teacher" in p for p in check(replace(tiny_config, compile=True), black_box=True))
    monkeypatch.setenv("CXX", "no-such-compiler")
    only(check(replace(tiny_config, compile=True)), "--compile", "found no no-such-compiler")
    assert check(tiny_config) == []


def test_a_launcher_does_not_change_the_student_s_precision_unseen(
    tiny_config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked, given in (("no", "fp32"), ("no", "bf16"), ("bf16", "bf16")):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
        assert check(replace(tiny_config, student_precision=given)) == []
    only(check(tiny_config), "--student-precision fp32", "asks for bf16", "`no`")


def test_checks_load_neither_torch_nor_transformers(tiny_config: DistillConfig) -> None:
    code = (
        "import sys; from zskd.checks import check; from zskd.config.distillation import DistillConfig;"
        f"assert check(DistillConfig(**{to_dict(tiny_config)!r})) == [];"
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["temperature", "epochs", "learning_rate", "weight_decay"])
def test_number_that_is_not_finite_is_named(tiny_config: DistillConfig, name: str, value: float) -> None:
    only(check(replace(tiny_config, **{name: value})), flag(name), value)


@pytest.mark.parametrize("seed", [2**32, 10**30])
def test_seed_that_no_generator_takes_is_named(tiny_config: DistillConfig, seed: int) -> None:
    only(check(replace(tiny_config, seed=seed)), "--seed", seed)
    only(check(replace(tiny_config, pool_seed=seed)), "--pool-seed", seed)


@pytest.mark.parametrize("name", ["perturb", "precision"])
def test_unknown_choice_names_the_known_ones(tiny_config: DistillConfig, name: str) -> None:
    choices = next(item.metadata["choices"] for item in fields(DistillConfig) if item.name == name)
    only(check(replace(tiny_config, **{name: "other"})), flag(name), "'other'", *choices)


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("teacher", None),
        *(("teacher", name) for name in PACKAGED),
        ("student", "build"),
        ("student", "."),
        ("generator", "build"),
    ],
)
def test_a_revision_of_what_is_not_on_the_hub_is_not_left_out_of_account(
    tiny_config: DistillConfig, role: str, name: str | None
) -> None:
    config = replace(tiny_config, **{f"{role}_revision": "main"}, **({role: name} if name else {}))
    named = [problem for problem in check(config) if problem.startswith(f"--{role}-revision main: ")]
    only(named, "expected a Hub id", getattr(config, role))
    assert not any("revision" in p for p in check(replace(config, **{role: "someone/model"})))


def test_a_revision_of_a_teacher_that_is_handed_over(tiny_config: DistillConfig) -> None:
    config = replace(tiny_config, teacher="default", teacher_revision="main")
    only([p for p in check(config, model=True) if "revision" in p], "--teacher-revision main", "an object")


def test_a_class_share_that_no_answers_can_keep(tiny_config: DistillConfig) -> None:
    only(check(replace(tiny_config, max_class_share=0.49)), "--max-class-share 0.49", "the 2 classes of sst2, 0.5")
    assert check(replace(tiny_config, max_class_share=0.5)) == []


def test_unknown_tracker_is_named(tiny_config: DistillConfig) -> None:
    only(check(replace(tiny_config, report_to="tensorbored")), "--report-to", "tensorbored")


def test_tracker_that_is_not_installed_is_named(tiny_config: DistillConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    only(check(replace(tiny_config, report_to="wandb")), "--report-to wandb", "the package wandb", "pip install wandb")


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_preset_can_be_distilled(tiny_config: DistillConfig, tmp_path: Path, task: Task) -> None:
    teacher = model_folder(tmp_path / "teacher", id2label=dict(enumerate(task.labels)))
    assert check(replace(tiny_config, task=task.name, teacher=teacher)) == []


def test_task_file_can_be_distilled(tiny_config: DistillConfig, own_tasks: dict[str, str], tmp_path: Path) -> None:
    for task in map(find_task, own_tasks.values()):
        teacher = model_folder(tmp_path / task.name, id2label=dict(enumerate(task.labels)))
        config = replace(tiny_config, task=own_tasks[task.name], teacher=teacher)
        assert check(config) == []
        only(check(replace(config, teacher="default")), "--teacher default", task.name)
        only(check(replace(config, hub_eval=True)), "--hub-eval", task.name)
        only(check(replace(config, teacher="embedded")), "--teacher embedded", "zskd finetune")


def test_problems_of_a_task_file_come_with_the_others(tiny_config: DistillConfig, tmp_path: Path) -> None:
    path = task_file(tmp_path / "own.yaml", {"text_columns": ["a"], "label_column": "b", "labels": ["x", "x"]})
    problems = check(replace(tiny_config, task=path, temperature=-1.0))
    assert len(problems) == 2
    assert any(path in p and "labels:" in p for p in problems)
    assert any(p.startswith("--temperature") for p in problems)


def test_callable_teacher_shows_nothing_to_build_from(tiny_config: DistillConfig, student_folder: Path) -> None:
    named = replace(tiny_config, teacher="module:function")
    assert check(named) == [], "it begins with the packaged start"
    without = replace(named, start_from="none")
    only(check(without), "--student build", "callable")
    only(check(replace(tiny_config, start_from="none"), black_box=True), "--student build", "callable")
    for config, given in ((named, False), (replace(tiny_config, teacher="default"), True)):
        assert check(replace(config, student=str(student_folder)), black_box=given) == []


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, ("expected 2 labels", "found 3 (a, b, c)")),
        (
            {"id2label": {"0": "bad", "1": "good"}},
            ("found bad, good", "--label-map bad=negative,good=positive"),
        ),
        ({}, ("found LABEL_0, LABEL_1", "--label-map LABEL_0=negative,LABEL_1=positive")),
    ],
    ids=["number", "names", "LABEL_i"],
)
def test_teacher_with_other_labels(tiny_config: DistillConfig, tmp_path: Path, config: dict, parts: tuple) -> None:
    folder = model_folder(tmp_path / "other", **config)
    only(check(replace(tiny_config, teacher=folder)), f"--teacher {folder}", *parts)


@pytest.mark.parametrize(
    "text", ["LABEL_0", "LABEL_0=", "a=negative,a=positive", "a=positive,b=positive", "x=negative"]
)
def test_label_map_that_maps_nothing(tiny_config: DistillConfig, text: str) -> None:
    only(check(replace(tiny_config, label_map=text)), "--label-map")


def test_teacher_folder_that_is_none(tiny_config: DistillConfig, tmp_path: Path) -> None:
    for flag_name in ("teacher", "student"):
        only(
            check(replace(tiny_config, **{flag_name: str(tmp_path / "no")})),
            f"--{flag_name}",
            tmp_path / "no",
        )
        only(
            check(replace(tiny_config, **{flag_name: str(tmp_path)})),
            f"--{flag_name}",
            tmp_path,
            "config.json",
        )


def test_header_of_an_evaluation_file_is_checked_and_no_row(tiny_config: DistillConfig, glue_dir: Path) -> None:
    config, dev = replace(tiny_config, glue_dir=str(glue_dir)), glue_dir / "SST-2" / "dev.tsv"
    dev.write_bytes(b"sentence\tlabel\nno tab here\n\xff\xfe\n")
    assert check(config) == []
    dev.write_text("text\tlabel\n", encoding="utf-8")
    only(check(config), "--glue-dir", dev, "sentence", "found text, label")
    dev.unlink()
    only(check(config), "--glue-dir", dev, "found none")


def test_run_folder_that_is_taken(tiny_config: DistillConfig) -> None:
    run = Path(str(tiny_config.output_dir))
    run.mkdir()
    assert check(tiny_config) == []
    (run / "notes.txt").write_text("mine", encoding="utf-8")
    only(check(tiny_config), "--output-dir", run, "other files")
    held = {**to_dict(tiny_config), "epochs": 9.0}
    (run / "config.yaml").write_text(yaml.safe_dump(held), encoding="utf-8")
    only(check(tiny_config), "--output-dir", run, "another run", "epochs 9.0 there, 2.0 here")
    (run / "config.yaml").write_text(yaml.safe_dump(to_dict(tiny_config)), encoding="utf-8")
    only(check(tiny_config), "--output-dir", run, "--resume")
    assert check(replace(tiny_config, resume=True)) == []


@pytest.mark.parametrize("text", ["- a list\n", "a: [\n", "words\n"])
def test_run_folder_with_a_configuration_of_another_program(tiny_config: DistillConfig, text: str) -> None:
    run = Path(str(tiny_config.output_dir))
    run.mkdir()
    (run / "config.yaml").write_text(text, encoding="utf-8")
    only(check(tiny_config), "--output-dir", run)


def test_run_folder_that_cannot_be_one(tiny_config: DistillConfig, corpus_file: Path) -> None:
    only(check(replace(tiny_config, output_dir=str(corpus_file))), "--output-dir", corpus_file)
    only(check(replace(tiny_config, output_dir=f"{corpus_file}/run")), "--output-dir", corpus_file)


def test_cache_folder_that_cannot_be_one(tiny_config: DistillConfig, corpus_file: Path) -> None:
    only(check(replace(tiny_config, cache_dir=str(corpus_file))), "--cache-dir", corpus_file)


def test_default_run_folder_is_checked_too(
    tiny_config: DistillConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/sst2-0")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({**to_dict(tiny_config), "epochs": 9.0}), encoding="utf-8")
    only(check(replace(tiny_config, output_dir=None)), folder, "another run")


def test_only_a_callable_answers_with_other_than_logits(tiny_config: DistillConfig) -> None:
    callable_teacher = replace(tiny_config, student=tiny_config.teacher, teacher="default")
    for outputs in ("labels", "probabilities"):
        only(check(replace(tiny_config, teacher_outputs=outputs)), f"--teacher-outputs {outputs}", "with weights")
        only(check(replace(callable_teacher, teacher_outputs=outputs), model=True), f"--teacher-outputs {outputs}")
        assert check(replace(callable_teacher, teacher_outputs=outputs), black_box=True) == []
        assert check(replace(callable_teacher, teacher_outputs=outputs, teacher="module:ask")) == []
    only(check(replace(callable_teacher, teacher_outputs="scores"), black_box=True), "--teacher-outputs", "labels")
    only(
        check(replace(callable_teacher, teacher_outputs="labels", temperature=2.0), black_box=True),
        "--temperature 2.0",
        "--teacher-outputs labels",
    )
    assert check(replace(callable_teacher, teacher_outputs="probabilities", temperature=2.0), black_box=True) == []


def test_a_model_that_is_handed_over_takes_the_place_of_the_option(tiny_config: DistillConfig, tmp_path: Path) -> None:
    gone = replace(tiny_config, teacher=str(tmp_path / "gone"))
    assert len(check(gone)) == 1 and check(gone, model=True) == []


def test_more_processes_than_this_machine_has_cores_for(
    tiny_config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.os, "sched_getaffinity", lambda pid: {0, 1, 2})
    config = replace(tiny_config, batch_size=4_096)
    assert check(replace(config, num_processes=8)) == [] == check(replace(config, num_processes=None))
    only(check(replace(config, num_processes=16)), "--num-processes 16: expected at most 12", "3 core(s)")
    monkeypatch.setenv("RANK", "0")
    assert check(replace(config, num_processes=16)) == [], "a launcher started them, on any number of machines"


def test_a_value_beyond_its_limit_is_one_problem(tiny_config: DistillConfig) -> None:
    only(check(replace(tiny_config, batch_size=10**7, num_processes=3)), "--batch-size: expected at most 1000000")
    only(check(replace(tiny_config, epochs=1e300)), "--epochs: expected at most 100000.0, found 1e+300")
    only(check(replace(tiny_config, epochs=1e5, pool_size=10**9)), "--epochs 100000, --pool-size 1000000000", "batches")
    only(check(replace(tiny_config, corpus=["x" * 300])), "--corpus: expected names of at most 255 bytes")


def test_wide_pairs_need_two_texts_and_english(tiny_config: DistillConfig, own_tasks: dict[str, str]) -> None:
    def problems(**changes: object) -> list[str]:
        return [one for one in check(replace(tiny_config, **changes)) if one.startswith("--pairs")]

    only(problems(pairs="wide"), "--pairs wide", "expected a task with two texts", "sst2, which has one")
    pairs = {"task": own_tasks["answers"], "pairs": "wide"}
    for language in ("auto", "en", "en-GB"):
        assert problems(**pairs, language=language) == []
    for language in ("de", "other"):
        only(problems(**pairs, language=language), "--pairs wide", f"found --language {language}", "--pairs plain")
        assert problems(task=own_tasks["answers"], language=language) == []
    only(problems(**{**pairs, "pairs": "narrow"}), "--pairs", "'narrow'", "plain", "wide")
