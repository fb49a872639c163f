"""Teacher logits in bulk: right whatever the batch, cached by content, and never another run's."""

from __future__ import annotations

import copy
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prose, word_tokenizer
from datasets import Dataset

from zskd.errors import InputError
from zskd.models.loading import model_fingerprint
from zskd.models.tokenizers import tokenizer_fingerprint
from zskd.system.arrow import open_arrow, write_arrow
from zskd.system.checksums import checksum_file
from zskd.system.precision import HALVES
from zskd.system.progress import bar
from zskd.tasks.task import TASKS
from zskd.teacher import labelling
from zskd.teacher.blackbox import load_black_box
from zskd.teacher.classifier import Classifier
from zskd.teacher.labelling import LabelledTexts, label_states, label_texts, shard_key

SHARD = 32
TEXTS = list(dict.fromkeys(" ".join(line.split()[: 2 + i % 12]) for i, line in enumerate(prose(170, seed=3))))[:140]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "SHARD_ROWS", SHARD)


def label(texts: list[str], teacher: Classifier, cache: Path, **options: Any) -> LabelledTexts:
    options = {"max_length": 32, "precision": "fp32", "description": "test", **options}
    return label_texts(Dataset.from_dict({"text": texts}), teacher, cache, **options)


def logits(labelled: LabelledTexts) -> np.ndarray:
    return np.array(labelled.dataset["teacher_logits"][:], dtype=np.float32)


def other_weights(teacher: Classifier) -> Classifier:
    model = copy.deepcopy(teacher.model)
    with torch.no_grad():
        model.classifier.bias[0] += 0.5
    return replace(teacher, model=model, fingerprint=model_fingerprint(model))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads PyTorch uses, for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", *HALVES])
