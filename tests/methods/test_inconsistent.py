"""Inputs that are hard for the teacher: it is less sure there, noise is for short rows, and the end is plain."""

from __future__ import annotations

from dataclasses import replace

import torch
from scene import ROWS, Scene

from zskd.config.methods.inconsistent import InconsistentOptions
from zskd.methods.context import StudentOutput
from zskd.methods.inconsistent import Inconsistent
from zskd.methods.layer_pairs import standardised, token_error

ALL = InconsistentOptions(inconsistent_share=1.0, inconsistent_noise=0.0, inconsistent_steps=5)


def confidence(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return logits.softmax(dim=1).gather(1, classes[:, None])[:, 0]


def test_the_teacher_is_less_sure_of_its_class_within_the_box() -> None:
    scene = Scene()
    method = scene.prepared(Inconsistent(ALL))
    seen: list[torch.Tensor] = []
    students = method.students
    method.students = lambda movement: seen.append(movement) or students(movement)
    after = method.batch(scene.batch, scene.step)
    classes = scene.batch["teacher_logits"].argmax(dim=1)
    before, there = (confidence(b["teacher_logits"], classes) for b in (scene.batch, after))
    assert there.mean() < before.mean() and (there < before).float().mean() > 0.9
    embeds = scene.live.embeddings(scene.batch["input_ids"])
    most = ALL.inconsistent_radius * (embeds.amax(dim=(1, 2)) - embeds.amin(dim=(1, 2)))
    assert (seen[0].abs().amax(dim=(1, 2)) <= most * 1.0001).all() and seen[0].abs().max() > 0.9 * most.min()


def test_no_radius_is_the_input_itself() -> None:
    scene = Scene()
    after = scene.prepared(Inconsistent(replace(ALL, inconsistent_radius=0.0))).batch(scene.batch, scene.step)
    assert (after["offset"] == 0).all()
    torch.testing.assert_close(after["teacher_logits"], scene.batch["teacher_logits"], atol=1e-5, rtol=0)


def test_noise_is_for_short_rows_and_leaves_special_tokens() -> None:
    scene = Scene()
    lengths = scene.batch["attention_mask"].sum(dim=1)
    short = int(lengths.sort().values[ROWS // 2])
    options = replace(ALL, inconsistent_noise=1.0, inconsistent_tokens=0.5, inconsistent_short=short)
    after = scene.prepared(Inconsistent(options)).batch(scene.batch, scene.step)
    changed = after["input_ids"] != scene.batch["input_ids"]
    assert changed[lengths <= short].any(dim=1).float().mean() > 0.8 and not changed[lengths > short].any()
    special = torch.tensor(scene.teacher.tokenizer.all_special_ids)
    assert not torch.isin(scene.batch["input_ids"][changed], special).any()
    assert not torch.isin(after["input_ids"][changed], special).any()
    assert not (changed & ~scene.batch["attention_mask"].bool()).any()
    never = scene.prepared(Inconsistent(replace(options, inconsistent_noise=0.0))).batch(scene.batch, scene.step)
    assert torch.equal(never["input_ids"], scene.batch["input_ids"])


def output_of(scene: Scene) -> StudentOutput:
    answer = scene.student(
        input_ids=scene.batch["input_ids"], attention_mask=scene.batch["attention_mask"], output_hidden_states=True
    )
    return StudentOutput(answer.logits, tuple(answer.hidden_states), scene.batch["attention_mask"])


def test_the_term_is_the_error_of_all_layers_on_changed_rows_alone_and_ends() -> None:
    scene = Scene()
    options = replace(ALL, inconsistent_share=0.25, inconsistent_weight=3.0)
    method = scene.prepared(Inconsistent(options))
    after = method.batch(scene.batch, scene.step)
    output = output_of(scene)
    found = method.loss(after, output, scene.step)
    assert method._held is not None and found is not None and output.states is not None
    rows, targets = method._held
    expected = torch.stack([
        token_error(project(output.states[layer][rows]), target, scene.batch["attention_mask"][rows])
        for project, (layer, _), target in zip(method.projectors, method.layers, targets, strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(found, 3.0 * expected.mean(dim=0).sum() / ROWS)
    found.backward()
    assert all(weight.grad is None for weight in scene.teacher.model.parameters())
    assert scene.student.bert.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0
    for number in (14, 19):  # of 20: after two thirds
        late = replace(scene.step, number=number, progress=number / 20)
        assert method.batch(scene.batch, late) is scene.batch and method.loss(scene.batch, output, late) is None


def test_states_are_compared_where_tokens_are_and_at_one_scale() -> None:
    states = 100 * torch.randn(2, 3, 8) + 7
    target = standardised(states)
    torch.testing.assert_close(target.mean(dim=-1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    assert not standardised(states.requires_grad_()).requires_grad
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    wrong = target.clone()
    wrong[1, 1:] += 5
    assert token_error(wrong, target, mask).tolist() == [0, 0], "padding has no part"
    torch.testing.assert_close(token_error(target + 2, target, mask), torch.tensor([4.0, 4.0]))
