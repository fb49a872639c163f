"""Keys that no CPU decides: those of the caches and of the metrics.

A version that changes a key of a cache asks every teacher and shapes every text anew. The weights are made without
random numbers. A change of libraries that renames a weight or writes a tokenizer in another way changes a key too, and
rightly so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prose, tiny_bert, word_tokenizer

from zskd.config.distillation import DistillConfig
from zskd.methods.adversarial.generator import build_generator
from zskd.methods.adversarial.warmup import warm_up
from zskd.models.loading import count_parameters, model_fingerprint
from zskd.models.tokenizers import tokenizer_fingerprint
from zskd.pipeline import distill
from zskd.student.word_features import cached_word_features
from zskd.tasks.task import find_task
from zskd.teacher.answers import AnswerStore
from zskd.teacher.asking import Asker
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.classifier import Classifier
from zskd.teacher.labelling import shard_key
from zskd.text.corpus import build_corpus
from zskd.text.shaping import build_pools
from zskd.text.sources import find_sources

TEXTS = ["the river rose in the night", "a small town by the sea", "nobody saw the long road"]


def fixed_teacher() -> Classifier:
    tokenizer = word_tokenizer(TEXTS)
    model = tiny_bert(len(tokenizer), ("positive", "negative"), hidden=16)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((torch.arange(weight.numel()) % 17 - 8).reshape(weight.shape) / 64)
    return Classifier(
        name="fixed",
        model=model,
        tokenizer=tokenizer,
        order=(1, 0),
        parameters=count_parameters(model),
        fingerprint=model_fingerprint(model),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )


def ask(texts: list[str]) -> list[list[float]]:
    return [[0.0, 1.0]] * len(texts)


def pool_of(inputs: tuple[str, ...], folder: Path) -> tuple[str, str, str]:
    """Fingerprint of the corpus, name of the pools' folder, and a digest of all texts in them."""
    path = folder / "corpus.txt"
    path.write_text("\n".join(f"{line}\n" if i % 5 == 4 else line for i, line in enumerate(prose(600, seed=4))) + "\n")
    corpus = build_corpus(find_sources([str(path)]), 1.0, folder / "cache")
    pools = build_pools(corpus, inputs=inputs, size=200, heldout=40, perturb="random", seed=3, cache=folder / "cache")
    (made,) = (folder / "cache" / "pools").iterdir()
    texts = [getattr(pools, name).to_dict() for name in ("transfer", "select", "report")]
    return corpus.fingerprint, made.name, hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def test_fingerprints_of_weights_and_tokenizer() -> None:
    teacher = fixed_teacher()
    assert (teacher.fingerprint, teacher.tokenizer_fingerprint) == (
        "717c812d92c81b30efb132d3af3a320687b51b4247eb97455fd5b1ea5342d783",
        "842e74995553ab0295af4736b180951bf2695260b273d72485b53a66f195149d",
    )


@pytest.mark.parametrize(
    ("texts", "max_length", "precision", "key"),
    [
        ((TEXTS,), 32, "fp32", "690ab560f08000093ae6d19013ef21da53a3ff2b997fc356b08b8698c8254cfb"),
        ((TEXTS,), 32, "bf16", "771356adb6912606b2e9685d1bcd30262ff60eb63d296f8961b4149895dcb54c"),
        ((TEXTS, TEXTS[::-1]), 48, "fp32", "159a8db53f8c913d0387faff0e08b9c4204ff70c05743e4494ef0dfdc142bc6d"),
    ],
)
def test_shards_of_a_model(texts: tuple[list[str], ...], max_length: int, precision: str, key: str) -> None:
    assert shard_key(fixed_teacher(), texts, max_length, precision) == key


def test_shards_of_a_compiled_model() -> None:
    teacher = Classifier(**{**vars(fixed_teacher()), "compiled": True})
    assert (
        shard_key(teacher, (TEXTS,), 32, "bf16") == "74094de316b594151bd8a63e3e9064d7ed9890e4f8856abbb3c13829f0abab8d"
    )


