"""Selection: nested choices with quotas, a shared classifier that is frozen and merged, and a contrast of views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from chosen_rows import logits_of
from contract import labelled
from scene import Scene
from test_inconsistent import output_of

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.methods.selection import SelectionOptions
from zskd.methods.selection import Selection, info_nce, mixed_statistics, surest
from zskd.models.output_layer import output_layer

PLAIN = SelectionOptions(selection_keep=1.0, selection_classifier="own", selection_contrast=0.0)


def test_choices_are_nested_and_every_class_keeps_its_share() -> None:
    rng = np.random.default_rng(0)
    classes = logits_of((500, 40, 3)).argmax(axis=1)
    confidence = rng.random(len(classes))
    before = np.arange(len(classes))
    for keep in (1.0, 0.8, 0.5, 0.2, 0.01):
        found = surest(confidence, classes, keep)
        assert set(found) <= set(before) and (np.diff(found) > 0).all()
        for index, count in enumerate((500, 40, 3)):
            own = found[classes[found] == index]
            assert len(own) == max(1, round(keep * count))
            left = np.setdiff1d(np.flatnonzero(classes == index), own)
            assert not len(left) or confidence[own].min() >= confidence[left].max()
        before = found
    assert len(surest(confidence, classes, 1.0)) == len(classes), "all of them"


def test_both_models_choose_and_not_in_the_first_epoch() -> None:
    scene = Scene()
    method = Selection(replace(PLAIN, selection_keep=0.5))
    rows = labelled(scene.teacher, 64)
    assert method.transfer_set(rows) is rows, "the rows themselves are left"
    scene.prepared(method)
    scene.student.eval()
    with torch.no_grad():
        assert method.epoch(0, scene.student) is None
        found = method.epoch(1, scene.student)
        assert found is not None
        own = method._students(scene.student)
        mean = torch.from_numpy((rows.logits + own) / 2).softmax(dim=1).amax(dim=1).numpy().round(4)
        assert np.array_equal(found, surest(mean, rows.logits.argmax(axis=1), 0.5))
        output_layer(scene.student).weight.mul_(-40)
        other = method.epoch(2, scene.student)
    assert other is not None and not np.array_equal(found, other), "the student has changed"
    assert Selection(PLAIN).epoch(1, scene.student) is None


def test_an_identical_feature_behind_the_teachers_classifier_has_the_teachers_logits() -> None:
    scene = Scene()
    scene.student = scene.teacher.model.requires_grad_(True)
    scene.step = replace(scene.step, student=scene.student)
    method = Selection(replace(PLAIN, selection_classifier="teacher"))
    scene.prepared(method)
    assert method.projector is not None
    with torch.no_grad():
        method.projector.weight.copy_(torch.eye(len(method.projector.weight)))
        method.projector.bias.zero_()
    found = method.logits(output_of(scene), scene.step)
    torch.testing.assert_close(found, scene.batch["teacher_logits"], atol=1e-5, rtol=0)


def test_the_classifier_is_frozen_and_merged_into_a_stock_layer() -> None:
    scene = Scene()
    method = Selection(replace(PLAIN, selection_classifier="teacher"))
    scene.prepared(method)
    before = [part.clone() for part in method.shared]
    output = output_of(scene)
    method.logits(output, scene.step).square().sum().backward()
    assert not any(part.requires_grad for part in method.shared) and method.projector is not None
    assert method.projector.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in scene.teacher.model.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, method.shared, strict=True))
    expected = method.logits(output, scene.step).detach()
    names = scene.student.state_dict().keys()
    method.finish(scene.student)
    assert scene.student.state_dict().keys() == names
    torch.testing.assert_close(output_of(scene).logits.detach(), expected, atol=1e-5, rtol=1e-5)


def test_the_contrast_is_least_where_views_coincide() -> None:
    torch.manual_seed(0)
    one = torch.randn(8, 6)
    same = info_nce(one, one, 0.1)
    assert (same < info_nce(one, one[torch.arange(8).roll(1)], 0.1)).all()
    assert (same < info_nce(one, one + torch.randn(8, 6), 0.1)).float().mean() > 0.8
    torch.testing.assert_close(info_nce(one, 7 * one, 0.1), same, msg="length does not matter")


def test_mixed_statistics_are_half_the_partners_and_padding_has_no_part() -> None:
    torch.manual_seed(0)
    states, mask = torch.randn(3, 5, 4) * torch.tensor([1.0, 3.0, 5.0])[:, None, None], torch.ones(3, 5)
    mask[2, 3:] = 0
    found = mixed_statistics(states, mask, torch.tensor([1, 2, 2]))

    def statistics(row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return row.mean(dim=0), row.std(dim=0, unbiased=False)

    rows = [states[0], states[1], states[2, :3]]
    for row, partner in ((0, 1), (1, 2), (2, 2)):
        made = found[row, :3] if row == 2 else found[row]
        for own, one, other in zip(statistics(made), statistics(rows[row]), statistics(rows[partner]), strict=True):
            torch.testing.assert_close(own, (one + other) / 2, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[2, :3], states[2, :3], atol=1e-5, rtol=1e-4)


def test_a_split_batch_and_labelled_rows_are_refused_at_once(tiny_config: DistillConfig, tmp_path) -> None:
    gold = tmp_path / "gold.tsv"
    gold.write_text("sentence\tlabel\nfine\t1\n", encoding="utf-8")
    config = replace(tiny_config, method=["selection"])
    assert check(config) == []
    found = check(replace(config, gold_labels=str(gold), gradient_accumulation=2, num_processes=2))
    starts = [line.partition(":")[0] for line in found]
    assert starts == ["--gold-labels", "--gradient-accumulation 2", "--num-processes 2"]
    assert check(replace(config, gradient_accumulation=2, selection_contrast=0.0)) == []
    with pytest.raises(ValueError, match="selection: expected a teacher with weights"):
        from zskd.methods.context import Run

        scene = Scene()
        Selection().prepare(Run(seed=0, student=scene.student, tokenizer=scene.teacher.tokenizer))
