"""Built students: stock, within the budget, in the task's words, and initialised from the teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import prose, tiny_bert, word_tokenizer
from faulty_lengths import SHORT, TOO_SHORT, adapter_of_few_positions
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2ForSequenceClassification,
    PreTrainedModel,
)

from zskd.errors import InputError
from zskd.models.labels import LENGTH_FIELD
from zskd.models.loading import count_parameters, model_fingerprint
from zskd.models.tokenizers import tokenizer_fingerprint
from zskd.student.built import build_student, label_config
from zskd.student.initial import initial_student, load_student
from zskd.student.shape import POSITIONS, student_config
from zskd.student.word_features import word_features
from zskd.tasks.task import TASKS, Task
from zskd.teacher.classifier import Classifier, classifier_from

SST2, MNLI = TASKS["sst2"], TASKS["mnli"]


def classifier(task: Task, hidden: int = 32, layers: int = 2) -> Classifier:
    """A random teacher for a task."""
    tokenizer = word_tokenizer(prose(200))
    model = tiny_bert(len(tokenizer), task.labels, hidden)
    if layers > 2:
        model = BertForSequenceClassification(BertConfig(**{**model.config.to_dict(), "num_hidden_layers": layers}))
    return Classifier(
        "random", model.eval(), tokenizer, tuple(range(task.num_labels)), count_parameters(model),
        model_fingerprint(model), tokenizer_fingerprint(tokenizer),
    )  # fmt: skip


@pytest.mark.parametrize("task", [SST2, MNLI], ids=["sst2", "mnli"])
@pytest.mark.parametrize(
    "vocabulary, budget",
    [
        (30_522, 757_000), (30_522, 11_000_000), (30_522, 300_000), (50_265, 3_650_000), (250_002, 9_300_000),
        (1_000, 150_000), (100, 50_000),
    ],
)  # fmt: skip
def test_students_stay_within_the_budget_and_use_it(vocabulary: int, budget: int, task: Task) -> None:
    config = student_config(
        vocabulary, budget, two=task.is_pair, labels=label_config(task), special={"pad_token_id": 0}
    )
    with torch.device("meta"):
        parameters = count_parameters(AutoModelForSequenceClassification.from_config(config))
    assert parameters <= budget
    if config.embedding_size < config.hidden_size - 1:  # else the table is as wide as it may be
        assert parameters > budget - 2 * (vocabulary + POSITIONS + config.hidden_size)
    assert config.max_position_embeddings == 512 and config.vocab_size == vocabulary
    assert config.id2label == dict(enumerate(task.labels))
    assert config.label2id == {name: i for i, name in enumerate(task.labels)}
    assert config.hidden_size % config.num_attention_heads == 0


@pytest.mark.parametrize("vocabulary, budget", [(30_522, 1_000), (30_522, 100_000), (1_000, 5_000), (250_002, 757_000)])
def test_too_small_a_budget_is_refused(vocabulary: int, budget: int) -> None:
    with pytest.raises(InputError, match="--compression") as caught:
        student_config(vocabulary, budget, two=False, labels=label_config(SST2))
    assert f"{budget:,}" in str(caught.value) and f"{vocabulary:,}" in str(caught.value)


@pytest.mark.parametrize("compression", [1.5, 2.0, 3.0])
def test_built_student_is_stock_and_small_enough(compression: float, teacher: Classifier, tmp_path: Path) -> None:
    student, tokenizer, _ = build_student(SST2, teacher, compression, "fp32", tmp_path)
    assert type(student) is DebertaV2ForSequenceClassification
    assert count_parameters(student) <= teacher.parameters / compression
    assert student.config.id2label == {0: "negative", 1: "positive"}
    assert student.config.max_position_embeddings == POSITIONS
    assert student.config.pad_token_id == tokenizer.pad_token_id
    assert student.dtype == torch.float32 and not student.training


@pytest.mark.parametrize("limit, expected", [(None, 128), (10**30, 512), (4_000, 512)])
def test_model_max_length_is_set(limit: int | None, expected: int, tmp_path: Path) -> None:
    teacher = classifier(SST2, hidden=64)
    teacher.tokenizer.model_max_length = limit or teacher.tokenizer.model_max_length
    _, tokenizer, _ = build_student(SST2, teacher, 2.0, "fp32", tmp_path)
    assert tokenizer.model_max_length == expected
    assert len(tokenizer("the " * 3_000, truncation=True)["input_ids"]) == expected


def test_saved_student_loads_with_auto_classes(teacher: Classifier, tmp_path: Path) -> None:
    student, tokenizer, _ = build_student(SST2, teacher, 2.0, "fp32", tmp_path / "cache")
    student.save_pretrained(tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "student")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    inputs = AutoTokenizer.from_pretrained(tmp_path / "student")("a fine film", return_tensors="pt")
    assert inputs["input_ids"].tolist() == [tokenizer("a fine film")["input_ids"]]
    with torch.inference_mode():
        torch.testing.assert_close(loaded(**inputs).logits, student(**inputs).logits)
    again, _, revision = load_student(SST2, str(tmp_path / "student"), None)
    assert model_fingerprint(again) == model_fingerprint(student) and revision is None
    assert classifier_from(SST2, again, tokenizer, name="student", frozen=False).order == (0, 1)


def test_building_depends_on_the_global_seed_alone(teacher: Classifier, tmp_path: Path) -> None:
    def build(seed: int, cache: str) -> PreTrainedModel:
        torch.manual_seed(seed)
        return build_student(SST2, teacher, 2.0, "fp32", tmp_path / cache)[0]

    first, cached, fresh, other = build(0, "a"), build(0, "a"), build(0, "b"), build(1, "a")
    assert model_fingerprint(first) == model_fingerprint(cached) == model_fingerprint(fresh) != model_fingerprint(other)
    words = [model.get_input_embeddings().weight for model in (first, other)]
    assert torch.equal(*words)  # the teacher decides these


def test_word_embeddings_come_from_the_teacher_once(teacher: Classifier, tmp_path: Path) -> None:
    student, tokenizer, asked = build_student(SST2, teacher, 2.0, "fp32", tmp_path)
    table = student.get_input_embeddings().weight
    torch.testing.assert_close(table.detach(), word_features(teacher, table.shape[1]))
    assert asked == len(tokenizer) and build_student(SST2, teacher, 2.0, "fp32", tmp_path)[2] == 0
    assert torch.isfinite(table).all()


def test_a_student_wider_than_its_teacher_is_built_or_refused(tmp_path: Path) -> None:
    teacher = classifier(SST2, hidden=16, layers=24)
    try:
        student, _, _ = build_student(SST2, teacher, 1.5, "fp32", tmp_path)
    except InputError:
        return
    assert count_parameters(student) <= teacher.parameters / 1.5
    assert torch.isfinite(student.get_input_embeddings().weight).all()


def test_a_student_of_two_texts_starts_by_comparing_them(tmp_path: Path) -> None:
    teacher = classifier(MNLI, hidden=64)
    student, tokenizer, _ = build_student(MNLI, teacher, 2.0, "fp32", tmp_path)
    first = student.electra.encoder.layer[0].attention.self
    assert torch.equal(first.query.weight, first.key.weight)
    segments = student.electra.embeddings.token_type_embeddings.weight
    assert torch.equal(segments[0], -segments[1]) and segments.abs().sum() > 0
    student.set_attn_implementation("eager")
    words = ["river", "castle", "museum", "famous", "wooden", "railway"]
    pair = tokenizer(" ".join(words), " ".join(reversed(words)), return_tensors="pt")
    with torch.inference_mode():
        looks = student(**pair, output_attentions=True).attentions[0][0].mean(dim=0)
    ids = pair["input_ids"][0]
    inner = [i for i, token in enumerate(ids.tolist()) if token not in tokenizer.all_special_ids]
    assert len(inner) == 2 * len(words)
    found = 0
    for i in inner:
        (twin,) = (j for j in inner if j != i and ids[j] == ids[i])
        found += bool(looks[i, twin] > max(looks[i, j] for j in inner if j not in (i, twin)))
    assert found >= 10, "a token looks for its counterpart in the other text"


def test_a_student_of_one_text_sees_the_order_of_words_and_no_padding(teacher: Classifier, tmp_path: Path) -> None:
    student, tokenizer, _ = build_student(SST2, teacher, 2.0, "fp32", tmp_path)
    words = ["river", "castle", "museum", "famous", "wooden", "railway"]
    texts = [" ".join(words), " ".join(reversed(words))]
    with torch.inference_mode():
        forth, back = student(**tokenizer(texts, return_tensors="pt")).logits
        padded = student(**tokenizer(texts, padding="max_length", max_length=40, return_tensors="pt")).logits
    assert (forth - back).abs().max() > 1e-4
    torch.testing.assert_close(padded, torch.stack([forth, back]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", TOO_SHORT, ids=lambda build: build.__name__)
def test_a_student_that_cannot_read_the_inputs_is_refused(build, teacher: Classifier, tmp_path: Path) -> None:
    if build is adapter_of_few_positions:
        return  # no student
    build(tmp_path)
    options = {"compression": 2.0, "precision": "fp32", "seed": 0, "cache": tmp_path / "cache"}
    with pytest.raises(InputError, match=f"--max-length 17: expected at most the {SHORT} .*--student {tmp_path}"):
        initial_student(SST2, str(tmp_path), None, teacher, **options, max_length=17)
    student = initial_student(SST2, str(tmp_path), None, teacher, **options, max_length=SHORT)
    assert getattr(student.model.config, LENGTH_FIELD) == SHORT == student.tokenizer.model_max_length


def test_a_built_student_records_what_it_is_trained_on(teacher: Classifier, tmp_path: Path) -> None:
    options = {"compression": 2.0, "precision": "fp32", "seed": 0, "cache": tmp_path}
    student = initial_student(SST2, "build", None, teacher, **options, max_length=24)
    assert getattr(student.model.config, LENGTH_FIELD) == 24 and student.tokenizer.model_max_length == 128
    unknown = initial_student(SST2, "build", None, teacher, **options)
    assert not hasattr(unknown.model.config, LENGTH_FIELD)