def test_shards_of_a_black_box(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    asker = Asker(lambda texts: np.array(ask(texts)), store, size=8, retries=0, shown="--teacher box")
    box = BlackBox(name="box", asker=asker, order=(0, 1), fingerprint="f" * 64)
    assert shard_key(box, (TEXTS,), 32, "its own") == "75454f32022db8dc90f817f43b4fc688746827778e2ce88dd7ec6c955702231d"


def test_word_features(tmp_path: Path) -> None:
    cached_word_features(fixed_teacher(), 8, "fp32", tmp_path)
    path, checksum = sorted((tmp_path / "words").iterdir())
    assert checksum.name == f"{path.name}.sha256"
    assert path.name == "3b19b140116a3056644f3cb2ad125839fdc26c358d00f5e75641f95d7b400560.safetensors"


@pytest.mark.parametrize(
    ("inputs", "fingerprint", "folder", "content"),
    [
        (
            ("text",),
            "e87eb9c9816ff16bf4247345044b8dff6256b476a1055d93140b03e7987bf0ab",
            "a220c57f10078e8c26a6ec507166401c",
            "0ace1570ce53ac535baeb0106ce0cab70a9269410232771ea070c53ae26ab001",
        ),
        (
            ("question", "passage"),
            "e87eb9c9816ff16bf4247345044b8dff6256b476a1055d93140b03e7987bf0ab",
            "22562c3ed34e921d4de2631073dce84b",
            "16748503d23178409fbdb82fc329743cd48b283684fccec0833596f6bc5954f9",
        ),
    ],
    ids=["one text", "two texts"],
)
def test_pools(inputs: tuple[str, ...], fingerprint: str, folder: str, content: str, tmp_path: Path) -> None:
    assert pool_of(inputs, tmp_path) == (fingerprint, folder, content)


def test_a_generator_that_is_warmed_up(tmp_path: Path) -> None:
    teacher = fixed_teacher()
    pool_of(("text",), tmp_path)
    corpus = build_corpus(find_sources([str(tmp_path / "corpus.txt")]), 1.0, tmp_path / "cache")
    names = []
    for pairs in (False, True):
        cache = tmp_path / f"pairs {pairs}"
        warm_up(
            build_generator(teacher), teacher.tokenizer, corpus, pairs=pairs, steps=1, max_length=16, precision="fp32",
            fingerprint="g" * 64, cache=cache,
        )  # fmt: skip
        names += [path.name for path in (cache / "generators").iterdir()]
    assert names == ["b74b8a248911ba9d5e6f4387ea11034b", "fe072d0724ca15830ddb26875ab5aedb"]


# The keys of a run's metrics, one level a dot.

SCORES = {"rows", "accuracy", "majority", "above_chance"}
VERSIONS = {
    "zskd", "python", "torch", "transformers", "accelerate", "datasets", "evaluate", "peft", "tokenizers",
    "huggingface_hub", "numpy",
}  # fmt: skip
PHASES = {"corpus", "shaping", "teacher", "labelling", "selection", "student", "training", "scoring", "total"}


def keys(value: Any, prefix: str = "") -> set[str]:
    """Names of everything in a dictionary; an empty dictionary is a name too."""
    if not isinstance(value, dict) or not value:
        return {prefix}
    return {key for name, inner in value.items() for key in keys(inner, f"{prefix}.{name}" if prefix else name)}


def expected_keys(labels: tuple[str, ...], scored: tuple[str, ...], phases: set[str]) -> set[str]:
    """Keys of a run with these evaluation sets; on one that is a file the student's scores have an overlap."""
    return {
        "task", "seed", "pool_seed", "compression",
        "agreement", "agreement_majority", "agreement_above_chance", "agreement_rows",
        "teacher_queries", "teacher_queries_live", "teacher_queries_live_in_all_calls", "calls", "max_length", "steps",
        "query_budget", "teacher_queries_repeated", "best_step", "resumed_from", "collapse", "teacher.name",
        "teacher.revision",
        "teacher.parameters",
        "student.parameters", "student.sha256", "transfer_set.texts", "transfer_set.rows",
        *(f"teacher_queries_by_use.{use}" for use in ("texts", "single_tokens", "generator")),
        *(
            f"teacher_queries_for.{use}"
            for use in ("transfer_inputs", "held_out_inputs", "gold_rows", "single_tokens", "generator")
        ),
        *(f"transfer_set.classes.{label}.{key}" for label in labels for key in ("share_before", "share", "confidence")),
        *(f"seconds.{phase}" for phase in PHASES | phases),
        *(f"cut.labelling.{part}" for part in ("transfer", "select", "report")),
        *((f"cut.scoring.{who}.{name}" for who in ("teacher", "student") for name in scored) if scored else
          ("cut.scoring.teacher", "cut.scoring.student")),
        *(f"zero_shot.{key}" for key in ("enforced", "read_before_training", "read_after_training")),
        *(f"versions.{name}" for name in VERSIONS),
        *(f"{who}.scores.{name}.{key}" for who in ("teacher", "student") for name in scored for key in SCORES),
        *(f"student.scores.{name}.overlap" for name in scored if name != "probe"),
        *(f"{kind}.{name}" for kind in ("retention", "retention_above_chance") for name in scored),
        *(() if scored else ("teacher.scores", "student.scores", "retention", "retention_above_chance")),
    }  # fmt: skip


@pytest.mark.parametrize(("run", "phases"), [("published_run", set()), ("finished_run", {"generator"})])
def test_keys_of_the_metrics_of_a_run_of_one_text(run: str, phases: set[str], request: Any) -> None:
    found = json.loads((request.getfixturevalue(run) / "metrics.json").read_text(encoding="utf-8"))
    assert keys(found) == expected_keys(("negative", "positive"), ("probe", "glue"), phases)


@pytest.mark.parametrize(("perturb", "phases"), [("random", set()), ("adversarial", {"generator"})])
def test_keys_of_the_metrics_of_a_run_of_two_texts(
    perturb: str, phases: set[str], config_for: Callable[..., DistillConfig], own_tasks: dict[str, str]
) -> None:
    task = own_tasks["answers"]
    config = config_for(task, perturb=perturb, student_steps=2, generator_steps=1, generator_warmup=1)
    assert keys(distill(config).metrics) == expected_keys(find_task(task).labels, (), phases)


def test_keys_of_the_record(finished_run: Path) -> None:
    record = json.loads((finished_run / "record.json").read_text(encoding="utf-8"))
    assert set(record) == {
        "task", "versions", "machine", "processor", "seed", "pool_seed", "corpus", "pools", "teacher", "student",
        "transfer_set", "precision", "gate", "processes",
    }  # fmt: skip


def test_keys_of_calls_and_disagreements(finished_run: Path) -> None:
    for name, expected in (
        ("calls.json", {"began", "seconds", "teacher_queries_live"}),
        ("disagreements.json", {"texts", "teacher", "student", "divergence"}),
    ):
        rows = json.loads((finished_run / name).read_text(encoding="utf-8"))
        assert rows and all(set(row) == expected for row in rows)


@pytest.mark.parametrize("run", ["published_run", "finished_run"])
def test_every_key_of_the_metrics_is_explained(run: str, request: Any) -> None:
    found = json.loads((request.getfixturevalue(run) / "metrics.json").read_text(encoding="utf-8"))
    section = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    section = section.partition("## `metrics.json`\n")[2].partition("\n## ")[0]
    # Names of versions, evaluation sets, phases and classes are the run's own.
    inner = {key for name in ("teacher_queries_for", "zero_shot") for key in found[name]}
    inner |= {key for scores in found["student"]["scores"].values() for key in scores}
    inner |= {key for entry in found["transfer_set"]["classes"].values() for key in entry}
    assert [key for key in {*found, *inner} if f"`{key}`" not in section] == []
