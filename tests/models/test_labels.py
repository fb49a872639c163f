"""Labels are aligned by name: in any order, in any spelling, with a map, or not at all."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from transformers import BertConfig

from zskd.errors import InputError
from zskd.models.labels import (
    LENGTH_FIELD,
    align_labels,
    check_saved_head,
    check_single_label,
    head_names,
    head_order,
    label_names,
    make_single_label,
    parse_label_map,
    read_model_config,
    recorded_length,
)
from zskd.tasks.task import TASKS

SST2, MNLI, RTE = TASKS["sst2"], TASKS["mnli"], TASKS["rte"]
FLAG = "--teacher somewhere"


@pytest.mark.parametrize("names", list(itertools.permutations(MNLI.labels)))
def test_every_order_is_aligned_by_name(names: tuple[str, ...]) -> None:
    order = align_labels(MNLI, list(names), None, flag=FLAG)
    assert [names[i] for i in order] == list(MNLI.labels)


@pytest.mark.parametrize("names", [["NEGATIVE", "POSITIVE"], ["Negative", " positive "], ["negative", "Positive\n"]])
def test_case_and_outer_space_do_not_matter(names: list[str]) -> None:
    assert align_labels(SST2, names, None, flag=FLAG) == [0, 1]
    assert align_labels(SST2, names[::-1], None, flag=FLAG) == [1, 0]


@pytest.mark.parametrize("other", ["not entailment", "Not-Entailment", "NOT_ENTAILMENT", "not  entailment"])
def test_spaces_hyphens_and_underscores_are_one(other: str) -> None:
    assert align_labels(RTE, [other, "Entailment"], None, flag=FLAG) == [1, 0]


def test_label_map_goes_first() -> None:
    names = ["LABEL_0", "LABEL_1"]
    for left, right, order in (("negative", "positive", [0, 1]), ("positive", "Negative", [1, 0])):
        mapping = parse_label_map(f"LABEL_0={left},LABEL_1={right}")
        assert align_labels(SST2, names, mapping, flag=FLAG) == order
    # A map may turn names round that would fit, and may leave out the names that already do.
    assert align_labels(
        SST2, ["negative", "positive"], {"negative": "positive", "positive": "negative"}, flag=FLAG
    ) == [1, 0]
    assert align_labels(SST2, ["bad", "positive"], {"bad": "negative"}, flag=FLAG) == [0, 1]


@pytest.mark.parametrize("task, names", [(SST2, ["a", "b", "c"]), (MNLI, ["entailment", "neutral"]), (SST2, [])])
def test_another_number_of_labels_is_refused(task, names: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        align_labels(task, names, None, flag=FLAG)
    for part in (FLAG, f"expected {task.num_labels}", f"found {len(names)}", *task.labels, *names):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [["LABEL_0", "LABEL_1"], ["positive", "positive"], ["negative", "neutral"], ["entailment", "positive"]],
)
def test_unknown_names_are_refused_with_an_example(names: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        align_labels(SST2, names, None, flag=FLAG)
    for part in (FLAG, *names, f"--label-map {names[0]}=negative,{names[1]}=positive"):
        assert part in str(caught.value)


def test_map_with_names_that_the_model_or_the_task_lacks_is_refused() -> None:
    with pytest.raises(InputError, match=r"--label-map: .*LABEL_7.*LABEL_0, LABEL_1"):
        align_labels(SST2, ["LABEL_0", "LABEL_1"], {"LABEL_7": "negative", "LABEL_1": "positive"}, flag=FLAG)
    for mapping in ({"LABEL_0": "happy", "LABEL_1": "positive"}, {"LABEL_0": "negative"}):
        with pytest.raises(InputError, match="expected the labels negative, positive"):
            align_labels(SST2, ["LABEL_0", "LABEL_1"], mapping, flag=FLAG)


def test_label_map_is_parsed() -> None:
    expected = {"LABEL_0": "negative", "LABEL 1": "positive"}
    for text in ("LABEL_0=negative,LABEL 1=positive", " LABEL_0 = negative , LABEL 1 = positive ,"):
        assert parse_label_map(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", ",", "LABEL_0", "LABEL_0=", "=negative", "LABEL_0=negative,LABEL_1",
        "LABEL_0=negative,LABEL_0=positive",  # one name twice
        "LABEL_0=negative,LABEL_1=negative",  # two names for one label
    ],
)  # fmt: skip
def test_label_map_is_one_to_one(text: str) -> None:
    with pytest.raises(InputError, match="--label-map"):
        parse_label_map(text)


def test_names_are_in_class_order() -> None:
    ids = {str(i): f"name {i}" for i in (10, 2, 0, 1, *range(3, 10))}
    assert label_names({"id2label": ids}) == [f"name {i}" for i in range(11)]
    assert label_names({"id2label": {1: "b", 0: "a"}}) == ["a", "b"]
    assert label_names({}) == ["LABEL_0", "LABEL_1"]
    assert label_names({"num_labels": 3}) == ["LABEL_0", "LABEL_1", "LABEL_2"]


def test_model_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a"}}))
    assert read_model_config(tmp_path, flag="--teacher") == {"id2label": {"0": "a"}}


@pytest.mark.parametrize("content", [None, b"{", b"[1, 2]", b"\xff\xfe"])
def test_wrong_model_config_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        read_model_config(tmp_path, flag="--teacher")
    with pytest.raises(InputError, match=f"--teacher {tmp_path}/none: expected a model folder"):
        read_model_config(tmp_path / "none", flag="--teacher")


@pytest.mark.parametrize(
    "config",
    [
        {"num_labels": "three"},
        {"num_labels": 0},
        {"num_labels": 3, "id2label": {"0": "a", "1": "b"}},
        {"num_labels": 2, "id2label": {"0": "a", "1": "b", "2": "c"}},
        {"id2label": {"1": "a", "2": "b"}},
        {"id2label": {"0": "a", "2": "b"}},
        {"id2label": {"0": "a", "1": "a"}},
        {"id2label": {"0": "a", "one": "b"}},
        {"id2label": ["a", "b"]},
        {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}},
    ],
)
def test_names_that_do_not_name_every_class_once_are_refused(config: dict) -> None:
    with pytest.raises(InputError, match=r"^--model x: (num_labels|id2label|label2id): expected .*found "):
        label_names(config, "--model x")
    assert head_names(config) is None


def test_names_of_two_lists_need_not_be_the_same_but_must_agree() -> None:
    ids = {"0": "a", "1": "b"}
    assert label_names({"id2label": ids, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}) == ["a", "b"]
    assert label_names({"id2label": ids, "label2id": {"a": "0", "b": 1}, "num_labels": 2}) == ["a", "b"]
    assert label_names({"id2label": ids, "label2id": None}) == ["a", "b"]


SIGMOID = "torch.nn.modules.activation.Sigmoid"


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"problem_type": "multi_label_classification"}, "problem_type 'multi_label_classification'"),
        ({"problem_type": "regression"}, "problem_type 'regression'"),
        ({"problem_type": "rgression"}, "problem_type 'rgression'"),
        ({"num_labels": 1}, "num_labels 1"),
        ({"id2label": {"0": "LABEL_0"}}, "num_labels 1"),
        ({"problem_type": "single_label_classification", "num_labels": 1}, "num_labels 1"),
        ({"function_to_apply": "sigmoid"}, "function_to_apply 'sigmoid'"),
        ({"function_to_apply": "none"}, "function_to_apply 'none'"),
        ({"sbert_ce_default_activation_function": SIGMOID}, f"sbert_ce_default_activation_function '{SIGMOID}'"),
        ({"sentence_transformers": {"activation_fn": SIGMOID}}, f"sentence_transformers: activation_fn '{SIGMOID}'"),
    ],
)
def test_outputs_that_no_softmax_follows_are_refused(config: dict, part: str) -> None:
    with pytest.raises(InputError, match=r"^--model x: expected a classifier that gives each input one label") as found:
        check_single_label(config, "--model x")
    assert f"found {part}" in str(found.value) and "config.json" in str(found.value)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"problem_type": "single_label_classification", "num_labels": 2},
        {"problem_type": None, "id2label": {"0": "a", "1": "b", "2": "c"}},
        {"function_to_apply": "softmax"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
        {"sentence_transformers": {"version": "5.0"}},
    ],
)
def test_logits_of_classes_are_taken(config: dict) -> None:
    check_single_label(config, "x")


@pytest.mark.parametrize("kind", ["TokenClassification", "MultipleChoice", "QuestionAnswering"])
def test_a_model_of_parts_of_a_text_is_no_classifier_of_texts(kind: str) -> None:
    config = {"architectures": [f"ModernBertFor{kind}"]}
    with pytest.raises(InputError, match=f"--model x: expected a sequence classifier, found ModernBertFor{kind}"):
        check_saved_head(config, "--model x")
    assert head_names(config) is None
    for known in (["BertForSequenceClassification"], ["BertForMaskedLM"], [], None):
        check_saved_head({"architectures": known}, "x")
        assert head_names({"architectures": known}) == ["LABEL_0", "LABEL_1"]


def test_a_configuration_is_made_to_say_one_label_and_what_it_said_is_told() -> None:
    config = BertConfig(problem_type="multi_label_classification", function_to_apply="sigmoid")
    config.sentence_transformers = {"activation_fn": SIGMOID, "version": "5.0"}
    assert make_single_label(config) == [
        "problem_type 'multi_label_classification'",
        "function_to_apply 'sigmoid'",
        f"sentence_transformers: activation_fn '{SIGMOID}'",
    ]
    content = json.loads(config.to_json_string())
    assert content["problem_type"] == "single_label_classification" and "function_to_apply" not in content
    assert content["sentence_transformers"] == {"version": "5.0"}
    assert make_single_label(config) == [] and make_single_label(BertConfig()) == []


def test_a_heads_classes_are_found_by_name_or_not_at_all() -> None:
    assert head_order(["Not Entailment", "ENTAILMENT"], RTE.labels) == [1, 0]
    assert head_order(list(MNLI.labels[::-1]), MNLI.labels) == [2, 1, 0]
    for names in (None, [], ["LABEL_0", "LABEL_1"], ["entailment"], ["entailment", "entailment"]):
        assert head_order(names, RTE.labels) is None


def test_the_length_of_the_training_is_read_and_checked() -> None:
    assert recorded_length({}, "x") is None and recorded_length({LENGTH_FIELD: 64}, "x") == 64
    for wrong in ("64", 0, -1, True, 6.5, [64]):
        with pytest.raises(InputError, match=f"--model x: expected a number of tokens as {LENGTH_FIELD}"):
            recorded_length({LENGTH_FIELD: wrong}, "--model x")
