"""`--perturb adversarial` from beginning to end: its budget, its record, its resumption, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Result, as_flags
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForMaskedLM

from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.config.methods.table import method_queries
from zskd.pipeline import distill
from zskd.system.files import sha256_file
from zskd.teacher.classifier import classifier_from
from zskd.text.shaping import INPUTS_PER_SENTENCE
from zskd.training.objective import Objective

RUN_FILES = ("record.json", "transfer_set.json", "metrics.json")
QUICK = {"perturb": "adversarial", "generator_warmup": 4, "student_steps": 5, "generator_steps": 2, "checkpoints": 4}


@pytest.fixture
def config(tiny_config: DistillConfig) -> DistillConfig:
    """An adversarial run of 40 steps of 32 rows, the last 28 of them with 4 fresh rows each."""
    return replace(tiny_config, **QUICK)


def test_a_run_asks_the_teacher_no_more_than_its_random_control(config: DistillConfig, tmp_path: Path) -> None:
    control = distill(replace(config, perturb="random", output_dir=str(tmp_path / "random"))).metrics
    found = distill(config).metrics
    uses = found["teacher_queries_by_use"]
    # The last batches of both epochs are short and have a fresh row less each.
    assert method_queries(config) == 4 * (28 + 6) and uses["generator"] == method_queries(config) - 2
    assert uses["single_tokens"] == control["teacher_queries_by_use"]["single_tokens"]
    # Beside the inputs that repeat another one, which fewer of fewer inputs do.
    counts = [sum(metrics["teacher_queries_for"].values()) for metrics in (found, control)]
    assert counts[0] == counts[1] - 2 and found["steps"] == control["steps"] == 40
    assert found["transfer_set"]["texts"] == config.pool_size - method_queries(config)
    run = Path(str(config.output_dir))
    AutoModelForSequenceClassification.from_pretrained(run / "student")
    shown = json.loads((run / "adversarial.json").read_text(encoding="utf-8"))
    assert len(shown) >= 5 and shown[0].keys() == {"step", "before", "after", "teacher", "student"}
    rounds = [e for e in json.loads((run / "history.json").read_text()) if "adversarial/divergence" in e]
    assert len(rounds) == 5


def test_little_text_limits_the_inputs_of_both(
    cli: Callable[..., Result], config: DistillConfig, tmp_path: Path
) -> None:
    lines = Path(config.corpus[0]).read_text(encoding="utf-8").splitlines()[:220]
    (tmp_path / "little.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = replace(config, corpus=[str(tmp_path / "little.txt")], pool_size=180_000, epochs=0.08)
    size = 220 * INPUTS_PER_SENTENCE
    for perturb, written in (("random", 0), ("adversarial", method_queries(replace(config, pool_size=size)))):
        run = tmp_path / perturb
        flags = as_flags(replace(config, perturb=perturb, output_dir=str(run)))
        done = cli("distill", *flags, "--quiet")
        assert done.code == 0, done.err
        assert f"shaping: {size} inputs instead of --pool-size 180000: at most 40 for each of the 220 sen" in done.err
        found = {name: json.loads((run / name).read_text(encoding="utf-8")) for name in RUN_FILES}
        assert found["record.json"]["pools"]["size"] == size
        assert found["transfer_set.json"]["rows"] == size - written
        assert found["metrics.json"]["transfer_set"]["texts"] == size - written
        assert found["metrics.json"]["steps"] == optimizer_steps(config, size)
        assert "8,800 inputs of 180,000 asked for" in (run / "report.html").read_text(encoding="utf-8")
        # It is still the run that was asked for.
        assert cli("distill", *flags, "--resume").code == 0


@pytest.mark.parametrize("perturb", ["random", "adversarial"])
def test_a_student_is_trained_in_bfloat16_and_scored_in_float32(
    perturb: str, config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded: list[bool] = []
    students: list[torch.nn.Module] = []

    def objective(self: Objective, target: torch.Tensor, logits: torch.Tensor, *rest: object) -> torch.Tensor:
        rounded.append(torch.equal(logits.bfloat16().float(), logits))
        return whole(self, target, logits, *rest)

    def classifier(task: Any, model: Any, *rest: Any, **options: Any) -> Any:
        students.append(model)
        return classifier_from(task, model, *rest, **options)

    whole = Objective.__call__
    monkeypatch.setattr(Objective, "__call__", objective)
    monkeypatch.setattr("zskd.stages.students.classifier_from", classifier)
    found = distill(replace(config, perturb=perturb, epochs=1.0, student_precision="bf16")).metrics
    assert all(rounded[: found["steps"]]) and not rounded[-1]  # the last are those of the held-out texts
    saved = AutoModelForSequenceClassification.from_pretrained(Path(str(config.output_dir)) / "student").eval()
    assert {weight.dtype for weight in saved.parameters()} == {torch.float32}
    ids = torch.arange(5, 45).view(4, 10)
    with torch.no_grad():
        assert torch.equal(students[0].eval()(input_ids=ids).logits, saved(input_ids=ids).logits)


@pytest.mark.parametrize("task", ["qqp", "mnli"])
def test_pairs_work_too(task: str, config_for: Callable[..., DistillConfig]) -> None:
    found = distill(config_for(task, **QUICK, batch_size=16)).metrics
    assert found["teacher_queries_by_use"]["generator"] > 0


def test_the_same_seed_gives_the_same_student_from_a_cold_and_a_warm_cache(
    config: DistillConfig, tmp_path: Path
) -> None:
    hashes = []
    for name in ("cold", "warm"):
        run = replace(config, cache_dir=str(tmp_path / "cache"), output_dir=str(tmp_path / name))
        distill(run)
        hashes.append(sha256_file(tmp_path / name / "student" / "model.safetensors"))
    assert hashes[0] == hashes[1]
    assert len(list((tmp_path / "cache" / "generators").iterdir())) == 1


def test_a_generator_of_the_users_own(config: DistillConfig, teacher_folder: Path, tmp_path: Path) -> None:
    own = own_generator(tmp_path / "generator", teacher_folder)
    assert (
        distill(replace(config, generator=own, generator_warmup=0)).metrics["teacher_queries_by_use"]["generator"] > 0
    )


def test_a_generator_with_another_vocabulary_is_refused(
    config: DistillConfig, student_folder: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    own = own_generator(tmp_path / "generator", student_folder)
    result = cli("distill", *as_flags(config, generator=own))
    assert result.code == 2 and "one vocabulary" in result.err and f"--generator {own}" in result.err
    assert not Path(str(config.output_dir)).exists()


def own_generator(folder: Path, like: Path) -> str:
    """A tiny masked language model with the vocabulary of the model in `like`."""
    tokenizer = AutoTokenizer.from_pretrained(like)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **shape))
    for part in (model, tokenizer):
        part.save_pretrained(folder)
    return str(folder)


def test_a_teacher_with_another_vocabulary(config: DistillConfig, student_folder: Path, tmp_path: Path) -> None:
    own = own_generator(tmp_path / "generator", student_folder)
    found = distill(
        replace(config, student=str(student_folder), adversary="candidates", row_candidates=2, generator=own)
    ).metrics
    budget = method_queries(replace(config, adversary="candidates", row_candidates=2))
    # The last batch of an epoch is short, so that a little of the budget may be left.
    assert 0.95 * budget < found["teacher_queries_by_use"]["generator"] <= budget == 2 * 4 * (28 + 6)


def test_a_black_box_teacher(config: DistillConfig, teacher_folder: Path, student_folder: Path, tmp_path: Path) -> None:
    own = own_generator(tmp_path / "generator", student_folder)
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    asked = []

    def ask(texts: list[str]) -> torch.Tensor:
        asked.append(len(texts))
        with torch.no_grad():
            return model(**tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")).logits

    changes = {"student": str(student_folder), "adversary": "candidates", "row_candidates": 2, "generator": own}
    found = distill(replace(config, **changes), teacher=ask).metrics
    assert found["teacher_queries_by_use"]["generator"] > 0
    assert sum(asked) >= found["teacher_queries"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "some_module:ask"}, "--adversary gradient: a callable teacher has no weights"),
        ({"teacher": "some_module:ask"}, "--generator build: a callable teacher has no layers"),
        ({"fresh_share": 0.7, "replay_share": 0.5}, "at most 1 together"),
        ({"generator_steps": 9}, "--generator-steps 9: expected at most the 5 steps"),
        ({"generator": "./nowhere"}, "--generator ./nowhere: expected a model folder"),
        ({"fresh_share": 1.0, "replay_share": 0.0, "adversarial_start": 0.0}, "--pool-size 640: expected more than"),
    ],
)
def test_wrong_input_ends_before_anything_is_written(
    config: DistillConfig, changes: dict, message: str, cli: Callable[..., Result]
) -> None:
    result = cli("distill", *as_flags(config, **changes))
    assert result.code == 2 and message in result.err
    assert not Path(str(config.output_dir)).exists()


def test_a_student_with_another_vocabulary_is_refused(
    config: DistillConfig, student_folder: Path, cli: Callable[..., Result]
) -> None:
    result = cli("distill", *as_flags(config, student=str(student_folder)))
    assert result.code == 2 and "expected the generator and the student to share" in result.err
