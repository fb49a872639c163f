"""What is kept of a round: means of its steps, shares of classes, and sentences before and after."""

from __future__ import annotations

import pytest
import torch
from conftest import word_tokenizer

from zskd.methods.adversarial.rounds import EXAMPLES, Rounds
from zskd.methods.adversarial.writer import Rewritten

TEXTS = ["river town", "small town road", "long road", "night river", "sea road"]


@pytest.fixture
def rounds() -> Rounds:
    return Rounds(word_tokenizer(TEXTS))


def rewritten(rounds: Rounds) -> tuple[dict[str, torch.Tensor], Rewritten]:
    """Five rows, of which the first word of the first two became ``sea``; the teacher says 0, 0, 0, 0, 1 of three."""
    old = dict(rounds.tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False))
    sea = rounds.tokenizer.convert_tokens_to_ids("sea")
    new = {**old, "input_ids": old["input_ids"].clone()}
    rows, columns = torch.tensor([0, 1]), torch.tensor([1, 1])
    new["input_ids"][rows, columns] = sea
    logits = torch.tensor([[2.0, 0.0, -1.0]] * 4 + [[0.0, 3.0, -1.0]])
    terms = {"divergence": torch.tensor(0.5)}
    return old, Rewritten(new, logits, -logits, logits[:, 0], (rows, columns), None, terms, 5)


def test_a_round_is_the_mean_of_its_steps_and_begins_anew(rounds: Rounds) -> None:
    for value in (1.0, torch.tensor(2.0), 6.0):
        rounds.note("loss", value)
    rounds.note("gradient", 4.0)
    found = rounds.close()
    assert found["loss"] == 3.0 and found["gradient"] == 4.0
    assert rounds.so_far() == {}


def test_what_one_process_alone_has_seen_is_its_mean(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"loss_transfer": 3.0, "loss_replayed": 5.0}
    monkeypatch.setattr("zskd.methods.adversarial.rounds.gather", lambda report: [report, others])
    rounds.note("loss_transfer", 1.0)
    rounds.note("replay_age", 7.0)
    assert rounds.close() == {"changed": 0.0, "loss_transfer": 2.0, "replay_age": 7.0, "loss_replayed": 5.0}


def test_changes_and_classes_are_shares(rounds: Rounds) -> None:
    old, written = rewritten(rounds)
    rounds.note_rewritten(written, old)
    found = rounds.close()
    assert found["divergence"] == 0.5
    assert found["changed"] == pytest.approx(2 / int(old["attention_mask"].sum()))
    assert found["distinct_1"] == 0.5, "one word in two places"
    assert 0 < found["distinct_2"] <= 1
    assert [found[f"class_{i}"] for i in range(3)] == [0.8, 0.2, 0.0]


def test_a_class_that_a_step_lacks_counts_as_none_there(rounds: Rounds) -> None:
    old, written = rewritten(rounds)
    rounds.note_rewritten(written, old)
    rounds.note_rewritten(Rewritten(**{**vars(written), "teacher_logits": torch.eye(3)[[2] * 5]}), old)
    found = rounds.close()
    assert [found[f"class_{i}"] for i in range(3)] == pytest.approx([0.4, 0.1, 0.5])


def test_examples_are_readable_and_few(rounds: Rounds) -> None:
    old, written = rewritten(rounds)
    rounds.show(7, old, written)
    assert len(rounds.examples) == EXAMPLES
    first = rounds.examples[0]
    assert first["step"] == 7 and "river town" in first["before"] and "sea town" in first["after"]
    assert "[PAD]" not in first["before"]
    for who in ("teacher", "student"):
        assert sum(first[who]) == pytest.approx(1.0, abs=1e-3)
    assert first["teacher"][0] > first["student"][0]


def test_a_round_that_is_going_on_comes_back_from_a_checkpoint(rounds: Rounds) -> None:
    old, written = rewritten(rounds)
    rounds.note_rewritten(written, old)
    rounds.show(1, old, written)
    other = Rounds(rounds.tokenizer)
    other.load(rounds.so_far(), rounds.examples)
    for each in (rounds, other):
        each.note("loss", 2.0)
    assert other.examples == rounds.examples and other.close() == rounds.close()
