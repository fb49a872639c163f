"""What methods with a live teacher need, and what they leave of a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_bert, word_tokenizer
from contract import trainer
from decided import LABELS, decided_teacher
from labelled_rows import prose
from scene import Scene
from transformers import AutoConfig, AutoModelForSequenceClassification

from zskd.config.methods.anchors import AnchorsOptions
from zskd.config.methods.backward_pass import BackwardPassOptions
from zskd.config.methods.inconsistent import InconsistentOptions
from zskd.config.methods.messages import MessagesOptions
from zskd.config.methods.shares import rows_of
from zskd.config.methods.uncertainty_mixup import UncertaintyMixupOptions
from zskd.errors import InputError
from zskd.methods.anchors import Anchors
from zskd.methods.backward_pass import BackwardPass
from zskd.methods.context import Run
from zskd.methods.inconsistent import Inconsistent
from zskd.methods.live_rows import embedded, with_offset
from zskd.methods.messages import Messages
from zskd.methods.step import Step
from zskd.methods.uncertainty_mixup import UncertaintyMixup
from zskd.models.segments import with_segments
from zskd.student.built import student_tokenizer
from zskd.teacher.classifier import Classifier
from zskd.teacher.live import LiveTeacher


def test_another_vocabulary_is_refused() -> None:
    scene = Scene()
    tokenizer = word_tokenizer(["some other words"])
    student = tiny_bert(len(tokenizer), LABELS, hidden=16)
    with pytest.raises(InputError, match="--method backward-pass: expected the teacher and the student to share one"):
        BackwardPass().prepare(Run(seed=0, student=student, tokenizer=tokenizer, teacher=scene.teacher))
    with pytest.raises(ValueError, match="expected a teacher with weights"):
        BackwardPass().prepare(Run(seed=0, student=scene.student, tokenizer=scene.teacher.tokenizer))
    with pytest.raises(ValueError, match="expected a tokenizer"):
        BackwardPass().prepare(Run(seed=0, student=scene.student, teacher=scene.teacher))


def test_two_methods_move_rows_of_their_own() -> None:
    scene = Scene()
    methods = [scene.prepared(BackwardPass(BackwardPassOptions(backward_share=0.25))) for _ in range(2)]
    one = methods[0].batch(scene.batch, scene.step)
    both = methods[1].batch(one, replace(scene.step, taken=4))
    first, second = (torch.from_numpy(replace(scene.step, taken=t).rows(0.25)) for t in (0, 4))
    assert not torch.isin(first, second).any()
    assert torch.equal(both["offset"][first], one["offset"][first]) and (one["offset"][second] == 0).all()
    assert (both["offset"][second].abs().sum(dim=(1, 2)) > 0).all()
    assert torch.equal(both["teacher_logits"][first], one["teacher_logits"][first])


def test_a_mixed_row_is_moved_from_where_it_is() -> None:
    scene = Scene()
    rows, table = torch.tensor([2, 5]), scene.live.embeddings
    plain = embedded(scene.batch, rows, table)
    torch.testing.assert_close(plain, table(scene.batch["input_ids"][rows]))
    partner = torch.arange(16).flip(0)
    mixed = {**scene.batch, "partner": partner, "share": torch.full((16,), 0.25)}
    expected = 0.25 * plain + 0.75 * table(scene.batch["input_ids"][partner[rows]])
    torch.testing.assert_close(embedded(mixed, rows, table), expected)


def test_an_offset_is_added_to_one_that_is_there() -> None:
    scene = Scene()
    rows = torch.tensor([1, 3])
    offset = torch.ones(2, scene.batch["input_ids"].shape[1], 4)
    once = with_offset(scene.batch, rows, offset, torch.zeros(2, 3))
    twice = with_offset(once, rows[:1], offset[:1], torch.ones(1, 3))
    assert twice["offset"][1].unique().tolist() == [2] and twice["offset"][3].unique().tolist() == [1]
    assert twice["teacher_logits"][1].tolist() == [1, 1, 1] and twice["teacher_logits"][3].tolist() == [0, 0, 0]
    assert "offset" not in scene.batch and scene.batch["teacher_logits"][3].abs().sum() > 0, "the batch is left"


def test_a_count_goes_on_where_a_checkpoint_was() -> None:
    scene = Scene()
    method = scene.prepared(BackwardPass(BackwardPassOptions(backward_share=0.5)))
    method.batch(scene.batch, scene.step)
    method.end_step(scene.step)
    other = BackwardPass()
    other.load_state(method.state())
    assert other.queries == method.queries == 16 and other.map is not None and method.map is not None
    assert torch.equal(other.map.matrix, method.map.matrix)


@pytest.mark.parametrize("rows", [6, 12, 16, 28, 60, 64])
def test_three_methods_move_rows_of_their_own_however_shares_are_rounded(rows: int) -> None:
    step, taken, seen = Step(3, 10, 0, np.arange(rows), size=rows), 0, []
    for _ in range(3):
        found = replace(step, taken=taken).rows(0.125).tolist()
        taken += rows_of(0.125, rows)
        seen += found
        assert len(found) == rows_of(0.125, rows)
    assert len(set(seen)) == len(seen)


def test_more_rows_than_a_batch_has_are_refused(tmp_path: Path) -> None:
    methods = [BackwardPass(BackwardPassOptions(backward_share=0.75)), Anchors(AnchorsOptions(anchors_share=0.5))]
    with pytest.raises(ValueError, match="at most the 16 rows of a batch together, found backward-pass 12, anchors 8"):
        trainer(tmp_path, methods, decided_teacher())


def test_rows_with_known_labels_are_not_changed() -> None:
    scene = Scene()
    scene.batch["gold_label"] = torch.zeros(16, dtype=torch.long)
    for method in (BackwardPass(), Anchors(), Inconsistent(), UncertaintyMixup()):
        with pytest.raises(
            ValueError, match=f"{method.name}: rows are changed, so they cannot have the column gold_label"
        ):
            scene.prepared(method).batch(scene.batch, scene.step)


def test_no_noise_falls_on_a_row_that_is_mixed_into_another() -> None:
    scene = Scene()
    mixed = scene.prepared(UncertaintyMixup(UncertaintyMixupOptions(mixup_share=0.75))).batch(scene.batch, scene.step)
    options = InconsistentOptions(
        inconsistent_share=1.0, inconsistent_noise=1.0, inconsistent_tokens=1.0, inconsistent_short=1_000
    )
    after = scene.prepared(Inconsistent(options)).batch(mixed, scene.step)
    changed = set((after["input_ids"] != mixed["input_ids"]).any(dim=1).nonzero()[:, 0].tolist())
    partners = set(mixed["partner"][mixed["share"] < 1].tolist())
    assert partners and changed == set(range(16)) - partners


def test_states_are_asked_for_as_the_student_reads_the_row() -> None:
    scene = Scene()
    mixed = scene.prepared(UncertaintyMixup(UncertaintyMixupOptions(mixup_share=0.75))).batch(scene.batch, scene.step)
    method = scene.prepared(Messages(MessagesOptions(messages_share=1.0)))
    assert isinstance(method, Messages)
    for batch in (scene.batch, mixed):
        found = method.last_states(batch, scene.step)
        assert found is not None
        weight, bias = scene.teacher.model.classifier.weight, scene.teacher.model.classifier.bias
        logits = scene.teacher.model.bert.pooler(found[1]) @ weight.T + bias
        expected = batch["teacher_logits"][found[0]]
        torch.testing.assert_close(logits[:, list(scene.teacher.order)], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("segments", [True, False])
def test_live_and_cached_answers_to_two_texts_are_the_same(family: str, segments: bool) -> None:
    """A built student of a teacher without segments has them; the teacher is asked without."""
    texts = prose(40)
    pairs = texts[:20], texts[20:]
    tokenizer = word_tokenizer(texts)
    if segments and family == "bert":
        tokenizer = with_segments(tokenizer)
    names = {0: "a", 1: "b", 2: "c"}
    shape = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, **shape, vocab_size=len(tokenizer), id2label=names, label2id={v: k for k, v in names.items()},
        type_vocab_size=2 if family == "bert" else 1, pad_token_id=tokenizer.pad_token_id, max_position_embeddings=200,
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)
    teacher = Classifier("teacher", model, tokenizer, (0, 1, 2), 1, "t", "t")
    cached = torch.from_numpy(teacher.logits(pairs, max_length=120))
    rows = student_tokenizer(tokenizer, two=True)(*pairs, padding=True, return_tensors="pt")
    live = LiveTeacher(teacher)
    segment_ids = rows.get("token_type_ids")
    for given in ({"ids": rows["input_ids"]}, {"embeds": live.embeddings(rows["input_ids"])}):
        found = live.forward(**given, mask=rows["attention_mask"], segments=segment_ids).logits
        torch.testing.assert_close(found, cached, atol=1e-4, rtol=1e-4)
