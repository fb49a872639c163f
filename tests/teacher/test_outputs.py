"""What a callable teacher may answer with, and what it is taken for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import prose

from zskd.errors import InputError
from zskd.metrics.scores import softmax
from zskd.tasks.task import TASKS, Task
from zskd.teacher.blackbox import load_black_box
from zskd.teacher.outputs import EPSILON, SMALLEST, to_logits

SST2 = TASKS["sst2"]
THREE = Task(name="three", text_columns=("text",), label_column="label", labels=("low", "middle", "high"))
NAMES = ("low", "middle", "high")
ROWS = ["a", "b", "c", "d"]


def convert(answer: Any, outputs: str) -> np.ndarray:
    return to_logits(answer, ROWS, NAMES, outputs, shown="--teacher mine")


LABELS: dict[str, Any] = {
    "a list": [2, 0, 1, 2],
    "an array": np.array([2, 0, 1, 2]),
    "small integers": np.array([2, 0, 1, 2], dtype=np.uint8),
    "whole numbers": [2.0, 0.0, 1.0, 2.0],
    "a tensor": torch.tensor([2, 0, 1, 2]),
    "names": ["high", "low", "middle", "high"],
    "names in another spelling": ["HIGH", " low", "Middle", "high"],
    "an array of names": np.array(["high", "low", "middle", "high"]),
    "an array of objects": np.array(["high", "low", "middle", "high"], dtype=object),
}


@pytest.mark.parametrize("answer", LABELS.values(), ids=LABELS)
def test_a_label_becomes_log_probabilities(answer: Any) -> None:
    found = convert(answer, "labels")
    assert found.dtype == np.float32 and found.shape == (4, 3)
    assert found.argmax(axis=1).tolist() == [2, 0, 1, 2]
    p = softmax(found)
    np.testing.assert_allclose(p.max(axis=1), 1 - EPSILON, rtol=1e-5)
    np.testing.assert_allclose(np.sort(p, axis=1)[:, :2], EPSILON / 2, rtol=1e-4)
    assert EPSILON == 1e-3


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ([2, 0, 1], ("4 inputs", "(3,)")),
        (np.zeros((4, 3)), ("(4, 3)", "--teacher-outputs logits")),
        ([2, 0, 1, 3], ("0 to 2", "found 3", "'d'")),
        ([2, 0, -1, 1], ("found -1", "'c'")),
        ([2.0, 0.5, 1.0, 1.0], ("found 0.5", "'b'")),
        ([2.0, float("nan"), 1.0, 1.0], ("found nan", "'b'")),
        (["low", "high", "higher", "low"], ("low, middle, high", "found 'higher'", "'c'")),
        ([True, False, True, True], ("class number", "found True")),
        ([None, 1, 1, 1], ("found None",)),
        ([[0], [1, 2], [0], [0]], ("class number",)),
    ],
)
def test_what_is_no_label(answer: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="--teacher mine: expected a class number or a label name") as caught:
        convert(answer, "labels")
    for part in parts:
        assert part in str(caught.value)


def test_probabilities_become_their_logarithms() -> None:
    p = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.9995, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    for answer in (p, p.tolist(), torch.tensor(p), p.astype(np.float32)):
        found = convert(answer, "probabilities")
        np.testing.assert_allclose(found, np.log(np.maximum(p, SMALLEST)), rtol=1e-5, atol=1e-7)
        assert found.dtype == np.float32
    np.testing.assert_allclose(softmax(found), p / p.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize(
    "row", [[0.2, 0.3, 0.6], [0.2, 0.3, 0.498], [1.2, -0.2, 0.0], [2.0, -1.0, 3.0], [1.0005, 0.0, 0.0]]
)
def test_what_are_no_probabilities(row: list[float]) -> None:
    with pytest.raises(InputError, match=r"sum to 1.* for 'c'.*--teacher-outputs logits"):
        convert([[0.2, 0.3, 0.5], [1, 0, 0], row, [1, 0, 0]], "probabilities")


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_labels_where_numbers_per_class_are_expected(outputs: str) -> None:
    for answer in ([0, 1, 2, 0], ["low", "high", "low", "low"], [["low"], ["high"], ["low"], ["low"]]):
        with pytest.raises(InputError, match=f"expected {outputs} .*--teacher-outputs labels"):
            convert(answer, outputs)


def test_labels_are_the_callables_own() -> None:
    def ask(texts: list[str]) -> list[str]:
        return ["middle" if len(text) % 2 else "high" for text in texts]

    def numbers(texts: list[str]) -> list[int]:
        return [2 if len(text) % 2 else 0 for text in texts]

    numbers.labels = ("high", "low", "middle")  # type: ignore[attr-defined]
    texts = (prose(20),)
    by_name = load_black_box(THREE, ask, outputs="labels").logits(texts, max_length=8)
    by_number = load_black_box(THREE, numbers, outputs="labels").logits(texts, max_length=8)
    np.testing.assert_array_equal(by_name, by_number)
    assert by_name.argmax(axis=1).tolist() == [1 if len(text) % 2 else 2 for text in texts[0]]


def test_a_label_that_goes_wrong_later_names_the_teacher() -> None:
    box = load_black_box(SST2, lambda texts: [5 if "castle" in text else 1 for text in texts], outputs="labels")
    assert box.logits((["a bridge"],), max_length=8).argmax() == 1
    with pytest.raises(InputError, match=r"--teacher .*found 5 for 'a castle'"):
        box.logits((["a bridge", "a castle"],), max_length=8)


def test_what_is_answered_with_is_part_of_the_fingerprint() -> None:
    def ask(texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0]] * len(texts)

    ask.fingerprint = "one"  # type: ignore[attr-defined]
    found = [load_black_box(SST2, ask, outputs=outputs).fingerprint for outputs in ("logits", "probabilities")]
    assert found[0] != found[1]
    assert load_black_box(SST2, ask).fingerprint == found[0]
