"""Messages: what equal models say to each other, where gradients go, and what an exchange costs."""

from __future__ import annotations

import copy

import pytest
import torch
from scene import ROWS, Scene
from test_inconsistent import output_of

from zskd.config.methods.messages import MessagesOptions
from zskd.errors import InputError
from zskd.methods.context import Run
from zskd.methods.messages import Messages, relative_error

OPTIONS = MessagesOptions(
    messages_share=1.0, messages_rounds=1, messages_width=12, messages_reply_weight=1.0, messages_agreement_weight=1.0,
    messages_state_weight=1.0,
)  # fmt: skip


def equal_models() -> Scene:
    """The student is the teacher, in the teacher's order of classes."""
    scene = Scene()
    scene.student = copy.deepcopy(scene.teacher.model)
    for part in scene.student.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return scene


def test_equal_models_with_messages_that_lose_nothing_have_no_error() -> None:
    scene = equal_models()
    width = scene.student.config.hidden_size
    method = scene.prepared(Messages(MessagesOptions(messages_share=1.0, messages_rounds=1, messages_width=width)))
    assert isinstance(method, Messages)
    with torch.no_grad():
        for linear in method.maps.values():
            linear.weight.copy_(torch.eye(width))
            linear.bias.zero_()
    method.batch(scene.batch, scene.step)
    assert method._held is not None
    _, part, last = method._held
    states = list(output_of(scene).states or ())
    for own, others in method.layers:
        assert method.reply(states, last, part, scene.step, own, others).abs().max() < 1e-6
    mask = part["attention_mask"]
    assert method.agreement(states[-1], last, mask).abs().max() < 1e-6
    assert method.lost(states[-1], last, mask).abs().max() < 1e-6
    with torch.no_grad():
        method.maps["teacher_decoder"].bias.add_(1.0)
    assert method.reply(states, last, part, scene.step, *method.layers[0]).min() > 1e-4


def test_gradients_reach_the_students_encoder_through_the_teacher_and_stop_at_its_weights() -> None:
    scene = Scene()
    method = scene.prepared(Messages(OPTIONS))
    assert isinstance(method, Messages)
    method.batch(scene.batch, scene.step)
    assert method._held is not None
    _, part, last = method._held
    states = list(output_of(scene).states or ())
    method.reply(states, last, part, scene.step, *method.layers[0]).sum().backward()
    for name in ("student_encoder", "teacher_decoder"):
        assert method.maps[name].weight.grad.abs().sum() > 0, name
    assert all(weight.grad is None for weight in scene.teacher.model.parameters())
    assert method.layers == [(1, 1)], "a layer of the student speaks, and the layers above answer"
    assert scene.student.bert.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0, "the student learns to speak"


def test_an_exchange_costs_a_forward_pass_of_each_row_and_changes_no_input() -> None:
    scene = Scene()
    method = scene.prepared(Messages(OPTIONS))
    assert method.batch(scene.batch, scene.step) is scene.batch
    found = method.loss(scene.batch, output_of(scene), scene.step)
    assert found is not None and found.dim() == 0
    found.backward()
    method.end_step(scene.step)
    assert method.queries == scene.live.queries == 2 * ROWS and scene.live.backwards == ROWS


def test_the_weights_are_those_of_the_terms() -> None:
    names = ("messages_reply_weight", "messages_agreement_weight", "messages_state_weight")

    def term(**weights: float) -> float:
        scene = Scene()
        options = MessagesOptions(messages_share=1.0, messages_width=12, **dict.fromkeys(names, 0.0) | weights)
        method = scene.prepared(Messages(options))
        method.batch(scene.batch, scene.step)
        loss = method.loss(scene.batch, output_of(scene), scene.step)
        assert loss is not None
        return float(loss)

    alone = [term(**{name: 1.0}) for name in names]
    assert min(alone) > 0
    assert term(**dict(zip(names, (0.5, 2.0, 3.0), strict=True))) == pytest.approx(
        0.5 * alone[0] + 2 * alone[1] + 3 * alone[2], rel=1e-4
    )


def test_messages_that_say_nothing_lose_every_state() -> None:
    scene = Scene()
    method = scene.prepared(Messages(OPTIONS))
    assert isinstance(method, Messages)
    with torch.no_grad():
        for linear in method.maps.values():
            linear.weight.zero_()
    states, mask = torch.randn(ROWS, 5, 16), torch.ones(ROWS, 5)
    last = torch.randn(ROWS, 5, scene.teacher.model.config.hidden_size)
    with torch.no_grad():
        method.maps["teacher_encoder"].bias.copy_(method.maps["student_encoder"].bias)
    assert method.agreement(states, last, mask).abs().max() == 0, "they agree"
    assert method.lost(states, last, mask).min() > 1.5, "of 2, the variance of both models' states"


def test_more_exchanges_than_layers_are_refused() -> None:
    scene = Scene()
    with pytest.raises(InputError, match="--messages-rounds 2: expected fewer than the student's 2 layers"):
        Messages(MessagesOptions(messages_rounds=2)).prepare(
            Run(seed=0, student=scene.student, tokenizer=scene.teacher.tokenizer, teacher=scene.teacher)
        )


def test_an_error_is_relative_to_the_targets_own_variance() -> None:
    target, mask = torch.randn(3, 4, 50), torch.ones(3, 4)
    wrong = target + 0.5 * target.std(dim=2, unbiased=False, keepdim=True)
    for scale in (1.0, 40.0):
        found = relative_error(scale * wrong, scale * target, mask)
        torch.testing.assert_close(found, torch.full((3,), 0.25), rtol=1e-4, atol=1e-5)
