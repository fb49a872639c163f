"""Precision: decided by what a device can do, and answers that it could not hold are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zskd.errors import InputError
from zskd.system.precision import HALVES, autocast, check_finite, gradient_precision, pick_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch):
    """Sets whether processor and GPU have bfloat16."""

    def native(answer: bool) -> None:
        def on_gpu(including_emulation: bool = True) -> bool:
            return answer or including_emulation

        monkeypatch.setattr(torch.cuda, "is_bf16_supported", on_gpu)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda: answer, raising=False)

    return native


def test_auto_is_bfloat16_where_it_is_native_else_what_the_device_gains_from(native) -> None:
    native(True)
    assert [pick_precision("auto", device) for device in (CPU, GPU)] == ["bf16", "bf16"]
    native(False)
    assert [pick_precision("auto", device) for device in (CPU, GPU)] == ["fp32", "fp16"]
    for asked in ("fp32", "bf16", "fp16"):
        assert [pick_precision(asked, device) for device in (CPU, GPU)] == [asked, asked]


@pytest.mark.parametrize("outer", ["fp32", *HALVES])
@pytest.mark.parametrize("precision", ["fp32", "its own", *HALVES])
def test_what_is_said_last_counts(precision: str, outer: str) -> None:
    ones = torch.ones(2, 2)
    with autocast("cpu", outer), autocast("cpu", precision):
        assert (ones @ ones).dtype == HALVES.get(precision, torch.float32)


def test_no_gradient_goes_through_float16() -> None:
    assert {name: gradient_precision(name) for name in ("fp32", "bf16", "fp16", "its own")} == {
        "fp32": "fp32",
        "bf16": "bf16",
        "fp16": "fp32",
        "its own": "fp32",
    }


def test_answers_that_are_no_numbers_are_refused_with_what_to_do() -> None:
    answers = np.zeros((5, 2), dtype=np.float32)
    for precision in ("fp32", *HALVES):
        check_finite(answers, "teacher", precision)
        check_finite(answers[:0], "teacher", precision)
    answers[1] = [np.inf, -np.inf]
    answers[3, 0] = np.nan
    with pytest.raises(InputError, match=r"^--precision fp16: .* of teacher, found .* for 2 of 5 .* bf16 or fp32"):
        check_finite(answers, "teacher", "fp16")
    with pytest.raises(InputError, match=r"^--precision fp32: .* are its weights sound\?"):
        check_finite(answers, "teacher", "fp32")
