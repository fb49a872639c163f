"""Callable teachers: what they are shown, what they may answer, and when their cached logits count."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prose
from datasets import Dataset

from zskd.errors import InputError
from zskd.tasks.task import TASKS, Task
from zskd.teacher import asking
from zskd.teacher.blackbox import import_callable, load_black_box
from zskd.teacher.labelling import label_texts, shard_key
from zskd.transfer.logits import teacher_logits

SST2, RTE = TASKS["sst2"], TASKS["rte"]
THREE = Task(name="three", text_columns=("text",), label_column="label", labels=("low", "middle", "high"))


pytestmark = pytest.mark.usefixtures("own_cache")


def lengths(texts: list[str]) -> list[list[float]]:
    """Logits that follow from a text alone."""
    return [[float(len(text)), float(text.count("e"))] for text in texts]


def shares(rows: list[tuple[str, str]]) -> list[list[float]]:
    """Logits of pairs."""
    return [[float(len(first)), -float(len(second))] for first, second in rows]


def with_labels(*labels: str, ask: Callable = lengths) -> Callable:
    """A callable that names its columns."""

    def named(texts: list[Any]) -> Any:
        return ask(texts)

    named.labels = labels  # type: ignore[attr-defined]
    return named


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda x: np.array(x, dtype=np.float64)])
def test_logits_are_those_of_the_callable_however_they_are_wrapped(kind: Callable) -> None:
    texts = prose(700)
    box = load_black_box(SST2, lambda rows: kind(lengths(rows)))
    found = box.logits((texts,), max_length=8)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(lengths(texts), dtype=np.float32))


def test_no_texts_have_no_logits() -> None:
    assert load_black_box(SST2, lengths).logits(([],), max_length=8).shape == (0, 2)


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path: Path, ordinary_user: None) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o555)
    box = load_black_box(SST2, lengths, cache)
    assert box.logits((["a", "fine film"],), max_length=8).tolist() == lengths(["a", "fine film"])
    assert not list(cache.iterdir())


def test_a_tensor_with_a_gradient_is_taken() -> None:
    box = load_black_box(SST2, lambda rows: torch.tensor(lengths(rows), requires_grad=True))
    assert box.logits((["abc"],), max_length=8).tolist() == [[3.0, 0.0]]


def test_texts_come_in_bounded_batches_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BATCH", 7)
    batches: list[list[str]] = []

    def ask(texts: list[str]) -> list[list[float]]:
        assert type(texts) is list
        batches.append(list(texts))
        answer = lengths(texts)
        texts.clear()  # what it does with its list is its own affair
        return answer

    texts = prose(30)
    box = load_black_box(SST2, ask)
    batches.clear()
    assert box.logits((texts,), max_length=8).tolist() == lengths(texts)
    assert [text for batch in batches for text in batch] == texts
    assert max(map(len, batches)) == 7


def test_pairs_are_tuples() -> None:
    first, second = prose(9), prose(9, 1)
    box = load_black_box(RTE, shares)
    assert box.logits((first, second), max_length=8).tolist() == shares(list(zip(first, second, strict=True)))


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    texts = prose(20)
    plain = load_black_box(SST2, lengths)
    turned = load_black_box(SST2, with_labels("positive", "negative", ask=lambda t: [row[::-1] for row in lengths(t)]))
    assert (plain.order, turned.order) == ((0, 1), (1, 0))
    found = [
        teacher_logits(
            label_texts(
                Dataset.from_dict({"text": texts}), box, tmp_path, max_length=8, precision="its own", description=""
            ).dataset
        )
        for box in (plain, turned)
    ]
    np.testing.assert_array_equal(*found)


def test_label_map_renames_the_columns() -> None:
    ask = with_labels("LABEL_0", "LABEL_1")
    assert load_black_box(SST2, ask, label_map="LABEL_0=positive,LABEL_1=negative").order == (1, 0)
    assert load_black_box(SST2, with_labels("POSITIVE", "Negative")).order == (1, 0)


@pytest.mark.parametrize(
    ("labels", "label_map", "parts"),
    [
        (("good", "bad"), None, ("negative, positive", "found good, bad", "--label-map good=negative")),
        (("negative", "neutral", "positive"), None, ("expected 2 labels", "found 3")),
        (("a", "b"), "a=positive,b=positive", ("--label-map", "once on each side")),
        (("a", "b"), "a=positive", ("found a, b",)),
        (("a", "b"), "c=positive,b=negative", ("--label-map", "no label c")),
        (("negative", "negative"), None, ("found negative, negative",)),
    ],
)
def test_labels_that_are_not_the_tasks(labels: tuple[str, ...], label_map: str | None, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        load_black_box(SST2, with_labels(*labels), label_map=label_map)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


WRONG: dict[str, tuple[Callable[[list[str]], Any], str]] = {
    "a column too many": (lambda t: np.zeros((len(t), 3)), "(8, 2) for 8 inputs, found (8, 3)"),
    "classes, not logits": (lambda t: np.zeros(len(t)), "found (8,)"),
    "a row too few": (lambda t: np.zeros((len(t) - 1, 2)), "found (7, 2)"),
    "one row": (lambda t: np.zeros((1, 2)), "found (1, 2)"),
    "transposed": (lambda t: np.zeros((2, len(t))), "found (2, 8)"),
    "rows of other lengths": (lambda t: [[1.0], *([[1.0, 2.0]] * (len(t) - 1))], "as numbers"),
    "NaN": (lambda t: np.full((len(t), 2), np.nan), "NaN"),
    "infinity": (lambda t: np.full((len(t), 2), -np.inf), "infinity"),
    "names": (lambda t: [["positive", "negative"]] * len(t), "as numbers"),
    "nothing": (lambda t: None, "found ()"),
    "dictionaries": (lambda t: [{"positive": 0.9}] * len(t), "as numbers"),
}


@pytest.mark.parametrize(("ask", "part"), WRONG.values(), ids=WRONG)
def test_an_answer_that_is_none_is_found_when_loading(ask: Callable, part: str) -> None:
    with pytest.raises(InputError, match=r"--teacher .*expected") as caught:
        load_black_box(SST2, ask)
    assert part in str(caught.value)


def test_an_answer_that_goes_wrong_later_names_where() -> None:
    box = load_black_box(SST2, lambda t: [[0.0, float("nan") if "castle" in text else 1.0] for text in t])
    assert box.logits((["a bridge"],), max_length=8).tolist() == [[0.0, 1.0]]
    with pytest.raises(InputError, match="NaN"):
        box.logits((["a bridge", "a castle"],), max_length=8)


def test_parameters_are_known_where_the_callable_tells_them() -> None:
    assert load_black_box(SST2, lengths).parameters is None
    ask = with_labels("negative", "positive")
    ask.parameters = 12_345  # type: ignore[attr-defined]
    assert load_black_box(SST2, ask).parameters == 12_345


def test_an_object_with_call_is_a_teacher() -> None:
    class Service:
        labels = ("positive", "negative")

        def __call__(self, texts: list[str]) -> list[list[float]]:
            return lengths(texts)

    box = load_black_box(SST2, Service())
    assert box.order == (1, 0) and "Service" in box.name
    assert box.logits((["abc"],), max_length=8).tolist() == [[0.0, 3.0]]


# The cache.


def labelled(box: Any, cache: Path) -> Any:
    pool = Dataset.from_dict({"text": prose(40)})
    return label_texts(pool, box, cache, max_length=8, precision="its own", description="")


def test_a_second_run_asks_only_the_fixed_texts(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        return lengths(texts)

    ask.fingerprint = "these weights"  # type: ignore[attr-defined]
    first = labelled(load_black_box(SST2, ask), tmp_path)
    assert (first.queries, first.live) == (40, 40)
    asked.clear()
    second = labelled(load_black_box(SST2, ask), tmp_path)
    assert (second.queries, second.live) == (40, 0)
    assert len(asked) < 10 and not set(asked) & set(prose(40))
    assert second.dataset["teacher_logits"][:] == first.dataset["teacher_logits"][:]


def test_objects_that_do_not_say_what_they_are_share_no_logits(tmp_path: Path) -> None:
    def hard(limit: int) -> Callable[[list[str]], list[list[float]]]:
        return lambda texts: [[1.0, 0.0] if len(text) < limit else [0.0, 1.0] for text in texts]

    boxes = [load_black_box(SST2, hard(limit)) for limit in (1_000, 1_001)]
    assert boxes[0].fingerprint != boxes[1].fingerprint


def test_a_service_that_changed_is_asked_again(tmp_path: Path) -> None:
    scale = 1.0

    def ask(texts: list[str]) -> np.ndarray:
        return scale * np.array(lengths(texts))

    before = load_black_box(SST2, ask)
    labelled(before, tmp_path)
    scale = 2.0
    after = load_black_box(SST2, ask)
    assert after.fingerprint != before.fingerprint
    found = labelled(after, tmp_path)
    assert found.live == 40
    assert found.dataset["teacher_logits"][0] == (2 * np.array(lengths(prose(1)))).tolist()[0]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write a module into the working folder: ``module(source)`` gives ``module:function`` for its ``ask``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    made: list[str] = []

    def module(source: str, name: str | None = None) -> str:
        made.append(name or f"zskd_test_teacher_{len(made)}")
        sys.modules.pop(made[-1], None)
        (tmp_path / f"{made[-1]}.py").write_text(source, encoding="utf-8")
        return f"{made[-1]}:ask"

    yield module
    for name in made:
        sys.modules.pop(name, None)


SOURCE = "def ask(texts):\n    return [[float(len(t)), 1.0] for t in texts]\n"


def test_a_name_stands_for_the_function_in_the_working_folder(module: Callable[..., str]) -> None:
    name = module(SOURCE)
    box = load_black_box(SST2, name)
    assert box.name == name
    assert box.logits((["abc"],), max_length=8).tolist() == [[3.0, 1.0]]


def test_an_attribute_of_an_attribute_is_found(module: Callable[..., str]) -> None:
    name = module("class Service:\n    @staticmethod\n    def ask(texts):\n        return [[1.0, 2.0]] * len(texts)\n")
    assert import_callable(name.replace(":ask", ":Service.ask"), flag="--teacher")(["a"]) == [[1.0, 2.0]]


def test_fingerprint_changes_with_name_labels_source_and_answers(module: Callable[..., str]) -> None:
    names = [
        module(SOURCE),
        module(SOURCE),
        module(SOURCE + "ask.labels = ('negative', 'positive')\n"),
        module(SOURCE + "ask.labels = ('positive', 'negative')\n"),
        module(SOURCE.replace("1.0", "2.0")),
    ]
    found = [load_black_box(SST2, name).fingerprint for name in names]
    # The same module with a line that changes no answer on the fixed texts.
    name = module(SOURCE + "# other\n", names[0].partition(":")[0])
    found.append(load_black_box(SST2, name).fingerprint)
    assert len(set(found[:1] + found[2:])) == 5 and found[1] != found[0]
    assert load_black_box(SST2, name).fingerprint == found[-1]


def test_shards_of_two_teachers_are_never_shared() -> None:
    texts = (prose(3),)
    keys = {
        shard_key(box, texts, 8, "its own")
        for box in (load_black_box(SST2, lengths), load_black_box(SST2, lambda t: np.ones((len(t), 2))))
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("no_such_module_here:ask", "no_such_module_here"),
        ("json:no_such_function", "no_such_function"),
        ("json:decoder.no_such", "no_such"),
        ("json:__name__", "called, found a str"),
        ("zskd_test_broken:ask", "gone"),
    ],
)
def test_a_name_behind_which_nothing_is(name: str, part: str, module: Callable[..., str]) -> None:
    module("import gone\n", "zskd_test_broken")
    with pytest.raises(InputError, match=f"--teacher {name}") as caught:
        load_black_box(SST2, name)
    assert part in str(caught.value)


def test_three_columns_in_another_order() -> None:
    ask = with_labels("high", "low", "middle", ask=lambda t: [[1.0, 2.0, 3.0]] * len(t))
    box = load_black_box(THREE, ask)
    assert box.logits((["a"],), max_length=8).tolist() == [[2.0, 3.0, 1.0]]
