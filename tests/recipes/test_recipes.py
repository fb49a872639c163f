"""Recipes: what a table counts, which cells it keeps, and what the in-domain pools hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from recipes import cells, disagreement, sentences_compared, training_rows
from recipes.benchmarks.common import LENGTH
from recipes.benchmarks.end_to_end import fixed
from recipes.benchmarks.labelling import work
from recipes.benchmarks.memory import recombined
from recipes.cells import Cell, bootstrap_draws, cell_config, interval, pack, unpack
from recipes.choice_bound import CHOICES, choose
from recipes.glue_table import cell, mean_above_chance, spread, write_table
from recipes.in_domain import in_domain_pools
from zskd.pipeline import Result
from zskd.student.initial import InitialStudent
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier
from zskd.transfer.collator import TransferCollator


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 872])
def test_packed_answers_come_back(rows: int) -> None:
    correct = np.random.default_rng(rows).random(rows) < 0.5
    assert np.array_equal(unpack(pack(correct), rows), correct)


def test_bootstrap_interval_holds_the_difference_and_narrows_with_rows() -> None:
    rng = np.random.default_rng(0)

    def of(rows: int) -> tuple[float, float]:
        left = [rng.random(rows) < 0.8 for _ in range(3)]
        right = [rng.random(rows) < 0.7 for _ in range(3)]
        return interval(bootstrap_draws(left, right, draws=500))

    few, many = of(200), of(5_000)
    assert few[0] < 0.1 < few[1] and many[0] < 0.1 < many[1]
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])
    same = [rng.random(50) < 0.5]
    assert interval(bootstrap_draws(same, same, draws=50)) == (0.0, 0.0)


def fake(accuracy: float, seed: int = 0) -> dict:
    scores = {"rows": 8, "accuracy": accuracy, "majority": 0.5}
    return {
        "seed": seed,
        "teacher": {"scores": {"glue": {**scores, "accuracy": 0.9}}},
        "student": {"parameters": 10, "scores": {"glue": scores}},
        "retention": {"glue": accuracy / 0.9},
        "retention_above_chance": {"glue": (accuracy - 0.5) / 0.4},
        "agreement": accuracy,
        "compression": 30.0,
        "teacher_queries": 100,
        "seconds": {"total": 60.0},
        "correct": pack(np.arange(8) < 8 * accuracy),
        "news": {"texts": 4, "agreement": accuracy, "same": pack(np.arange(4) < 4 * accuracy)},
    }


def test_table_has_spread_difference_and_mean_over_all_tasks(tmp_path: Path) -> None:
    results = {}
    for task in TASKS:
        results[task, "random"] = [fake(0.75, 0), fake(0.875, 1)]
        results[task, "none"] = [fake(0.5, 0), fake(0.625, 1)]
    markdown = write_table(results, tmp_path / "table")
    assert markdown == (tmp_path / "table.md").read_text()
    assert "81.2 ± 8.8" in markdown
    assert "- sst2: random minus none +25.0 points" in markdown
    assert "- sst2: random minus none (agreement on news) +25.0 points" in markdown
    assert "- mean over 6 tasks: random minus none +25.0 points" in markdown
    above = mean_above_chance(results, "random")
    assert above is not None and above[0] == pytest.approx((0.25 + 0.375) / 2 / 0.4)
    low, high = interval(above[1])  # seeds alone give 62.5 to 93.8, rows widen it
    assert low < 0.625 < above[0] < 0.9375 < high
    assert f"mean above chance over six tasks, random: 78.1 %, 95 % interval {100 * low:.1f} to" in markdown
    del results["rte", "random"]
    assert mean_above_chance(results, "random") is None
    header, *rows = (tmp_path / "table.csv").read_text().splitlines()
    assert len(rows) == 12 and header.startswith("task,text,majority")


def test_spread_of_one_seed_has_no_deviation() -> None:
    assert spread([0.5]) == "50.0"
    assert spread([0.4, 0.6]) == "50.0 ± 14.1"
    assert spread([None]) == "-"


def test_cell_is_kept_until_something_it_depends_on_changes(
    tmp_path: Path, glue_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def distill(config, *, pools, zero_shot) -> Result:
        runs.append(config.seed)
        Path(config.output_dir).mkdir(parents=True)
        return Result(dict.fromkeys(cells.KEPT, config.seed), Path(config.output_dir))

    monkeypatch.setattr(cells, "distill", distill)
    monkeypatch.setattr(cells, "load_classifier", lambda *arguments: None)
    monkeypatch.setattr(cells, "predict_classes", lambda *arguments: np.zeros(16, dtype=np.int64))
    monkeypatch.setattr(cells, "news_agreement", lambda *arguments: np.arange(8) < 6)
    monkeypatch.setattr(cells, "scores_there", lambda *arguments: {"agreement": 0.5})

    def run(**options: object) -> dict:
        made = Cell("cell", {"task": "sst2", "corpus": ["text.txt"], **options})
        return cells.run_cell(made, glue_dir.parent, tmp_path / "results", tmp_path / "work")

    first = run(seed=0)
    assert unpack(first["correct"], 16).sum() == 8  # the dev file of the fixture: half of the rows are class 0
    assert first["news"]["agreement"] == 0.75 and unpack(first["news"]["same"], 8).sum() == 6
    assert first["training"] == {"agreement": 0.5}
    assert run(seed=0) == first and runs == [0]
    run(seed=0, perturb="none")
    assert runs == [0, 0]
    run(seed=0, perturb="none", corpus=["elsewhere/text.txt"])  # the same file name in another folder
    assert runs == [0, 0]
    monkeypatch.setattr(cells, "_adapter_hash", lambda task, teacher: "another teacher")
    run(seed=0, perturb="none")
    assert runs == [0, 0, 0]
    # Options that came after results had been kept are no part of these, unless they are set to something new.
    for name, value in (("compile", True), ("student_precision", "bf16")):
        assert name not in first["settings"]
        assert run(seed=0, **{name: value})["settings"][name] == value
    assert runs == [0, 0, 0, 0, 0]


def test_in_domain_pools_hold_training_inputs_and_perturbations(glue_dir: Path, tmp_path: Path) -> None:
    task = TASKS["sst2"]

    def pools(seed: int, size: int = 300):
        return in_domain_pools(task, glue_dir, tmp_path / f"{seed}-{size}", size=size, seed=seed)

    first, again, other = pools(0), pools(0), pools(1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.transfer) == 300
    families = first.transfer["family"][:]
    real = set(first.transfer["text"][: families.count("training input")])
    held = set(first.select["text"]) | set(first.report["text"])
    assert len(real) + len(held) == 120 and not real & held
    assert first.select["text"][:] == other.select["text"][:]


def test_recombined_lines_are_distinct_and_the_same_for_a_seed() -> None:
    words = [f"word{i}" for i in range(500)]
    lines = list(recombined(words, 5_000, seed=3))
    assert len(set(lines)) == 5_000
    assert lines == list(recombined(words, 5_000, seed=3))
    assert lines != list(recombined(words, 5_000, seed=4))


def test_work_counts_real_tokens_and_both_products_of_attention(teacher: Classifier) -> None:
    texts = ["one", "one two three"]
    pool = Dataset.from_dict({"text": texts})
    operations, tokens = work(teacher, pool)
    lengths = [len(teacher.tokenizer(text)["input_ids"]) for text in texts]
    assert tokens == sum(lengths)
    hidden, layers, inner = 32, 2, 64
    linear = layers * (4 * hidden * hidden + 2 * hidden * inner)
    assert operations == sum(2 * linear * n + layers * 2 * 2 * hidden * n * n for n in lengths)


def test_padding_to_the_full_length_changes_only_the_width(teacher: Classifier) -> None:
    start = InitialStudent(teacher.model, teacher.tokenizer)
    rows = [
        {"input_ids": [2, 7, 3], "teacher_logits": [0.5, -0.5]},
        {"input_ids": [2, 3], "teacher_logits": [1.0, 0.0]},
    ]
    short, full = TransferCollator.of(teacher.tokenizer)(rows), fixed(start)(rows)
    assert full["input_ids"].shape == (2, LENGTH)
    assert full["attention_mask"].sum() == short["attention_mask"].sum()
    assert torch.equal(full["input_ids"][:, :3], short["input_ids"])
    assert torch.equal(full["teacher_logits"], short["teacher_logits"])


@pytest.mark.parametrize("choice", CHOICES)
def test_chosen_rows_differ_and_lie_where_the_choice_wants_them(choice: str) -> None:
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 4_000, 2)) * 3
    chosen = choose(choice, teacher, student, 1_000, np.random.default_rng(1))
    assert len(set(chosen.tolist())) == 1_000
    distance = np.abs((teacher - student)[:, 0] - (teacher - student)[:, 1])
    wanted = {
        "farthest": distance,
        "far": distance,
        "unsure": -np.abs(student[:, 0] - student[:, 1]),
        "confident": np.abs(teacher[:, 0] - teacher[:, 1]),
    }
    if choice in wanted:
        assert wanted[choice][chosen].mean() > wanted[choice].mean() + 0.3
    if choice == "farthest":
        assert distance[chosen].min() >= np.delete(distance, chosen).max()


def test_sentences_are_compared_by_what_happened_to_them() -> None:
    old = [["A b.", "C d."], ["A b. C d."], ["A b."], ["A b."], ["A b. C"], []]
    new = [["A b.", "C d."], ["A b.", "C d."], ["A b.", "E f."], [], ["A. b C"], []]
    found = sentences_compared.compared(old, new)
    assert found["different"] == {
        "split at more places": 1, "more text is kept": 1, "less text is kept": 1, "other text is kept": 1
    }  # fmt: skip
    assert found["sentences"] == {"old": 6, "new": 7} and found["passages"] == 6
    assert found["examples"][0] == {"kind": "split at more places", "old": ["A b. C d."], "new": ["A b.", "C d."]}
    results = {"news": {**found, "passages_per_second": {"old": 1_000, "new": 2_000}}}
    assert sentences_compared.table(results).splitlines()[1].split() == ["news", "6", "6", "7", "4", "1,000", "2,000"]


def test_a_cell_takes_the_options_of_its_configuration(tmp_path: Path) -> None:
    made = cell("qqp", "random", 0, 30.0, tmp_path, tmp_path, config="embedded-full")
    assert made.config == "embedded-full"
    full, plain = cell_config(made.options, made.config), cell_config(made.options)
    assert full.pool_size > plain.pool_size and full.corpus == plain.corpus


def test_scores_there_count_rows_of_the_training_file(glue_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["sst2"]
    texts, labels = training_rows.training_rows(task, glue_dir)
    answers = {"student": labels.copy(), "teacher": labels.copy()}
    answers["student"][0] = 1 - labels[0]
    answers["teacher"][:2] = 1 - labels[:2]
    monkeypatch.setattr(training_rows, "load_classifier", lambda *arguments: "teacher")
    monkeypatch.setattr(training_rows, "predict_classes", lambda model, *arguments: answers[model])
    config = cell_config({"task": "sst2", "corpus": ["text.txt"]})
    found = training_rows.scores_there(task, config, "student", glue_dir.parent)
    rows = len(labels)
    assert len(texts[0]) == found["rows"] == rows
    assert found["accuracy"] == pytest.approx(1 - 1 / rows) == found["agreement"]
    assert found["majority"] == pytest.approx(np.bincount(labels).max() / rows)


def test_cells_of_the_grid_of_pairs_are_groups_of_rows() -> None:
    class Encoder:
        def texts(self, texts: list[str], what: str) -> np.ndarray:
            return np.array([[1.0, 0.0] if "same" in text else [0.0, 1.0] for text in texts])

    one, other = ["same big film"] * 60 + ["same old"] * 40, ["same big film"] * 60 + ["unlike"] * 39 + ["same"]
    found = disagreement.grid_groups((one, other), Encoder())
    assert {name: int(chosen.sum()) for name, chosen in found.items()} == {
        "common <= 0.1, cosine <= 0.3": 39, "common <= 1, cosine <= 1": 60,
    }  # fmt: skip
