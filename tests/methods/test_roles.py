"""Roles: what each operation does, whose view is whose, and schedules that are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import as_flags
from scene import ROWS, Scene

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.methods.roles import OPERATIONS, RolesOptions, read_schedule, schedule_of, stage_at, teacher_until
from zskd.errors import InputError
from zskd.methods.roles import Roles

DROP, MASK = {"until": 1.0, "drop": [1.0, 0.3]}, {"until": 1.0, "mask": [1.0, 0.3]}


def roles(scene: Scene, share: float = 0.25, **schedule: Any) -> Roles:
    method = scene.prepared(Roles(RolesOptions(roles_share=share), schedule=schedule_of(schedule, "test")))
    assert isinstance(method, Roles)
    return method


def words(batch: dict[str, torch.Tensor], special: torch.Tensor) -> list[list[int]]:
    """Token ids of rows without special tokens and padding."""
    return [
        [token for token in ids[mask.bool()].tolist() if token not in special.tolist()]
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_changes_so_many_tokens_of_the_row_and_no_special_one(name: str) -> None:
    scene = Scene()
    method = roles(scene, student=[{"until": 1.0, name: [1.0, 0.4]}])
    after = method.batch(scene.batch, scene.step)
    special = method.special
    mask = scene.teacher.tokenizer.mask_token_id
    for one, other in zip(words(scene.batch, special), words(after, special), strict=True):
        count = round(0.4 * len(one))
        if name in ("drop", "crop"):
            assert len(other) == len(one) - count
            rest = iter(one)
            assert all(token in rest for token in other), "the order stays"
            if name == "crop":
                assert any(one[i : i + len(other)] == other for i in range(count + 1)), "one piece"
        elif name == "swap":
            assert sorted(other) == sorted(one) and other != one
        elif name == "replace":
            assert len(other) == len(one) and 0 < sum(a != b for a, b in zip(one, other, strict=True)) <= count
        else:
            assert len(other) == len(one) - count, "the mask is a special token"
    edges = [(batch["input_ids"][:, 0]).tolist() for batch in (scene.batch, after)]
    assert edges[0] == edges[1]
    if name == "mask":
        masked = (after["input_ids"] == mask).sum(dim=1).tolist()
        assert masked == [round(0.4 * len(row)) for row in words(scene.batch, special)]
    assert (after["input_ids"][after["attention_mask"] == 0] == scene.teacher.tokenizer.pad_token_id).all()
    assert torch.equal(after["teacher_logits"], scene.batch["teacher_logits"]) and scene.live.queries == 0


def test_a_probability_is_that_of_a_row() -> None:
    scene = Scene()
    method = roles(scene, student=[{"until": 1.0, "drop": [0.5, 0.3]}])
    changed = []
    for number in range(20):
        after = method.batch(scene.batch, replace(scene.step, number=number))
        changed += (after["attention_mask"].sum(dim=1) != scene.batch["attention_mask"].sum(dim=1)).tolist()
    assert 0.4 < np.mean(changed) < 0.6


def test_equal_schedules_give_one_view_and_others_are_never_mixed() -> None:
    scene = Scene()
    same = roles(scene, 1.0, student=[DROP], teacher=[DROP])
    views = [same.view(scene.batch, role, scene.step)["input_ids"] for role in ("student", "teacher")]
    assert torch.equal(*views) and not torch.equal(views[0], scene.batch["input_ids"])
    after = same.batch(scene.batch, scene.step)
    expected = scene.live.forward(ids=after["input_ids"], mask=after["attention_mask"]).logits
    torch.testing.assert_close(after["teacher_logits"], expected, atol=1e-5, rtol=0)
    apart = roles(scene, 1.0, student=[DROP], teacher=[MASK])
    seen = apart.batch(scene.batch, scene.step)
    assert torch.equal(seen["input_ids"], views[0]), "the student's view does not depend on the teacher's"
    assert not (seen["input_ids"] == scene.teacher.tokenizer.mask_token_id).any()
    masked = apart.view(scene.batch, "teacher", scene.step)
    expected = scene.live.forward(ids=masked["input_ids"], mask=masked["attention_mask"]).logits
    torch.testing.assert_close(seen["teacher_logits"], expected, atol=1e-5, rtol=0)


def test_only_a_share_is_asked_for_anew_and_only_while_the_teacher_has_a_view() -> None:
    scene = Scene()
    method = roles(scene, teacher=[{"until": 0.5, "mask": [1.0, 0.3]}])
    after = method.batch(scene.batch, scene.step)
    rows = torch.from_numpy(scene.step.rows(0.25))
    changed = (after["teacher_logits"] != scene.batch["teacher_logits"]).any(dim=1).nonzero()[:, 0]
    assert torch.equal(changed, rows) and scene.live.queries == ROWS / 4
    assert torch.equal(after["input_ids"], scene.batch["input_ids"]), "the student has no stage"
    late = replace(scene.step, number=10, progress=0.5)
    assert method.batch(scene.batch, late) is scene.batch and scene.live.queries == ROWS / 4


def test_stages_follow_each_other() -> None:
    stages = schedule_of({"student": [{"until": 0.3}, {"until": 0.8, "drop": [1, 0.1]}]}, "test")["student"]
    found = [stage_at(stages, progress) for progress in (0.0, 0.29, 0.3, 0.79, 0.8, 0.99)]
    assert found == [stages[0], stages[0], stages[1], stages[1], None, None]
    assert [stage.active for stage in stages] == [False, True]
    both = schedule_of({"teacher": [{"until": 0.4, "drop": [1, 0.1]}, {"until": 1.0, "drop": [0, 1]}]}, "test")
    assert teacher_until(both) == 0.4 and teacher_until(read_schedule(None)) == 0.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "expected stages for teacher and student"),
        ({"pupil": []}, "expected stages for teacher and student"),
        ({"student": {"until": 1.0}}, "student: expected a list of stages"),
        ({"student": [{"drop": [1, 0.1]}]}, "student, stage 1: expected `until`"),
        ({"student": [{"until": 1.5}]}, "student, stage 1: expected `until`"),
        ({"student": [{"until": 0.5}, {"until": 0.5}]}, "student, stage 2: expected `until`"),
        ({"teacher": [{"until": 1.0, "dorp": [1, 0.1]}]}, "teacher, stage 1: expected operations among drop"),
        ({"teacher": [{"until": 1.0, "drop": 0.1}]}, "drop: expected a probability and a magnitude"),
        ({"teacher": [{"until": 1.0, "drop": [1, 2]}]}, "drop: expected a probability and a magnitude"),
        ({"teacher": [{"until": 1.0, "drop": [True, 0.1]}]}, "drop: expected a probability and a magnitude"),
    ],
)
def test_a_schedule_that_is_none_is_said_with_its_place(
    cli, tiny_config, content: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "schedule.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = cli("distill", *as_flags(replace(tiny_config, method=["roles"], roles_schedule=str(path))))
    assert done.code == 2 and len(done.errors) == 1 and said in done.err and str(path) in done.err


def test_what_does_not_go_with_it_is_said_at_once(tiny_config: DistillConfig, tmp_path: Path) -> None:
    config = replace(tiny_config, method=["roles"], student=tiny_config.teacher)
    (none,) = check(config)
    assert none.startswith("--method roles: expected --roles-schedule FILE")
    (gone,) = check(replace(config, roles_schedule=str(tmp_path / "none.yaml")))
    assert "found no such file" in gone
    path = tmp_path / "schedule.yaml"
    path.write_text(yaml.safe_dump({"student": [DROP], "teacher": [MASK]}), encoding="utf-8")
    (asked,) = check(replace(config, roles_schedule=str(path)), black_box=True)
    assert "expected stages of the student alone" in asked
    path.write_text(yaml.safe_dump({"student": [DROP]}), encoding="utf-8")
    assert check(replace(config, roles_schedule=str(path)), black_box=True) == []


def test_a_training_goes_on_with_its_schedule_alone() -> None:
    scene = Scene()
    held = roles(scene, student=[DROP]).state()
    roles(scene, student=[DROP]).load_state(held)
    with pytest.raises(InputError, match="expected the schedule that the training began with"):
        roles(scene, student=[MASK]).load_state(held)
