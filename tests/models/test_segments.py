"""Students of tokenizers without segments get them, with the same ids, and keep them wherever they are opened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers
from families import FAMILIES, columns, write_folder
from transformers import AutoModelForSequenceClassification, AutoTokenizer, ElectraForSequenceClassification, pipeline

from zskd.models.lengths import save_tokenizer
from zskd.models.loading import Origin, load_weights
from zskd.models.segments import with_segments
from zskd.models.tokenizers import SEGMENTS, load_tokenizer
from zskd.student.built import build_student
from zskd.tasks.task import TASKS
from zskd.teacher.classifier import classifier_from

LACK = {"roberta", "distilbert", "mpnet", "modernbert", "xlm-roberta"}
NEVER = {"gpt2"}  # there is no template that could name the second text


@pytest.mark.parametrize("family", FAMILIES)
def test_two_texts_are_told_apart_by_all_that_have_a_template(family: str, tmp_path: Path) -> None:
    own = load_tokenizer(Origin(str(write_folder(tmp_path / "teacher", family))), flag="--teacher")
    given = with_segments(own)
    if family in NEVER or family not in LACK:
        assert given is own
        return
    save_tokenizer(given, transformers.ElectraConfig(), tmp_path / "student")
    transformers.ElectraConfig().save_pretrained(tmp_path / "student")
    for tokenizer in (given, AutoTokenizer.from_pretrained(tmp_path / "student")):
        for texts in (columns(1), columns(2)):
            found, wanted = tokenizer(*texts), own(*texts)
            assert found["input_ids"] == wanted["input_ids"]
            assert found["attention_mask"] == wanted["attention_mask"]
        segments = tokenizer(*columns(2))[SEGMENTS]
        first, second = (own(texts, add_special_tokens=False)["input_ids"] for texts in columns(2))
        for row, one, other in zip(segments, first, second, strict=True):
            assert sorted(row) == row  # 0 ... 0 1 ... 1
            assert len(row) == len(one) + len(other) + own.num_special_tokens_to_add(pair=True)
            assert len(one) < row.index(1) < len(row) - len(other)
        assert not any(map(any, tokenizer(*columns(1))[SEGMENTS]))
        assert (tokenizer.special_tokens_map, tokenizer.padding_side) == (own.special_tokens_map, own.padding_side)
    assert with_segments(given) is given
    # transformers 4 knows the general class by this name alone.
    saved = json.loads((tmp_path / "student" / "tokenizer_config.json").read_text())
    assert saved["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.parametrize("family", ["mpnet", "roberta"])
def test_a_student_of_two_texts_reads_the_segments_also_in_a_plain_pipeline(family: str, tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "teacher", family))
    model, tokenizer = load_weights(Origin(folder), flag="--teacher"), load_tokenizer(Origin(folder), flag="--teacher")
    task = TASKS["rte"]
    named = {"no": task.labels[0], "yes": task.labels[1]}
    teacher = classifier_from(task, model, tokenizer, name="teacher", label_map=named)
    student, own, _ = build_student(task, teacher, 1.5, "fp32", tmp_path / "cache")
    assert isinstance(student, ElectraForSequenceClassification) and student.config.type_vocab_size == 2
    student.save_pretrained(tmp_path / "student")
    save_tokenizer(own, student.config, tmp_path / "student")
    classify = pipeline("text-classification", model=str(tmp_path / "student"), top_k=None)
    pair = {"text": "a quiet harbour", "text_pair": "the royal valley"}
    answers = {answer["label"]: answer["score"] for answer in classify(pair)}
    read = AutoTokenizer.from_pretrained(tmp_path / "student")(pair["text"], pair["text_pair"], return_tensors="pt")
    assert read[SEGMENTS].max() == 1
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    expected = again(**read).logits.softmax(dim=-1)[0]
    without = again(**{**read, SEGMENTS: read[SEGMENTS] * 0}).logits.softmax(dim=-1)[0]
    for number, label in enumerate(task.labels):
        assert answers[label] == pytest.approx(float(expected[number]), abs=1e-5)
        assert answers[label] != pytest.approx(float(without[number]), abs=1e-6)


def test_a_student_of_one_text_has_the_tokenizer_of_its_teacher(tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "teacher", "mpnet"))
    model, tokenizer = load_weights(Origin(folder), flag="--teacher"), load_tokenizer(Origin(folder), flag="--teacher")
    task = TASKS["sst2"]
    teacher = classifier_from(task, model, tokenizer, name="t", label_map={"no": "negative", "yes": "positive"})
    _, own, _ = build_student(task, teacher, 1.5, "fp32", tmp_path / "cache")
    assert own is tokenizer