def test_logits_do_not_depend_on_the_number_of_threads(
    teacher: Classifier, threads: Callable[[int], None], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zskd.models.bulk.token_budget", lambda device: 24)
    found = []
    for count in (1, 2):
        threads(count)
        found.append(teacher.logits((TEXTS,), max_length=32, precision=precision))
    np.testing.assert_array_equal(*found)


def test_logits_are_those_of_the_model_asked_directly(teacher: Classifier, tmp_path: Path) -> None:
    found = label(TEXTS, teacher, tmp_path)
    with torch.inference_mode():
        direct = [teacher.model(**teacher.tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in TEXTS]
    np.testing.assert_allclose(logits(found), np.stack(direct), atol=1e-5)
    assert found.dataset["text"][:] == TEXTS
    assert found.dataset.column_names == ["text", "teacher_logits"]
    assert found.queries == found.live == len(TEXTS)


def test_two_texts_are_read_as_a_pair(teacher: Classifier, tmp_path: Path) -> None:
    pool = Dataset.from_dict({"text": TEXTS[:40], "text_b": TEXTS[40:80]})
    found = label_texts(pool, teacher, tmp_path, max_length=64, precision="fp32", description="test")
    with torch.inference_mode():
        direct = teacher.model(**teacher.tokenizer(TEXTS[7], TEXTS[47], return_tensors="pt")).logits[0]
    np.testing.assert_allclose(logits(found)[7], direct.numpy(), atol=1e-5)


def test_shards_keep_the_models_own_class_order_and_rows_have_the_tasks(teacher: Classifier, tmp_path: Path) -> None:
    turned = replace(teacher, order=teacher.order[::-1])
    straight = label(TEXTS, teacher, tmp_path)
    found = label(TEXTS, turned, tmp_path)
    assert found.live == 0  # the shards are the same
    np.testing.assert_array_equal(logits(found), logits(straight)[:, ::-1])
    np.testing.assert_allclose(logits(found), turned.logits((TEXTS,), max_length=32), atol=1e-5)
    assert found.dataset.features == straight.dataset.features
    assert len(straight.dataset.cache_files) and len(straight.dataset) == len(found.dataset)


def test_logits_on_disk_are_not_read_into_memory(teacher: Classifier, tmp_path: Path) -> None:
    found = label(TEXTS, teacher, tmp_path)
    shards = {Path(entry["filename"]).suffix for entry in found.dataset.cache_files}
    assert shards == {".arrow"} and len(found.dataset.cache_files) == len(list(tmp_path.rglob("*.arrow")))


def test_second_call_asks_nothing(teacher: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = label(TEXTS, teacher, tmp_path)
    monkeypatch.delattr(Classifier, "own_logits")
    second = label(TEXTS, teacher, tmp_path)
    assert (second.queries, second.live) == (len(TEXTS), 0)
    np.testing.assert_array_equal(logits(second), logits(first))


def test_a_part_filled_cache_never_changes_a_result(teacher: Classifier, tmp_path: Path) -> None:
    fresh = logits(label(TEXTS, teacher, tmp_path / "fresh"))
    cache = tmp_path / "shared"
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))
    for others in (TEXTS[5:], shuffled, TEXTS[: SHARD + 3], TEXTS[:SHARD] + shuffled, TEXTS[:SHARD] * 2):
        label(others, teacher, cache)
    label(TEXTS, other_weights(teacher), cache)
    found = label(TEXTS, teacher, cache)
    assert found.live == len(TEXTS) - SHARD  # the first shard is the only one that had the same texts in order
    np.testing.assert_array_equal(logits(found), fresh)


DAMAGE = {
    "empty": lambda content: b"",
    "cut in the schema": lambda content: content[:60],
    "cut in the rows": lambda content: content[:-200],
    "cut in half": lambda content: content[: len(content) // 2],
    "other bytes": lambda content: b"\xff" * len(content),
    "one bit of a logit": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_written_anew(damage: Any, teacher: Classifier, tmp_path: Path) -> None:
    good = logits(label(TEXTS, teacher, tmp_path))
    key = shard_key(teacher, (TEXTS[SHARD : 2 * SHARD],), 32, "fp32")
    (path,) = tmp_path.rglob(f"{key}.arrow")
    path.write_bytes(damage(path.read_bytes()))
    repaired = label(TEXTS, teacher, tmp_path)
    assert repaired.live == SHARD
    np.testing.assert_array_equal(logits(repaired), good)
    assert label(TEXTS, teacher, tmp_path).live == 0


@pytest.mark.parametrize("labelled", [label, lambda *args: label_with_states(*args)], ids=["logits", "states"])
def test_shards_without_checksums_are_not_asked_anew(labelled: Any, teacher: Classifier, tmp_path: Path) -> None:
    labelled(TEXTS, teacher, tmp_path)
    paths = list(tmp_path.rglob("*.arrow"))
    for path in paths:
        checksum_file(path).unlink()
    assert labelled(TEXTS, teacher, tmp_path).live == 0
    assert all(checksum_file(path).is_file() for path in paths)
    checksum_file(paths[0]).unlink()
    paths[0].write_bytes(paths[0].read_bytes()[:-200])
    assert labelled(TEXTS, teacher, tmp_path).live in (SHARD, len(TEXTS) % SHARD), "a broken one is"


def test_a_shard_of_another_length_is_written_anew(teacher: Classifier, tmp_path: Path) -> None:
    good = logits(label(TEXTS, teacher, tmp_path))
    paths = {
        start: next(tmp_path.rglob(f"{shard_key(teacher, (TEXTS[start : start + SHARD],), 32, 'fp32')}.arrow"))
        for start in (0, 128)
    }
    paths[0].write_bytes(paths[128].read_bytes())
    np.testing.assert_array_equal(logits(label(TEXTS, teacher, tmp_path)), good)


@contextmanager
def dying_in_the_third_shard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is labelled inside is interrupted when the teacher is asked for the third time."""
    answered, calls = Classifier.own_logits, []

    def dies(*args: Any, **kwargs: Any) -> np.ndarray:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answered(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Classifier, "own_logits", dies)
        yield


def test_a_run_that_dies_keeps_its_finished_shards(
    teacher: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying_in_the_third_shard(monkeypatch):
        label(TEXTS, teacher, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == [".arrow"] * 2 + [".sha256"] * 2
    assert label(TEXTS, teacher, tmp_path).live == len(TEXTS) - 2 * SHARD


def test_key_changes_with_everything_that_decides_the_logits(teacher: Classifier) -> None:
    texts = TEXTS[:4]
    tokenizer = word_tokenizer(TEXTS)
    retokenized = replace(teacher, tokenizer=tokenizer, tokenizer_fingerprint=tokenizer_fingerprint(tokenizer))
    keys = [
        shard_key(teacher, (texts,), 32, "fp32"),
        shard_key(other_weights(teacher), (texts,), 32, "fp32"),
        shard_key(retokenized, (texts,), 32, "fp32"),
        shard_key(teacher, (texts,), 33, "fp32"),
        shard_key(teacher, (texts,), 32, "bf16"),
        shard_key(teacher, (texts,), 32, "fp16"),
        shard_key(teacher.for_inference("bf16", compile=True), (texts,), 32, "bf16"),
        shard_key(teacher, (texts[::-1],), 32, "fp32"),
        shard_key(teacher, (texts[:3],), 32, "fp32"),
        shard_key(teacher, (texts[:2], texts[2:]), 32, "fp32"),
        shard_key(teacher, (["a b", "c"],), 32, "fp32"),
        shard_key(teacher, (["a", "b c"],), 32, "fp32"),
    ]
    assert len(set(keys)) == len(keys)
    assert shard_key(replace(teacher, name="elsewhere"), (texts,), 32, "fp32") == keys[0]


def test_options_that_change_the_logits_share_no_shard(teacher: Classifier, tmp_path: Path) -> None:
    for options in ({}, {"max_length": 8}, {"precision": "bf16"}, {"precision": "fp16"}):
        assert label(TEXTS, teacher, tmp_path, **options).live == len(TEXTS)
    assert label(TEXTS, other_weights(teacher), tmp_path).live == len(TEXTS)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.0125)])
def test_16_bits_stay_near_and_are_stored_as_float32(
    precision: str, tolerance: float, teacher: Classifier, tmp_path: Path
) -> None:
    full = label(TEXTS, teacher, tmp_path, precision="fp32")
    half = label(TEXTS, teacher.for_inference(precision), tmp_path, precision=precision)
    assert str(half.dataset.features["teacher_logits"].feature.dtype) == "float32"
    np.testing.assert_allclose(logits(half), logits(full), rtol=tolerance, atol=tolerance)
    assert (logits(half) != logits(full)).any()


def scaled(teacher: Classifier, factor: float) -> Classifier:
    """The same teacher, but for the size of its logits."""
    model = copy.deepcopy(teacher.model)
    with torch.no_grad():
        model.classifier.weight.mul_(factor)
    return replace(teacher, model=model, fingerprint=model_fingerprint(model))


def test_logits_beyond_float16_are_neither_kept_nor_used(teacher: Classifier, tmp_path: Path) -> None:
    loud = scaled(teacher, 60_000.0)
    assert np.abs(logits(label(TEXTS, loud, tmp_path / "sound"))).max() > torch.finfo(torch.float16).max
    label(TEXTS, loud, tmp_path / "sound", precision="bf16")
    message = r"--precision fp16: expected finite .* --precision bf16 or fp32"
    with pytest.raises(InputError, match=message):
        label(TEXTS, loud.for_inference("fp16"), tmp_path / "cache", precision="fp16")
    assert not list(tmp_path.glob("cache/**/*.arrow"))
    with pytest.raises(InputError, match=message):
        loud.logits((TEXTS,), max_length=32, precision="fp16")


def test_logits_that_are_no_numbers_are_not_kept(teacher: Classifier, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are its weights sound"):
        label(TEXTS, scaled(teacher, float("nan")), tmp_path)
    assert not list(tmp_path.glob("**/*.arrow"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_teacher_labels_alike_in_shards_of_its_own(teacher: Classifier, tmp_path: Path) -> None:
    plain = label(TEXTS, teacher, tmp_path, precision="bf16")
    made = teacher.for_inference("bf16", compile=True)
    compiled = label(TEXTS, made, tmp_path, precision="bf16")
    assert plain.live == compiled.live == len(TEXTS)
    np.testing.assert_allclose(logits(compiled), logits(plain), rtol=0, atol=0.05)
    assert label(TEXTS, teacher.for_inference("bf16", compile=True), tmp_path, precision="bf16").live == 0


@pytest.mark.parametrize("precision", HALVES)
def test_copies_for_inference_share_shards_that_the_stock_model_does_not(
    precision: str, teacher: Classifier, tmp_path: Path
) -> None:
    """On a CPU, fast layers round in another way."""
    stock = label(TEXTS, teacher, tmp_path, precision=precision)
    for live in (len(TEXTS), 0):
        made = label(TEXTS, teacher.for_inference(precision), tmp_path, precision=precision)
        assert made.live == live
    np.testing.assert_allclose(logits(made), logits(stock), rtol=0, atol=0.05)


class Together:
    """Two processes, as threads: what each tells the others, and what the main one does for both."""

    def __init__(self) -> None:
        self.barrier, self.own, self.said = threading.Barrier(2, timeout=60), threading.local(), [None, None]

    def gather(self, value: Any) -> list[Any]:
        self.said[self.own.state.process_index] = value
        self.barrier.wait()
        said = list(self.said)
        self.barrier.wait()
        return said

    def on_main(self, function: Callable[[], Any]) -> Any:
        return self.gather(function() if self.own.state.process_index == 0 else None)[0]

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        """What both return; where one fails the other does not wait."""

        def process(index: int) -> Any:
            self.own.state = SimpleNamespace(process_index=index, num_processes=2)
            try:
                return work(index)
            except BaseException:
                self.barrier.abort()
                raise

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(process, range(2)))


def test_missing_shards_are_dealt_out_evenly_whoever_left_them(
    teacher: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill, for example, all that is missing may be what one process had still to do."""
    more = [f"{text} again" for text in TEXTS[:SHARD]]
    texts = [*TEXTS, *more]  # five whole shards and a short one
    pool = [*texts[:3], *texts, *texts[::-2]]
    alone = label(pool, teacher, tmp_path)
    (row_file,) = (path for path in tmp_path.rglob("*.arrow") if len(open_arrow(path)) == len(pool))
    together = Together()
    monkeypatch.setattr(labelling, "PartialState", lambda: together.own.state)
    monkeypatch.setattr(labelling, "gather", together.gather)
    monkeypatch.setattr(labelling, "on_main", together.on_main)
    monkeypatch.setattr(labelling, "_nothing_old_collected", nullcontext)
    totals: list[float] = []
    monkeypatch.setattr(labelling, "bar", lambda name, total, unit: totals.append(total) or bar(name, total, unit))
    keys = [shard_key(teacher, (texts[i : i + SHARD],), 32, "fp32") for i in range(0, len(texts), SHARD)]
    for gone in ((1, 3), (0, 2, 4), range(6), ()):
        for number in gone:
            next(tmp_path.rglob(f"{keys[number]}.arrow")).unlink()
        row_file.unlink()
        totals.clear()
        found = together.run(lambda index: label(pool, teacher, tmp_path))
        sizes = [len(texts[i * SHARD : (i + 1) * SHARD]) for i in gone]
        assert sorted(totals) == sorted((sum(sizes[::2]), sum(sizes[1::2])))
        for each in found:
            assert (each.queries, each.live) == (len(texts), sum(sizes))
            np.testing.assert_array_equal(logits(each), logits(alone))


def repeating() -> list[str]:
    """The texts in their first order, with repetitions within a shard and beyond."""
    return [*TEXTS[:5], TEXTS[0], *TEXTS[3:90], *TEXTS[:40], *TEXTS]


def test_a_text_that_a_pool_holds_several_times_is_asked_for_once(teacher: Classifier, tmp_path: Path) -> None:
    alone = label(TEXTS, teacher, tmp_path / "alone")
    pool = repeating()
    expected = logits(alone)[[TEXTS.index(text) for text in pool]]
    for live in (len(TEXTS), 0):
        found = label(pool, teacher, tmp_path / "pool")
        assert (found.queries, found.live, found.repeated) == (len(TEXTS), live, len(pool) - len(TEXTS))
        assert found.dataset["text"][:] == pool and found.dataset.features == alone.dataset.features
        assert {Path(entry["filename"]).suffix for entry in found.dataset.cache_files} == {".arrow"}
        np.testing.assert_array_equal(logits(found), expected)
    assert label(pool, teacher, tmp_path / "alone").live == alone.repeated == 0, "the shards are those of the texts"
    turned = label(pool, replace(teacher, order=teacher.order[::-1]), tmp_path / "pool")
    np.testing.assert_array_equal(logits(turned), expected[:, ::-1])


def test_of_a_pair_both_texts_and_their_order_count(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def ask(rows: list[tuple[str, str]]) -> list[list[float]]:
        asked.extend(rows)
        return [[float(len(a)), float(len(b)) / 2] for a, b in rows]

    pairs = [("ab", ""), ("a", "b"), ("b", "a"), ("ab", ""), ("a", "b"), ("a b", "c"), ("a", "b c"), ("", "ab")]
    box = load_black_box(TASKS["rte"], ask)
    asked.clear()  # the fixed texts by which a callable is known
    pool = Dataset.from_dict({"text": [a for a, _ in pairs], "text_b": [b for _, b in pairs]})
    found = label_texts(pool, box, tmp_path, max_length=8, precision="its own", description="")
    assert sorted(asked) == sorted(set(pairs)) and (found.queries, found.live, found.repeated) == (6, 6, 2)
    np.testing.assert_array_equal(logits(found), box.logits(tuple(map(list, zip(*pairs, strict=True))), max_length=8))
    assert found.dataset["text_b"][:] == [b for _, b in pairs]


def test_a_kill_loses_no_finished_shard_of_a_pool_that_repeats_texts(
    teacher: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = label(repeating(), teacher, tmp_path / "whole")
    with dying_in_the_third_shard(monkeypatch):
        label(repeating(), teacher, tmp_path / "killed")
    again = label(repeating(), teacher, tmp_path / "killed")
    assert again.live == len(TEXTS) - 2 * SHARD
    np.testing.assert_array_equal(logits(again), logits(whole))
    for path in (tmp_path / "killed").rglob("*.arrow"):  # whatever is damaged then, shard or answers of all rows
        path.write_bytes(path.read_bytes()[:-200])
    np.testing.assert_array_equal(logits(label(repeating(), teacher, tmp_path / "killed")), logits(whole))


def test_long_texts_are_cut_to_max_length(teacher: Classifier, tmp_path: Path) -> None:
    text = " ".join(prose(1)) * 9
    widths: list[int] = []
    hook = teacher.model.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    with hook:
        cut = label([text, "short"], teacher, tmp_path, max_length=10)
    assert max(widths) == 10
    ids = teacher.tokenizer(text, truncation=True, max_length=10, return_tensors="pt")
    with torch.inference_mode():
        np.testing.assert_allclose(logits(cut)[0], teacher.model(**ids).logits[0].numpy(), atol=1e-5)


def test_max_length_beyond_the_teachers_positions_is_cut_or_refused(teacher: Classifier, tmp_path: Path) -> None:
    assert teacher.model.config.max_position_embeddings == 128
    try:
        found = logits(label([" ".join(prose(30))], teacher, tmp_path, max_length=512))
    except InputError:
        return
    np.testing.assert_array_equal(found, logits(label([" ".join(prose(30))], teacher, tmp_path, max_length=128)))


# Pooled states.


def states(labelled: LabelledTexts) -> np.ndarray:
    return np.array(labelled.dataset["teacher_states"][:], dtype=np.float16)


def label_with_states(texts: list[str], teacher: Classifier, cache: Path, **options: Any) -> LabelledTexts:
    options = {"max_length": 32, "precision": "fp32", "description": "test", **options}
    return label_states(Dataset.from_dict({"text": texts}), teacher, cache, **options)


def test_states_have_shards_of_their_own(teacher: Classifier, tmp_path: Path) -> None:
    label(TEXTS, teacher, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.arrow")}
    found = label_with_states(TEXTS, teacher, tmp_path)
    assert (found.queries, found.live) == (len(TEXTS), len(TEXTS))
    assert found.dataset.column_names == ["text", "teacher_states"] and found.dataset["text"][:] == TEXTS
    assert str(found.dataset.features["teacher_states"].feature.dtype) == "float16"
    own = set(tmp_path.rglob("*.arrow")) - set(before)
    assert len(own) == len(before) and not {path.name for path in own} & {path.name for path in before}
    assert {path: path.read_bytes() for path in before} == before
    for start in range(0, len(TEXTS), SHARD):
        part = TEXTS[start : start + SHARD]
        np.testing.assert_array_equal(states(found)[start : start + SHARD], teacher.states((part,), max_length=32))


def test_states_of_texts_that_a_pool_repeats_are_asked_for_once(teacher: Classifier, tmp_path: Path) -> None:
    pool = repeating()
    found = label_with_states(pool, teacher, tmp_path)
    assert (found.queries, found.live, found.repeated) == (len(TEXTS), len(TEXTS), len(pool) - len(TEXTS))
    assert str(found.dataset.features["teacher_states"].feature.dtype) == "float16" and found.dataset.cache_files
    expected = states(label_with_states(TEXTS, teacher, tmp_path))[[TEXTS.index(text) for text in pool]]
    np.testing.assert_array_equal(states(found), expected)


def test_keys_of_states_differ_from_those_of_logits_and_with_the_options(teacher: Classifier) -> None:
    texts = (TEXTS[:4],)
    keys = [
        shard_key(teacher, texts, 32, "fp32"),
        shard_key(teacher, texts, 32, "fp32", states=True),
        shard_key(teacher, texts, 33, "fp32", states=True),
        shard_key(teacher, texts, 32, "bf16", states=True),
        shard_key(other_weights(teacher), texts, 32, "fp32", states=True),
        shard_key(teacher, (TEXTS[1:5],), 32, "fp32", states=True),
    ]
    assert len(set(keys)) == len(keys)


def test_a_second_call_for_states_asks_nothing(
    teacher: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = label_with_states(TEXTS, teacher, tmp_path)
    monkeypatch.delattr(Classifier, "own_states")
    second = label_with_states(TEXTS, teacher, tmp_path)
    assert (second.queries, second.live) == (len(TEXTS), 0)
    np.testing.assert_array_equal(states(second), states(first))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_of_states_is_written_anew(damage: Any, teacher: Classifier, tmp_path: Path) -> None:
    good = states(label_with_states(TEXTS, teacher, tmp_path))
    key = shard_key(teacher, (TEXTS[SHARD : 2 * SHARD],), 32, "fp32", states=True)
    (path,) = tmp_path.rglob(f"{key}.arrow")
    path.write_bytes(damage(path.read_bytes()))
    repaired = label_with_states(TEXTS, teacher, tmp_path)
    assert repaired.live == SHARD
    np.testing.assert_array_equal(states(repaired), good)


def test_a_callable_has_no_states_to_keep(tmp_path: Path) -> None:
    box = load_black_box(TASKS["sst2"], lambda texts: [[0.0, 1.0]] * len(texts))
    with pytest.raises(InputError, match=r"^states: a callable teacher has no weights"):
        label_states(
            Dataset.from_dict({"text": TEXTS}), box, tmp_path, max_length=32, precision="its own", description=""
        )
    assert not list(tmp_path.iterdir())


# What is cut.


def test_cut_rows_are_counted_whether_asked_now_or_cached(teacher: Classifier, tmp_path: Path) -> None:
    expected = sum(len(ids) > 10 for ids in teacher.tokenizer(TEXTS)["input_ids"])
    assert 0 < expected < len(TEXTS)
    asked, cached = (label(TEXTS, teacher, tmp_path, max_length=10) for _ in range(2))
    assert (asked.live, cached.live) == (len(TEXTS), 0)
    assert asked.cut == cached.cut == expected
    assert label(TEXTS, teacher, tmp_path).cut == 0
    assert label(repeating(), teacher, tmp_path, max_length=10).cut == expected, "a repeated text counts once"


def test_shards_of_an_earlier_version_do_not_say_what_was_cut(teacher: Classifier, tmp_path: Path) -> None:
    before = label(TEXTS, teacher, tmp_path, max_length=10)
    path = next(tmp_path.rglob("*.arrow"))
    rows = open_arrow(path).data.table.replace_schema_metadata(None)
    write_arrow(path, rows.to_batches(), rows.schema)
    checksum_file(path).unlink()
    after = label(TEXTS, teacher, tmp_path, max_length=10)
    assert after.cut is None and after.live == 0
    np.testing.assert_array_equal(logits(before), logits(after))


def test_a_callable_cuts_as_it_likes(tmp_path: Path) -> None:
    box = load_black_box(TASKS["sst2"], lambda texts: np.eye(2)[[0] * len(texts)])
    assert label(TEXTS, box, tmp_path, max_length=10).cut is None  # type: ignore[arg-type]
