"""Anchors: the teacher is surer there, the class stays, and text takes over."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scene import ROWS, Scene

from zskd.config.methods.anchors import AnchorsOptions
from zskd.methods.anchors import Anchors


def test_the_share_of_the_text_rises_from_its_beginning_to_all() -> None:
    anchors = Anchors(AnchorsOptions(anchors_text=0.2, anchors_until=0.6))
    shares = [anchors.text_share(number / 100) for number in range(101)]
    assert shares[0] == 0.2 and shares == sorted(shares) and set(shares[60:]) == {1.0} and shares[59] < 1
    assert Anchors(AnchorsOptions(anchors_until=0.0)).text_share(0.0) == 1.0


def test_an_anchor_lowers_the_energy_of_every_row_and_keeps_its_class() -> None:
    scene = Scene()
    options = AnchorsOptions(anchors_share=1.0, anchors_text=0.0, anchors_radius=0.005)
    after = scene.prepared(Anchors(options)).batch(scene.batch, scene.step)
    before, found = scene.batch["teacher_logits"], after["teacher_logits"]
    assert (found.logsumexp(dim=1) > before.logsumexp(dim=1)).all()
    assert (found.argmax(dim=1) == before.argmax(dim=1)).float().mean() >= 0.95


def test_a_mixture_lies_between_anchor_and_text() -> None:
    scene = Scene(number=6)  # of 20; the text's share is half way from 0 to 1 at 0.6
    made = [
        scene.prepared(Anchors(AnchorsOptions(anchors_share=1.0, anchors_text=0.0, anchors_until=until)))
        for until in (0.6, 1e9)
    ]
    half, nearly_all = (method.batch(scene.batch, scene.step)["offset"] for method in made)
    torch.testing.assert_close(half, nearly_all / 2, rtol=1e-4, atol=1e-6)


def test_where_the_text_has_taken_over_nothing_is_asked_and_nothing_changed() -> None:
    scene = Scene(number=12)
    method = scene.prepared(Anchors(AnchorsOptions(anchors_share=1.0, anchors_until=0.6)))
    assert method.batch(scene.batch, scene.step) is scene.batch and scene.live.queries == 0
    assert "offset" in method.batch(scene.batch, replace(scene.step, number=11, progress=11 / 20))


def test_the_teacher_itself_answers_the_mixture() -> None:
    scene = Scene()
    options = AnchorsOptions(anchors_share=0.5, anchors_steps=3)
    method = scene.prepared(Anchors(options))
    after = method.batch(scene.batch, scene.step)
    assert scene.live.queries == (3 + 1) * ROWS / 2 and scene.live.backwards == 3 * ROWS / 2
    rows = torch.from_numpy(scene.step.rows(0.5))
    assert not torch.allclose(after["teacher_logits"][rows], scene.batch["teacher_logits"][rows])
    student = scene.students(scene.moved(after), scene.batch)
    assert not torch.allclose(after["teacher_logits"], student), "the difference would be 0, and no row would teach"


def test_each_class_has_half_of_the_dimensions_of_its_own() -> None:
    scene = Scene()
    method = scene.prepared(Anchors())
    assert method.dimensions is not None
    width = scene.teacher.model.get_input_embeddings().weight.shape[1]
    assert method.dimensions.sum(dim=1).tolist() == [width // 2] * 3
    assert len({tuple(row) for row in method.dimensions.tolist()}) == 3
    again = Scene().prepared(Anchors())
    assert torch.equal(method.dimensions, again.dimensions)


@pytest.mark.parametrize("options", [AnchorsOptions(anchors_share=0.0), AnchorsOptions(anchors_text=1.0)])
def test_neutral_settings_ask_nothing(options: AnchorsOptions) -> None:
    scene = Scene()
    assert scene.prepared(Anchors(options)).batch(scene.batch, scene.step) is scene.batch and scene.live.queries == 0
