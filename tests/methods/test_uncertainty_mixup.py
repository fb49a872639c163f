"""Uncertainty mixup: the weights of the paper, whom they concern, and both models reading the same mixture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import as_flags
from scene import ROWS, Scene

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.methods.uncertainty_mixup import UncertaintyMixupOptions
from zskd.methods.uncertainty_mixup import UncertaintyMixup, mixing_weights, uncertainty


def test_weights_are_those_of_the_paper() -> None:
    """The first and last of the 48 rows that are kept: 0.007 and 0.92 of λ, and a step where w is large."""
    weights = mixing_weights(batch=64, b=32, w=10.0)[:48]
    np.testing.assert_allclose(weights[[0, 47]], [0.0072, 0.918], atol=5e-4)
    assert (np.diff(weights) > 0).all()
    # All rows kept, b and w so large that nothing is mixed.
    assert mixing_weights(batch=64, b=64, w=1_000.0)[:63].max() < 5e-4
    step = mixing_weights(batch=64, b=32, w=1e6)
    assert step[:31].max() < 1e-9 and step[32:].min() > 1 - 1e-9
    np.testing.assert_allclose(mixing_weights(64, 32, 10.0, 48), weights)


@pytest.mark.parametrize("kind", ["entropy", "margin", "confidence"])
def test_a_row_that_is_less_sure_has_more_uncertainty(kind: str) -> None:
    sure = torch.tensor([[9.0, 0, 0], [2.0, 0, 0], [1.0, 0.5, 0], [0.0, 0, 0]])
    found = uncertainty(sure, kind)
    assert (found.diff() > 0).all()
    assert uncertainty(torch.tensor([[500.0, -500.0]]), kind).isfinite().all(), "no logarithm of 0"


def mixed(options: UncertaintyMixupOptions) -> tuple[Scene, dict[str, torch.Tensor]]:
    scene = Scene()
    return scene, scene.prepared(UncertaintyMixup(options)).batch(scene.batch, scene.step)


def test_the_rows_that_the_student_is_least_sure_of_are_asked_for_and_no_other() -> None:
    scene, after = mixed(UncertaintyMixupOptions(mixup_share=0.5))
    own = scene.students(scene.moved(scene.batch), scene.batch)
    unsure = uncertainty(own, "entropy")
    rows = (after["share"] < 1).nonzero()[:, 0]
    assert len(rows) == scene.live.queries == ROWS / 2
    others = torch.ones(ROWS, dtype=torch.bool)
    others[rows] = False
    assert unsure[rows].min() >= unsure[others].max()
    assert torch.equal(after["teacher_logits"][others], scene.batch["teacher_logits"][others])
    shares = after["share"][unsure.argsort(descending=True)]
    assert (shares[: ROWS // 2].diff() < 0).all() and (shares[ROWS // 2 :] == 1).all(), "surer rows are mixed more"


def test_both_models_read_the_same_mixture() -> None:
    scene, after = mixed(UncertaintyMixupOptions(mixup_share=0.75))
    rows = (after["share"] < 1).nonzero()[:, 0]
    share, ids, partner = after["share"][:, None, None], scene.batch["input_ids"], after["partner"]
    table = scene.live.embeddings
    embeds = share * table(ids) + (1 - share) * table(ids[partner])
    expected = scene.live.forward(embeds=embeds[rows], mask=after["attention_mask"][rows]).logits
    torch.testing.assert_close(after["teacher_logits"][rows], expected, atol=1e-5, rtol=0)
    union = scene.batch["attention_mask"] | scene.batch["attention_mask"][partner]
    assert torch.equal(after["attention_mask"][rows], union[rows])


def test_segments_are_those_of_the_larger_part() -> None:
    scene = Scene()
    scene.batch["token_type_ids"] = torch.arange(ROWS)[:, None].expand_as(scene.batch["input_ids"]) % 2
    scene.batch["token_type_ids"] = scene.batch["token_type_ids"].contiguous()
    method = scene.prepared(UncertaintyMixup(UncertaintyMixupOptions(mixup_share=1.0, mixup_steepness=0.0)))
    seen = set()
    for number in range(12):
        step = replace(scene.step, number=number)
        after = method.batch(scene.batch, step)
        source = torch.where(after["share"] < 0.5, after["partner"], torch.arange(ROWS))
        assert torch.equal(after["token_type_ids"], scene.batch["token_type_ids"][source])
        seen.add(round(float(after["share"][0]), 4))
    assert len(seen) == 12, "λ is drawn anew in each step"


def test_nothing_of_the_partner_leaves_the_row_as_it_is() -> None:
    scene, after = mixed(UncertaintyMixupOptions(mixup_share=1.0, mixup_steepness=1e6))
    least = after["share"].argsort(descending=True)[: ROWS // 3]  # the first ranks, far below the step
    assert (after["share"][least] == 1).all()
    longer = (after["attention_mask"][least] != scene.batch["attention_mask"][least]).any(dim=1)
    found = (after["teacher_logits"] - scene.batch["teacher_logits"])[least][~longer]
    assert not len(found) or found.abs().max() < 1e-5
    assert mixed(UncertaintyMixupOptions(mixup_share=0.0))[1].keys() == scene.batch.keys()


def test_a_split_batch_is_refused_before_anything_loads(cli, tiny_config: DistillConfig) -> None:
    config = replace(tiny_config, method=["uncertainty-mixup"], pool_size=30_000)
    assert check(config) == []
    problems = check(replace(config, gradient_accumulation=2, num_processes=2))
    assert [line.partition(":")[0] for line in problems] == ["--gradient-accumulation 2", "--num-processes 2"]
    done = cli("distill", *as_flags(replace(config, gradient_accumulation=2)))
    assert done.code == 2 and "which ranks a whole batch" in done.err
