"""A run with a budget asks its teacher for that many texts and no more, however its calls end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import as_flags, glue_folder
from labelled_rows import TOPIC_WORDS, rows_for, write_rows
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError, RunError
from zskd.pipeline import distill
from zskd.tasks.task import find_task
from zskd.teacher import asking
from zskd.teacher.load import load_teacher
from zskd.training.fit import fit

WORDS = list(TOPIC_WORDS.values())


class Service:
    """A callable that charges for every text of every call; chosen calls fail."""

    fingerprint = "version 1"
    batch_size = 40

    def __init__(self, failing: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.failing = failing
        self.calls = self.charged = 0
        self.texts: list[str] = []

    def __call__(self, texts: list[str]) -> list[list[float]]:
        number, self.calls = self.calls, self.calls + 1
        self.charged += len(texts)
        if number in self.failing:
            raise ConnectionError("try later")
        self.texts += texts
        return [[3.0 * any(word in text.lower().split() for word in known) for known in WORDS] for text in texts]


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)


@pytest.fixture
def kill_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """``with kill_before(3): ...`` ends the process when three calls have been made, before the next one."""

    @contextmanager
    def kill_before(calls: int) -> Iterator[None]:
        made, begin = itertools.count(), asking.Allowance.begin

        def killed(self: asking.Allowance, texts: int) -> None:
            if next(made) == calls:
                raise KeyboardInterrupt
            begin(self, texts)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(asking.Allowance, "begin", killed)
            yield

    return kill_before


@pytest.fixture
def config(
    config_for: Callable[..., DistillConfig], own_tasks: dict[str, str], student_folder: Path, tmp_path: Path
) -> DistillConfig:
    return config_for(
        own_tasks["topics"], teacher="default", student=str(student_folder), query_budget=600, pool_size=None,
        heldout=None, cache_dir=str(tmp_path / "cache"), checkpoints=1,
    )  # fmt: skip


def test_nothing_beyond_the_budget_is_asked_for_and_all_of_it_is_accounted_for(config: DistillConfig) -> None:
    service = Service()
    metrics = distill(config, teacher=service).metrics
    budget = metrics["query_budget"]
    assert service.charged == len(service.texts) == len(set(service.texts))
    assert service.charged <= budget["spent"] <= budget["budget"] == 600
    assert budget["spent"] - service.charged < 10, "a text that two parts share counts in both, and is asked for once"
    assert budget["for"]["identity"] == 8 and budget["for"]["held_out_inputs"] <= 200
    assert budget["for"]["gate"] == metrics["teacher"]["scores"]["probe"]["rows"] > 0
    assert metrics["teacher_queries_live"] == service.charged - 8 - budget["for"]["gate"]


@pytest.mark.parametrize("failing", [{0}, {3}, {5, 6}, {11, 12}])
def test_calls_that_fail_make_the_transfer_set_smaller(
    failing: set[int], config: DistillConfig, caplog: pytest.LogCaptureFixture
) -> None:
    smooth = distill(replace(config, output_dir=f"{config.output_dir}-smooth"), teacher=Service()).metrics
    service = Service(failing)
    config = replace(config, cache_dir=f"{config.cache_dir}-other")
    with caplog.at_level("WARNING", "zskd"):
        metrics = distill(config, teacher=service).metrics
    found, before = (entry["query_budget"]["for"] for entry in (metrics, smooth))
    assert service.charged <= metrics["query_budget"]["spent"] <= 600
    assert found["repeated"] == service.charged - len(set(service.texts)) > 0
    lost = before["transfer_inputs"] - found["transfer_inputs"]
    assert lost > 0 and "took from --query-budget" in caplog.text and "asked again in 1 s" in caplog.text


@pytest.mark.parametrize("killed", range(0, 14, 3))
def test_a_killed_run_goes_on_without_asking_twice_and_ends_as_if_undisturbed(
    killed: int, config: DistillConfig, tmp_path: Path, kill_before: Callable[[int], Any]
) -> None:
    failing = {4, 9}
    whole = replace(config, output_dir=str(tmp_path / "whole"), cache_dir=str(tmp_path / "whole-cache"))
    undisturbed = Service(failing)
    expected = distill(whole, teacher=undisturbed).metrics
    service = Service(failing)
    with kill_before(killed):
        distill(config, teacher=service)
    found = distill(replace(config, resume=True), teacher=service).metrics
    assert (found["student"], found["query_budget"]) == (expected["student"], expected["query_budget"])
    assert service.charged == undisturbed.charged


@pytest.mark.parametrize(("size", "failing", "killed"), [(40, {0}, 1), (2, set(), 3), (2, {0, 4}, 5), (40, {0, 1}, 2)])
def test_a_run_killed_while_its_teacher_is_identified_goes_on_as_well(
    size: int, failing: set[int], killed: int, config: DistillConfig, tmp_path: Path, kill_before: Callable[[int], Any]
) -> None:
    undisturbed, service = Service(failing), Service(failing)
    undisturbed.batch_size = service.batch_size = size
    whole = replace(config, output_dir=str(tmp_path / "whole"), cache_dir=str(tmp_path / "whole-cache"))
    expected = distill(whole, teacher=undisturbed).metrics
    with kill_before(killed):
        distill(config, teacher=service)
    found = distill(replace(config, resume=True), teacher=service).metrics
    assert (found["student"], found["query_budget"]) == (expected["student"], expected["query_budget"])
    assert service.charged == undisturbed.charged


def test_a_run_killed_in_training_asks_nothing_more(config: DistillConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()

    def killed(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("zskd.stages.students.fit", killed)
        with pytest.raises(KeyboardInterrupt):
            distill(config, teacher=service)
    assert fit is not killed
    charged = service.charged
    metrics = distill(replace(config, resume=True), teacher=service).metrics
    assert service.charged == charged <= metrics["query_budget"]["spent"]


def test_a_larger_budget_pays_for_the_difference_alone_where_texts_are_the_same(config: DistillConfig) -> None:
    """Another run of the same teacher: the fixed texts are asked for anew, all answers that are kept are not."""
    service = Service()
    distill(config, teacher=service)
    charged, known = service.charged, set(service.texts)
    distill(replace(config, query_budget=900, heldout=200, output_dir=f"{config.output_dir}-more"), teacher=service)
    new = service.texts[charged:]
    assert new[:8] == service.texts[:8] and not known & set(new[8:])


def test_a_callable_that_never_answers_ends_the_run_and_what_was_paid_for_is_kept(config: DistillConfig) -> None:
    service = Service(set(range(4, 100)))
    with pytest.raises(RunError, match=r"failed 3 times in a row.*try later"):
        distill(replace(config, teacher_retries=2), teacher=service)
    service.failing, paid, vain = set(), len(service.texts), service.charged - len(service.texts)
    metrics = distill(replace(config, teacher_retries=5, resume=True), teacher=service).metrics
    assert len(service.texts) == len(set(service.texts)) > paid and service.charged <= 600
    assert metrics["query_budget"]["for"]["repeated"] == vain


def test_a_teacher_with_weights_is_held_to_it_too(config_for: Callable[..., DistillConfig], tmp_path: Path) -> None:
    config = config_for(
        "sst2", query_budget=700, pool_size=None, heldout=None, compression=2.0, cache_dir=str(tmp_path / "cache"),
        glue_dir=str(glue_folder(tmp_path)), checkpoints=1,
    )  # fmt: skip
    metrics = distill(config).metrics
    found = metrics["query_budget"]
    assert found["spent"] == sum(found["for"].values()) - metrics["teacher_queries_repeated"] <= 700
    assert found["for"]["single_tokens"] == found["for"]["identity"] == 0
    assert [scores["rows"] for name, scores in metrics["teacher"]["scores"].items() if name != "probe"] == [16]


def test_pairs_that_are_handed_over_are_cut_to_it(config: DistillConfig, own_tasks: dict[str, str]) -> None:
    pairs = [(f"a question of number {i}", f"an answer to number {i}") for i in range(2_000)]
    asked: list[Any] = []

    def ask(rows: list[tuple[str, str]]) -> list[list[float]]:
        asked.extend(rows)
        return [[float(len(a) % 3 == i) + 0.01 * len(b) for i in range(3)] for a, b in rows]

    config = replace(config, task=own_tasks["answers"], corpus=[])
    metrics = distill(config, teacher=ask, texts=pairs).metrics
    assert len(asked) == metrics["query_budget"]["spent"] == 600


def test_methods_take_their_queries_out_of_it(config_for: Callable[..., DistillConfig], tmp_path: Path) -> None:
    config = config_for(
        "sst2", query_budget=900, pool_size=None, heldout=None, compression=2.0, cache_dir=str(tmp_path / "cache"),
        method=["uncertainty-mixup"], checkpoints=1,
    )  # fmt: skip
    metrics = distill(config).metrics
    assert metrics["query_budget"]["for"]["uncertainty-mixup"] > 0 and metrics["query_budget"]["spent"] <= 900


def test_texts_that_a_generator_writes_for_a_callable_are_set_aside(
    config: DistillConfig, student_folder: Path, tmp_path: Path
) -> None:
    tokenizer, generator = AutoTokenizer.from_pretrained(student_folder), str(tmp_path / "generator")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    for part in (BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape)), tokenizer):
        part.save_pretrained(generator)
    config = replace(
        config, query_budget=900, heldout=100, perturb="adversarial", adversary="candidates", row_candidates=2,
        generator=generator, generator_warmup=0, generator_steps=2, student_steps=5,
    )  # fmt: skip
    service = Service({1, 3, 5, 7})
    budget = distill(config, teacher=service).metrics["query_budget"]
    assert budget["for"]["generator"] > 100 and budget["for"]["repeated"] > 100
    assert service.charged <= budget["spent"] <= 900


def test_labelled_rows_are_asked_for_before_the_transfer_set_so_that_a_failure_is_made_up_for(
    config: DistillConfig, tmp_path: Path
) -> None:
    task, rows = find_task(config.task), tmp_path / "gold.tsv"
    write_rows(rows, task, rows_for(task, 30, seed=9))
    config = replace(config, heldout=100, gold_labels=str(rows))
    smooth = distill(replace(config, output_dir=str(tmp_path / "smooth")), teacher=Service()).metrics["query_budget"]
    for number in range(1, 18):
        service = Service({number})
        config = replace(config, output_dir=str(tmp_path / f"run-{number}"), cache_dir=str(tmp_path / str(number)))
        found = distill(config, teacher=service).metrics["query_budget"]
        assert service.charged <= found["spent"] <= 600 and found["for"]["gold_rows"] == 30
        assert found["for"]["transfer_inputs"] == smooth["for"]["transfer_inputs"] - found["for"]["repeated"]


def test_a_teacher_that_was_loaded_and_asked_before_has_the_whole_budget(config: DistillConfig) -> None:
    """What it was asked for elsewhere is no part of the run, and what is left of one run is none of the next."""
    service = Service()
    teacher = load_teacher(find_task(config.task), service, Path(str(config.cache_dir)))
    teacher.logits(([f"text {i}" for i in range(150)],), max_length=32)
    found = [
        distill(replace(config, output_dir=f"{config.output_dir}-{i}"), teacher=teacher).metrics["query_budget"]
        for i in range(2)
    ]
    assert found[0] == found[1] and found[0]["for"]["repeated"] == 0
    service.failing = {service.calls}
    plain = replace(config, query_budget=None, pool_size=400, heldout=64, output_dir=f"{config.output_dir}-plain")
    assert distill(plain, teacher=teacher).metrics["query_budget"] is None


def test_a_run_that_failures_leave_no_transfer_set_ends(config: DistillConfig) -> None:
    service = Service({1, 2, 3, 5, 6, 7})
    with pytest.raises(RunError, match=r"--query-budget 600: expected at least 64 queries.*found 62, as 240 texts"):
        distill(config, teacher=service)
    assert service.charged <= 600


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"query_budget": 299}, "query_budget: expected at least 300, found 299"),
        ({"query_budget": 310}, "query_budget 310: expected at least 64 queries for the transfer set"),
        ({"glue_dir": "."}, "glue_dir .: a callable would be asked for the rows of the evaluation files"),
        ({"hub_eval": True}, "hub_eval: a callable would be asked for the rows of the evaluation files"),
        ({"teacher_retries": -1}, "teacher_retries: expected at least 0"),
    ],
)
def test_what_does_not_fit_is_said_before_the_teacher_is_asked(
    changes: dict[str, Any], said: str, config: DistillConfig
) -> None:
    service = Service()
    with pytest.raises(InputError, match=said):
        distill(replace(config, **changes), teacher=service)
    assert not service.calls


def test_answers_that_are_paid_for_need_a_cache_that_can_be_written(
    config: DistillConfig, tmp_path: Path, ordinary_user: None
) -> None:
    (tmp_path / "cache" / "corpora").mkdir(parents=True)
    (tmp_path / "cache").chmod(0o555)
    service = Service()
    with pytest.raises(InputError, match=r"cache_dir .*: expected a folder that can be written, as query_budget"):
        distill(config, teacher=service)
    assert not service.calls


def test_text_that_cannot_be_held_out_is_said_before_the_probe_is_asked_for(
    config: DistillConfig, tmp_path: Path
) -> None:
    lines = Path(config.corpus[0]).read_text(encoding="utf-8").splitlines()
    (tmp_path / "one.txt").write_text(" ".join(lines), encoding="utf-8")
    service = Service()
    with pytest.raises(InputError, match="expected text from several passages"):
        distill(replace(config, corpus=[str(tmp_path / "one.txt")]), teacher=service)
    assert not service.texts


def test_the_command_line_has_it(cli: Any, tiny_config: DistillConfig) -> None:
    done = cli("distill", *as_flags(tiny_config, query_budget=290))
    assert done.code == 2 and any("--query-budget" in line for line in done.errors)
