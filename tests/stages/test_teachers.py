"""The teacher's stages: it is met, it labels what students read, and the transfer set is what stays."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zskd.config.distillation import DistillConfig
from zskd.config.methods.class_balance import ClassBalanceOptions
from zskd.errors import InputError
from zskd.methods.class_balance import ClassBalance
from zskd.methods.table import make_methods
from zskd.stages import teachers
from zskd.stages.inputs import Setting, begin, read_corpus, shape
from zskd.stages.teachers import label, meet_teacher, pass_gate, select
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.task import find_task
from zskd.teacher.blackbox import load_black_box
from zskd.text.shaping import Pools
from zskd.transfer.logits import teacher_logits

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def shaped(tiny_config: DistillConfig) -> tuple[Setting, Pools]:
    setting = begin(with_task_defaults(tiny_config))
    return setting, shape(setting, read_corpus(setting))


def test_a_teacher_passes_the_gate_or_is_refused(shaped: tuple[Setting, Pools]) -> None:
    setting, _ = shaped
    teacher = meet_teacher(setting)
    gate = pass_gate(setting, teacher)
    assert gate is not None and gate["accuracy"] > gate["threshold"]
    with pytest.raises(InputError, match="--teacher"):
        pass_gate(setting, meet_teacher(setting, lambda texts: [[float("bad" in text), 0.5] for text in texts]))
    handed_over = meet_teacher(setting, teacher.model, teacher.tokenizer)
    assert pass_gate(setting, handed_over) == gate and handed_over.cache_key("fp32", 32) == teacher.cache_key(
        "fp32", 32
    )


def test_a_callable_is_identified_once_for_all_processes(
    shaped: tuple[Setting, Pools], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, _ = shaped
    asked: list[str] = []

    def ask(texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        return [[float(len(text)), 0.5 * len(asked)] for text in texts]  # never the same twice

    ask.fingerprint = "1"  # type: ignore[attr-defined]
    first = meet_teacher(setting, ask)
    monkeypatch.setattr(teachers, "PartialState", lambda: SimpleNamespace(is_main_process=False))
    assert meet_teacher(setting, ask).fingerprint == first.fingerprint and len(asked) == 8


def test_all_inputs_are_labelled_and_asked_for_once(shaped: tuple[Setting, Pools]) -> None:
    setting, pools = shaped
    teacher = meet_teacher(setting)
    label(setting, teacher, pools)
    found = label(setting, teacher, pools)
    assert list(found.parts) == ["transfer", "select", "report"]
    assert found.queries == sum(len(set(part["text"])) for part in (pools.transfer, pools.select, pools.report))
    inputs = len(pools.transfer) + len(pools.select) + len(pools.report)
    assert found.live == 0 and found.queries + found.repeated == inputs > found.queries
    texts = pools.report["text"][:8]
    expected = teacher.logits((texts,), max_length=setting.length, precision="fp32")
    np.testing.assert_allclose(teacher_logits(found.parts["report"].dataset)[:8], expected, atol=1e-5)


def test_labelled_rows_of_the_user_are_a_part_of_their_own(
    shaped: tuple[Setting, Pools], tmp_path_factory: pytest.TempPathFactory
) -> None:
    setting, pools = shaped
    path = tmp_path_factory.mktemp("gold") / "gold.tsv"
    path.write_text("sentence\tlabel\nfine\t1\ndull\t0\n", encoding="utf-8")
    setting = replace(setting, config=replace(setting.config, gold_labels=str(path)))
    found = label(setting, meet_teacher(setting), pools)
    assert found.parts["gold"].dataset["gold_label"][:] == [1, 0]
    assert len(found.parts["transfer"].dataset) == len(pools.transfer)


@pytest.mark.parametrize("task", ["sst2", "mnli"])
def test_runs_of_one_pool_seed_ask_the_teacher_once_and_repeat_other_rows(
    tiny_config: DistillConfig, task: str
) -> None:
    asked: list[object] = []

    def count(texts: list[Any]) -> list[list[float]]:
        asked.extend(texts)
        wide = find_task(task).num_labels - 1
        return [[1.0 if len(str(text)) % 4 else -1.0] + [0.0] * wide for text in texts]

    count.fingerprint = "1"  # type: ignore[attr-defined]
    teacher = load_black_box(find_task(task), count)

    def run(**seeds: int) -> tuple[int, set[object], list[int]]:
        setting = begin(with_task_defaults(replace(tiny_config, task=task, max_class_share=0.5, **seeds)))
        asked.clear()
        labelled = label(setting, teacher, shape(setting, read_corpus(setting)))
        chosen, _ = select(setting, labelled, make_methods(setting.config))
        return labelled.live, {*asked}, chosen.rows.tolist()

    first, *others = (run(seed=seed, pool_seed=0) for seed in (0, 1, 2))
    assert first[0] > 0 and first[1]
    assert [(live, texts) for live, texts, _ in others] == [(0, set())] * 2
    assert run(seed=0)[:2] == (0, set()), "which is the default for the first"
    repeated = [rows for *_, rows in (first, *others)]
    assert repeated[0] != repeated[1] != repeated[2] != repeated[0]
    assert len({*map(len, repeated)}) == 1 < len(repeated[0]) / len({*repeated[0]})
    live, texts, rows = run(seed=1)
    assert live > 0 and texts and rows != repeated[1]
    assert run(seed=0, pool_seed=1)[:2] == (0, set()), "and the inputs of seed 1 are those of its own pool"


def test_selection_drops_the_unsure_and_methods_see_what_stays(shaped: tuple[Setting, Pools]) -> None:
    setting, pools = shaped
    labelled = label(setting, meet_teacher(setting), pools)
    whole, families = select(setting, labelled, [])
    assert whole.distinct == len(pools.transfer) and families["rows"] == len(pools.transfer)
    logits = teacher_logits(labelled.parts["transfer"].dataset)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = 1 / odds.sum(axis=1)
    least = float(np.median(confidence))
    strict = replace(setting, config=replace(setting.config, min_confidence=least, max_class_share=0.5))
    seen = []

    class Spy(ClassBalance):
        def transfer_set(self, rows):
            seen.append(rows)
            return super().transfer_set(rows)

    chosen, _ = select(strict, labelled, [Spy(options=make_methods(strict.config)[0].options)])
    assert seen[0].rows.tolist() == np.flatnonzero(confidence >= least).tolist()
    assert chosen.distinct == seen[0].distinct and len(chosen.rows) >= len(seen[0].rows)


def test_the_log_has_the_classes_as_labelled_and_as_trained_on(
    shaped: tuple[Setting, Pools], caplog: pytest.LogCaptureFixture
) -> None:
    setting, pools = shaped
    labelled = label(setting, meet_teacher(setting), pools)
    with caplog.at_level("INFO", logger="zskd"):
        chosen, _ = select(setting, labelled, [ClassBalance(ClassBalanceOptions(max_class_share=0.5))])
    (line,) = [message for message in caplog.messages if message.startswith("selection")]
    found = chosen.report()["negative"]
    assert found["share_before"] > 0.6 and found["share"] == 0.5
    assert f"as labelled negative {100 * found['share_before']:.1f} %, positive" in line
    assert "as trained on negative 50.0 %, positive 50.0 %" in line
    assert f"selection: {chosen.distinct} of {len(pools.transfer)} inputs stay" in line
