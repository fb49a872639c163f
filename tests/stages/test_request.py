"""From what a caller has in hand to the options of a run; errors name the argument and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_bert
from labelled_rows import prose

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.stages.request import Request, in_words_of_python, make_request
from zskd.tasks.task import TASKS, Task, find_task
from zskd.teacher.classifier import Classifier
from zskd.teacher.load import load_teacher

LABELS = ["negative", "positive"]
TEXTS = prose(120)
PAIRS = list(zip(TEXTS, prose(120, seed=1), strict=True))
OWN = Task(name="mine", text_columns=("t",), label_column="l", labels=("bad", "good"))


@pytest.fixture
def ask(teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Request]:
    """`make_request` with a teacher, labels and texts, unless told otherwise (None: not given)."""
    monkeypatch.setenv("ZSKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def ask(*args: Any, **changes: Any) -> Request:
        given = {"teacher": str(teacher_folder), "labels": LABELS, "texts": TEXTS, **changes}
        return in_words_of_python(make_request)(*args, **{name: v for name, v in given.items() if v is not None})

    return ask


def label_it(texts: list[str]) -> list[int]:
    return [len(text) % 2 for text in texts]


def test_a_teacher_by_name_or_as_a_path(ask: Callable[..., Request], teacher_folder: Path) -> None:
    for teacher in (str(teacher_folder), teacher_folder):
        made = ask(teacher=teacher)
        assert (made.config.teacher, made.teacher) == (str(teacher_folder), None)


def test_a_teacher_as_an_object(ask: Callable[..., Request], teacher: Classifier, student_folder: Path) -> None:
    model = tiny_bert(60, tuple(LABELS))
    made = ask(teacher=model, tokenizer=teacher.tokenizer)
    assert made.teacher is model and made.tokenizer is teacher.tokenizer and made.config.teacher == "default"
    assert ask(teacher=teacher).teacher is teacher
    ready = load_teacher(TASKS["sst2"], label_it, outputs="labels")
    assert ask(teacher=ready, student=student_folder).config.teacher_outputs == "labels"
    for box in (label_it, ready):
        made = ask(teacher=box, student=student_folder, teacher_outputs="labels")
        assert made.teacher is box and made.config.student == str(student_folder)
        with pytest.raises(InputError, match="student build: a callable teacher has no weights"):
            ask(teacher=box, teacher_outputs="labels", start_from="none")


def test_a_task_by_name_as_an_object_as_a_file_or_by_its_labels(ask: Callable[..., Request]) -> None:
    assert ask(task="sst2", labels=None).config.task == "sst2"
    assert ask(task=TASKS["sst2"], labels=None).config.task == "sst2"
    named = ask().config.task
    assert find_task(named).labels == tuple(LABELS) and not find_task(named).is_pair
    kept = Path(ask(task=OWN, labels=None, label_map={"negative": "bad", "positive": "good"}).config.task)
    with pytest.raises(
        InputError, match=r'found negative, positive; .* example label_map="negative=bad,positive=good"'
    ):
        ask(task=OWN, labels=None)
    assert find_task(str(kept)) == OWN
    same = ask(task=kept, labels=None, label_map="negative=bad,positive=good")
    assert same.config.task == str(kept)
    assert find_task(ask(texts=PAIRS).config.task).is_pair


def test_text_as_a_list_beside_a_corpus_or_as_a_corpus(ask: Callable[..., Request], corpus_file: Path) -> None:
    made = ask()
    assert made.least == 100 and len(made.config.corpus) == 1 and made.pools is None
    assert ask(corpus=corpus_file).config.corpus == [*made.config.corpus, str(corpus_file)]
    for corpus in (corpus_file, str(corpus_file), [corpus_file]):
        made = ask(texts=None, corpus=corpus)
        assert made.config.corpus == [str(corpus_file)] and made.least is None
    assert ask(texts=PAIRS).pools is not None


def test_a_seed_of_inputs_that_are_handed_over_is_said_to_do_nothing(ask: Callable[..., Request], caplog: Any) -> None:
    assert ask(texts=PAIRS, seed=4).pools is not None and ask(pool_seed=3).config.pool_seed == 3
    assert "pool_seed" not in caplog.text
    ask(texts=PAIRS, pool_seed=3)
    assert "pool_seed 3: has no effect" in caplog.text


def test_families_of_pairs_that_are_handed_over_are_said_to_do_nothing(
    ask: Callable[..., Request], caplog: Any
) -> None:
    ask(texts=PAIRS)
    assert "pairs" not in caplog.text
    assert ask(texts=PAIRS, pairs="wide").pools is not None
    assert "pairs wide: has no effect" in caplog.text


def test_a_run_folder_is_made_where_none_is_named(ask: Callable[..., Request], tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="zskd"):
        folder = ask().config.output_dir
    assert (
        folder is not None and Path(folder).is_dir() and f"run folder: {folder} (name one with run_dir)" in caplog.text
    )
    Path(folder).rmdir()
    assert ask(run_dir=tmp_path / "mine").config.output_dir == str(tmp_path / "mine")
    assert ask(DistillConfig(task="sst2"), labels=None).config.output_dir is None, "runs/sst2-0"


def test_options_by_keyword_win_over_the_configuration(ask: Callable[..., Request]) -> None:
    names = {"a": "negative", "b": "positive"}
    made = ask(DistillConfig(epochs=3.0, seed=4), epochs="0.5", label_map=names, teacher=label_it, student="some/model")
    assert (made.config.epochs, made.config.seed, made.config.label_map) == (0.5, 4, "a=negative,b=positive")
    assert ask("embedded").config.corpus != DistillConfig().corpus
    defaults = ask().config
    assert (defaults.epochs, defaults.perturb) == (2.0, "random")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": None}, "^teacher: expected a model, a folder, a Hub id or a callable, found none$"),
        ({"teacher": 5}, "^teacher: expected a transformers model.* found a int"),
        ({"teacher": torch.nn.Linear(2, 2)}, "^teacher: expected a transformers model.* found a Linear"),
        ({"teacher": "./no-such"}, "^teacher no-such: expected a model folder, found none"),
        ({"labels": None}, '^labels: expected the label names, such as .* or a `task`; found neither'),
        ({"labels": "negative"}, "^labels: expected at least two different names, found 'negative'"),
        ({"labels": ["a", "a"]}, "^labels: expected at least two different names"),
        ({"labels": ["a"]}, "^labels: expected at least two different names"),
        ({"task": "sst2"}, "^labels: a task has its own labels; give either"),
        ({"task": "sst3", "labels": None}, "^task: .* found 'sst3'; did you mean 'sst2'"),
        ({"task": 3, "labels": None}, "^task: expected a zskd.Task, the name of a preset"),
        ({"task": OWN, "labels": None, "teacher": None}, "^teacher default: mine names no teacher"),
        ({"texts": None}, "^texts: expected texts .* or a `corpus`; found neither"),
        ({"texts": TEXTS[:99]}, "^texts: expected at least 100, found 99"),
        ({"corpus": "no-such.txt"}, "^corpus no-such.txt: expected a file"),
        ({"epoch": 1}, "^unknown option 'epoch'; did you mean 'epochs'"),
        ({"epochs": "x"}, "^epochs: expected a value of type float, found 'x'"),
        ({"student": torch.nn.Linear(2, 2)}, "^student: expected a name or a path, found a Linear"),
        ({"batch_size": 0, "learning_rate": -1.0}, "^batch_size: expected at least 1.*\nlearning_rate: "),
        ({"batch_size": 1e300}, "^batch_size: expected at most 1000000, found 1000000000000000052504"),
        ({"batch_size": 10**400}, "^batch_size: expected a value of type int, found a number of 1,329 bits$"),
        ({"epochs": 1e5, "pool_size": 10**9}, "^epochs 100000, pool_size 1000000000, batch_size 64: expected at most"),
        ({"seed": True}, "^seed: expected a value of type int, found True$"),
        ({"run_dir": "x" * 300}, "^run_dir: expected names of at most 255 bytes, found one of 300: "),
        ({"corpus": ["a\0b"]}, r"^corpus: expected text without NUL, found 'a\\x00b'$"),
        ({"student": b"abc"}, "^student: expected a value of type str, found b'abc'$"),
        ({"labels": ["a\nb", "c"], "texts": TEXTS}, "^task: labels: expected text without tabs, line breaks"),
        ({"task": dataclasses.replace(OWN, name="x" * 300), "labels": None}, "^task: name: expected a name of at most"),
        ({"perturb": "some"}, "^perturb: expected one of none, random, adversarial, found 'some'"),
        ({"language": "English"}, "^language: expected auto, en, other or an ISO code such as de .*, found 'English'"),
        ({"texts": PAIRS, "perturb": "random"}, "^perturb random: pairs that are handed over"),
        ({"label_map": {"LABEL_0": "negative"}}, "label_map"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_argument(ask: Callable[..., Request], changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        ask(**changes)
    assert "--" not in str(refused.value)


def test_an_unknown_configuration_is_named(ask: Callable[..., Request]) -> None:
    with pytest.raises(InputError, match=r"^config embeded: .* did you mean 'embedded'"):
        ask("embeded")


def test_a_configuration_alone_is_answered_with_flags() -> None:
    def fails(config: Any, **options: Any) -> None:
        raise InputError(["--output-dir x: taken", "--corpus /c/texts/0123456789abcdef.jsonl: too short", "--other y"])

    with pytest.raises(InputError) as refused:
        in_words_of_python(fails)(1)
    assert refused.value.problems[0] == "--output-dir x: taken"
    with pytest.raises(InputError) as refused:
        in_words_of_python(fails)(1, seed=1)
    assert refused.value.problems == ["run_dir x: taken", "texts: too short", "--other y"]
    assert str(refused.value) == "\n".join(refused.value.problems)


def test_a_callable_that_nothing_identifies_cannot_go_on_with_a_budget(
    ask: Callable[..., Request], student_folder: Path
) -> None:
    """All of its answers would be asked for again."""
    given = {"student": student_folder, "teacher_outputs": "labels", "query_budget": 900}

    def known(texts: list[str]) -> list[int]:
        return label_it(texts)

    assert ask(teacher=known, **given).config.query_budget == 900
    with pytest.raises(InputError, match="resume: expected a teacher with an attribute `fingerprint`"):
        ask(teacher=known, resume=True, **given)
    known.fingerprint = "version 1"  # type: ignore[attr-defined]
    assert ask(teacher=known, resume=True, **given).config.resume
