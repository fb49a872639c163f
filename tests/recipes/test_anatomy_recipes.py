"""The anatomy's recipes: stacked networks, planted similarity, claims with intervals, topic tasks, kept cells."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes import anatomy_report, kd_anatomy_text
from recipes.kd_anatomy import CONDITIONS, Settings, blocks, make_world, permuted, study
from recipes.stacked import StackedMLP, train
from recipes.topics import write_topic_task
from zskd.pipeline import Result
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import find_task
from zskd.training.targets import class_cosines

TINY = dataclasses.replace(
    Settings(),
    similarities=(0.0, 0.9),
    teacher_rows=200,
    teacher_hidden=16,
    teacher_steps=8,
    student_rows=100,
    student_hidden=8,
    student_steps=6,
    test_rows=100,
    confident_rows=50,
    temperatures=(1.0, 4.0),
)


def test_stacked_networks_share_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 4, generator=generator)
    labels = torch.randint(3, (40,), generator=generator)

    def trained(seeds: list[int]) -> torch.Tensor:
        net = StackedMLP(seeds, 4, 8, 3)

        def loss(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
            wanted = labels[chosen].expand(len(seeds), -1)
            return torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(dim=1)

        stacked = inputs.expand(len(seeds), -1, -1)
        train(net, stacked, loss, steps=10, batch=16, rate=1e-2, decay=0.1, seed=5)
        return net(stacked).detach()

    together = trained([1, 2, 1])
    torch.testing.assert_close(together[1], trained([2])[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(together[0], together[2]) and not torch.allclose(together[0], together[1], atol=1e-2)


@pytest.mark.parametrize("similarity", [0.0, 0.3, 0.9])
def test_classes_of_a_super_class_have_the_planted_cosine(similarity: float) -> None:
    found = blocks(class_cosines(make_world(Settings(), similarity, 3).directions), Settings().subs)
    assert found["within"] == pytest.approx(similarity, abs=1e-5)
    assert found["between"] == pytest.approx(0.0, abs=1e-5)


def test_permuted_cosines_keep_their_values_and_lose_their_places() -> None:
    cosines = class_cosines(torch.randn(12, 6, generator=torch.Generator().manual_seed(0)))
    found = permuted(cosines, torch.Generator().manual_seed(1))
    assert torch.equal(found.diagonal(), cosines.diagonal()) and not torch.equal(found, cosines)
    torch.testing.assert_close(found.sort(dim=1).values, cosines.sort(dim=1).values)


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    parts = [study(TINY, similarity, [7, 8]) for similarity in TINY.similarities]
    made = {"command": "c", "settings": dataclasses.asdict(TINY), "seeds": [7, 8], "similarities": parts}
    return json.loads(json.dumps(made))


def test_study_has_every_condition_failure_and_temperature(content: dict[str, Any]) -> None:
    low, high = content["similarities"]
    assert set(low["accuracy"]) == {"teacher", *CONDITIONS} and not low["failures"]
    assert set(high["failures"]) == {"sound", "label-smoothed", "over-confident"}
    assert {f"kd-topk T={t:g}" for t in TINY.temperatures} <= set(high["accuracy"])
    assert all(len(values) == 2 for part in (low, high) for values in part["accuracy"].values())
    assert study(TINY, 0.0, [7, 8])["accuracy"] == low["accuracy"], "a function of settings and seeds"


def test_report_writes_claims_tables_and_figures(content: dict[str, Any], tmp_path: Path) -> None:
    text = anatomy_report.write(content, tmp_path)
    kept = json.loads((tmp_path / "claims.json").read_text())
    assert kept["command"] == "c" and len(kept["claims"]) == 10
    assert all(item["claim"] in text for item in kept["claims"])
    for name in ("similarity", "temperature", "cosines"):
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [([0.1, 0.11, 0.12], "agrees"), ([-0.1, -0.11, -0.12], "disagrees"), ([-0.1, 0, 0.1], "not shown")],
)
def test_a_claim_is_judged_by_its_interval(content: dict[str, Any], gain: list[float], verdict: str) -> None:
    made = json.loads(json.dumps(content))
    for part in made["similarities"]:
        row = {name: [0.5, 0.6, 0.4] for name in part["accuracy"]}
        part["accuracy"] = row | {"kd-pt": (np.array(row["none"]) + np.array(gain)).tolist()}
        for values in part["failures"].values():
            values["kd"] = [0.5, 0.6, 0.4]
    found = next(c for c in anatomy_report.claims(made) if c["claim"] == "KD-pt beats no distillation")
    assert found["verdict"] == verdict and found["mean"] == pytest.approx(100 * np.mean(gain))


def test_topic_task_is_one_that_can_be_read(tmp_path: Path) -> None:
    path = write_topic_task(tmp_path, ("email", "asyncio"), rows=20)
    task = find_task(str(path))
    assert task.labels == ("email", "asyncio")
    train_rows, dev = (read_labelled(task, tmp_path / f"{name}.tsv") for name in ("train", "dev"))
    assert not set(train_rows.texts[0]) & set(dev.texts[0])
    assert set(train_rows.labels) == {0, 1} == set(dev.labels)
    for rows in (train_rows, dev):
        assert not any(task.labels[y] in text.lower() for text, y in zip(rows.texts[0], rows.labels, strict=True))


def test_text_cell_is_kept_until_its_options_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    def distill(config: Any) -> Result:
        runs.append(config.objective)
        Path(config.output_dir).mkdir(parents=True)
        scores = {"scores": {"probe": {"accuracy": 0.5}, "glue": {"accuracy": 0.7}}}
        found = dict.fromkeys(kd_anatomy_text.KEPT, 0.25) | {"teacher": {"name": "/a/b", **scores}, "student": scores}
        return Result(found, Path(config.output_dir))

    monkeypatch.setattr(kd_anatomy_text, "distill", distill)
    (tmp_path / "labelled").mkdir()
    base = {"task": "mnli", "teacher": "embedded", "glue_dir": str(tmp_path / "labelled"), "corpus": ["x/a.txt"]}

    def cell(**options: object) -> dict[str, Any]:
        return kd_anatomy_text.run_cell("mnli", base, options, tmp_path / "results", tmp_path / "work")

    first = cell(objective="kd-pt+sim", seed=0)
    assert cell(objective="kd-pt+sim", seed=0) == first and runs == ["kd-pt+sim"]
    cell(objective="kd-pt+sim", seed=0, epochs=1.0)
    cell(objective="kd", seed=0)
    assert runs == ["kd-pt+sim", "kd-pt+sim", "kd"]
    assert first["teacher"]["name"] == "b", "no path of this machine"
    assert "| mnli | kd-pt+sim | 70.0 | 70.0 | 25.0 | 1 |" in kd_anatomy_text.table([first])


def test_claims_on_text_are_paired_by_seed_and_shown_only_beyond_two_standard_errors() -> None:
    def made(objective: str, seed: int, accuracy: float) -> dict[str, Any]:
        scores = {"probe": {"accuracy": 0.0, "rows": 9}, "glue": {"accuracy": accuracy, "rows": 2_000}}
        settings = {"objective": objective}
        return {
            "task": "mnli",
            "settings": settings,
            "seed": seed,
            "agreement": accuracy,
            "student": {"scores": scores},
        }

    cells = [made("kd", 0, 0.60), made("kd", 1, 0.62), made("hard-label", 0, 0.55), made("kd-pt", 1, 0.61)]
    found = kd_anatomy_text.claims(cells)
    assert "| mnli | kd beats hard-label | 5.0 | 5.0 | agrees |" in found
    assert "| mnli | kd beats kd-pt | 1.0 | 1.0 | not shown |" in found
    assert "kd-sim" not in found
