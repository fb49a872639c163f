"""From a run to a writer: which adversary, whose generator, and what is missing in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import tiny_bert

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.errors import InputError
from zskd.methods.adversarial.candidates import CandidateAdversary
from zskd.methods.adversarial.gradient import GradientAdversary
from zskd.methods.adversarial.setup import prepare_writer
from zskd.methods.context import Run
from zskd.models.loading import model_fingerprint
from zskd.tasks.task import TASKS
from zskd.teacher.blackbox import load_black_box
from zskd.teacher.classifier import Classifier
from zskd.text.corpus import build_corpus
from zskd.text.sources import find_sources

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def run(teacher: Classifier, passages_file: Path, tmp_path: Path) -> Run:
    corpus = build_corpus(find_sources([str(passages_file)]), 1.0, tmp_path / "corpus")
    return Run(
        0, tiny_bert(len(teacher.tokenizer), ("a", "b"), hidden=16), teacher.tokenizer, teacher, TASKS["sst2"], corpus,
        tmp_path / "cache", max_length=16, temperature=2.0,
    )  # fmt: skip


@pytest.mark.parametrize(("adversary", "kind"), [("gradient", GradientAdversary), ("candidates", CandidateAdversary)])
def test_the_options_say_which_adversary(adversary: str, kind: type, run: Run) -> None:
    made = prepare_writer(AdversarialOptions(adversary=adversary, generator_warmup=0), replace(run, corpus=None))
    assert type(made) is kind
    assert made.temperature == 2.0 and made.options.adversary == adversary
    assert run.cache is not None and not (run.cache / "generators").exists(), "nothing was warmed up"


def test_a_warm_up_changes_the_generator_and_is_kept(run: Run) -> None:
    cold = prepare_writer(AdversarialOptions(generator_warmup=0), run)
    warm = prepare_writer(AdversarialOptions(generator_warmup=2), run)
    again = prepare_writer(AdversarialOptions(generator_warmup=2), run)
    prints = [model_fingerprint(made.generator) for made in (cold, warm, again)]
    assert prints[0] != prints[1] == prints[2]
    assert run.cache is not None and len(list((run.cache / "generators").iterdir())) == 1


@pytest.mark.parametrize(
    ("absent", "says"),
    [("teacher", "expected a teacher"), ("tokenizer", "expected a teacher"), ("corpus", "--generator-warmup"),
     ("task", "--generator-warmup"), ("cache", "--generator-warmup")],
)  # fmt: skip
def test_what_a_run_lacks_is_said(absent: str, says: str, run: Run) -> None:
    with pytest.raises(InputError, match=says):
        prepare_writer(AdversarialOptions(generator_warmup=2), replace(run, **{absent: None}))


@pytest.mark.parametrize("options", [{"generator": "build"}, {"generator": "build", "adversary": "candidates"}])
def test_a_callable_has_no_layers_to_build_from(options: dict, run: Run) -> None:
    box = load_black_box(TASKS["sst2"], lambda texts: [[0.0, 1.0]] * len(texts))
    with pytest.raises(InputError, match="--generator build"):
        prepare_writer(AdversarialOptions(**options), replace(run, teacher=box))


def test_a_student_of_other_words_is_refused(run: Run, student_folder: Path) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(student_folder)
    with pytest.raises(InputError, match="--generator build"):
        prepare_writer(AdversarialOptions(generator_warmup=0), replace(run, tokenizer=other))
