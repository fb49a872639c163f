"""What a student knows of each word before it is trained: the teacher's reaction to the word alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_initial import classifier
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from zskd.errors import InputError
from zskd.student.word_features import cached_word_features, principal_components, token_reactions, word_features
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import Classifier

SST2, MNLI = TASKS["sst2"], TASKS["mnli"]


def test_another_teacher_or_width_shares_no_word_features(teacher: Classifier, tmp_path: Path) -> None:
    first, _ = cached_word_features(teacher, 8, "fp32", tmp_path)
    assert cached_word_features(teacher, 9, "fp32", tmp_path)[1] > 0
    assert cached_word_features(classifier(SST2), 8, "fp32", tmp_path)[1] > 0
    again, asked = cached_word_features(teacher, 8, "fp32", tmp_path)
    assert asked == 0 and torch.equal(again, first)
    for damage in (
        lambda content: content[:-9],
        lambda content: content[:-4] + bytes([content[-4] ^ 1]) + content[-3:],
    ):
        for path in tmp_path.rglob("*.safetensors"):
            path.write_bytes(damage(path.read_bytes()))
        repaired, asked = cached_word_features(teacher, 8, "fp32", tmp_path)
        assert asked > 0 and torch.equal(repaired, first)
    for path in tmp_path.rglob("*.sha256"):
        path.unlink()
    assert cached_word_features(teacher, 8, "fp32", tmp_path)[1] == 0, "an earlier version wrote no checksums"
    for path in tmp_path.rglob("*.sha256"):
        path.unlink()
        path.with_suffix("").write_bytes(b"junk")
    assert torch.equal(cached_word_features(teacher, 8, "fp32", tmp_path)[0], first)


def test_reactions_are_those_of_each_token_alone() -> None:
    teacher = classifier(MNLI)
    states, logits = token_reactions(teacher)
    assert states.shape == (len(teacher.tokenizer), 32) and logits.shape == (len(teacher.tokenizer), 3)
    for word in ("river", "castle"):
        token = teacher.tokenizer.convert_tokens_to_ids(word)
        with torch.inference_mode():
            output = teacher.model(**teacher.tokenizer(word, return_tensors="pt"), output_hidden_states=True)
        torch.testing.assert_close(logits[token], output.logits[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(states[token], output.hidden_states[-1][0, 1], atol=1e-5, rtol=0)


def test_a_vocabulary_without_latin_letters_has_reactions() -> None:
    """Such a tokenizer has no token for "a", by which the special tokens around a text are found."""
    plain, words = classifier(MNLI), ["河", "水", "Ω"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate([*special, *words])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    teacher = Classifier(**{**vars(plain), "tokenizer": fast})
    _, logits = token_reactions(teacher)
    with torch.inference_mode():
        output = plain.model(torch.tensor([[2, 6, 3]]))
    torch.testing.assert_close(logits[6], output.logits[0], atol=1e-5, rtol=0)


def test_reactions_in_float16_are_near_or_refused(tmp_path: Path) -> None:
    teacher = classifier(MNLI)
    full, half = token_reactions(teacher), token_reactions(teacher, "fp16")
    for expected, found in zip(full, half, strict=True):
        torch.testing.assert_close(found, expected, atol=0.01, rtol=0.01)
    assert not torch.equal(half[1], full[1])
    with torch.no_grad():
        teacher.model.classifier.weight.mul_(1e7)
    with pytest.raises(InputError, match=r"--precision fp16: expected finite .* bf16 or fp32"):
        cached_word_features(teacher, 8, "fp16", tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_leading_dimensions_are_the_response() -> None:
    teacher = classifier(MNLI)
    features = word_features(teacher, 10)
    assert features.shape == (len(teacher.tokenizer), 10) and features.dtype == torch.float32
    response = principal_components(token_reactions(teacher)[1], 2)
    for i in range(2):
        assert torch.corrcoef(torch.stack([features[:, i], response[:, i]]))[0, 1] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("shape, count", [((400, 12), 5), ((30, 12), 12), ((8, 12), 4)])
def test_principal_components_are_uncorrelated_and_ordered(shape: tuple[int, int], count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(shape, generator=generator) @ torch.diag(torch.linspace(3, 0.3, 12)) + 5.0
    found = principal_components(rows, count).double()
    assert found.shape == (shape[0], count)
    torch.testing.assert_close(found.mean(0), torch.zeros(count, dtype=torch.float64), atol=1e-5, rtol=0)
    products = found.T @ found
    variances = products.diagonal()
    torch.testing.assert_close(products, torch.diag(variances), atol=1e-4 * float(variances[0]), rtol=0)
    assert (variances.diff() <= 1e-6 * variances[0]).all()
    centred = (rows - rows.mean(0)).double()
    expected = torch.linalg.svdvals(centred)[:count] ** 2
    torch.testing.assert_close(variances, expected, rtol=1e-4, atol=1e-6)
    # The sign of a direction is fixed: its largest weight is positive.
    directions = centred.T @ found / variances
    assert (directions.gather(0, directions.abs().argmax(0)[None]) > 0).all()
