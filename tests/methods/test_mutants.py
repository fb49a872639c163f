"""For every method, a copy with one fault fails one of its proof tests: these tests can fail."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_anchors
import test_backward_pass
import test_class_balance
import test_feature_prior
import test_inconsistent
import test_messages
import test_roles
import test_selection
import test_uncertainty_mixup
import torch
from decided import decided_teacher

from zskd.config.methods.table import METHODS
from zskd.methods import anchors, backward_pass, class_balance, inconsistent, selection, uncertainty_mixup
from zskd.methods.adversarial import gradient
from zskd.methods.feature_prior import FeaturePrior
from zskd.methods.live_rows import LiveRows
from zskd.methods.messages import Messages
from zskd.methods.roles import Roles


def downhill(found: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *args: -found(*args)


def adversarys() -> Any:
    """The proof tests of the adversary, in a folder of their own."""
    found = importlib.util.spec_from_file_location("adversarys", Path(__file__).parent / "adversarial/test_gradient.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def silent(self: Messages, step: Any, batch: Any, embeds: Any = None, **more: Any) -> Any:
    """The teacher hears a message that has no gradient."""
    if "states" in more:
        more["states"] = more["states"].detach()
    return ASK(self, step, batch, embeds, **more)


ASK = LiveRows.ask
# Method -> what is broken, and the test that finds it.
MUTANTS: dict[str, tuple[Any, str, Any, Callable[[], None]]] = {
    "class-balance": (
        class_balance, "_repeated", lambda rows, *_: rows,
        lambda: test_class_balance.test_class_share_holds_and_repeats_no_more_than_it_must((900, 100), 0.6),
    ),
    "selection": (
        selection, "surest", lambda joint, classes, keep: np.arange(round(keep * len(joint))),
        test_selection.test_both_models_choose_and_not_in_the_first_epoch,
    ),
    "roles": (
        Roles, "view", lambda self, batch, role, step: VIEW(self, batch, "teacher", step),
        test_roles.test_equal_schedules_give_one_view_and_others_are_never_mixed,
    ),
    "adversarial": (
        gradient, "kl_divergence", lambda *args: -KL(*args),
        lambda: adversarys().test_one_small_generator_step_raises_the_divergence_and_one_student_step_lowers_it(
            decided_teacher(), pairs=False, candidates=64
        ),
    ),
    "uncertainty-mixup": (
        uncertainty_mixup, "uncertainty", lambda *args: -UNCERTAINTY(*args),
        test_uncertainty_mixup.test_the_rows_that_the_student_is_least_sure_of_are_asked_for_and_no_other,
    ),
    "anchors": (
        anchors, "climb", downhill(anchors.climb),
        test_anchors.test_an_anchor_lowers_the_energy_of_every_row_and_keeps_its_class,
    ),
    "backward-pass": (
        backward_pass, "climb", downhill(backward_pass.climb),
        lambda: test_backward_pass.test_a_small_movement_raises_the_difference_of_every_moved_row(1),
    ),
    "inconsistent": (
        inconsistent, "climb_in_box", downhill(inconsistent.climb_in_box),
        test_inconsistent.test_the_teacher_is_less_sure_of_its_class_within_the_box,
    ),
    "feature-prior": (
        FeaturePrior, "drawn", lambda self, tokens, step: ~DRAWN(self, tokens, step),
        test_feature_prior.test_where_all_of_the_teacher_enters_the_student_learns_nothing,
    ),
    "messages": (
        Messages, "ask", silent,
        test_messages.test_gradients_reach_the_students_encoder_through_the_teacher_and_stop_at_its_weights,
    ),
}  # fmt: skip
KL, UNCERTAINTY, DRAWN = gradient.kl_divergence, uncertainty_mixup.uncertainty, FeaturePrior.drawn
VIEW = Roles.view


def test_every_method_has_one() -> None:
    assert list(MUTANTS) == list(METHODS)


@pytest.mark.parametrize(("name", "broken"), itertools.product(METHODS, (False, True)))
def test_a_fault_is_found_and_nothing_else(name: str, broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    where, part, fault, test = MUTANTS[name]
    if not broken:
        test()
        return
    monkeypatch.setattr(where, part, fault)
    with pytest.raises((AssertionError, TypeError, AttributeError)) as caught:
        test()
    assert name == "messages" or caught.type is AssertionError, "a missing gradient is no number"
