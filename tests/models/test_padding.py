"""Padding: a text has the logits that it has alone, whatever side, token or configuration a folder comes with."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, columns, plain_inputs, plain_logits, write_folder
from tokenizers import Tokenizer, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, BartConfig

from zskd.errors import InputError
from zskd.models.padding import check_answers, fit_padding
from zskd.models.tokenizers import guards
from zskd.tasks.labelled import Labelled
from zskd.teacher.classifier import Classifier, classifier_from, load_plain

EXACT = {"rtol": 1e-5, "atol": 1e-5}
BYTES = {"pad_token": None}


def teacher(folder: Path) -> Classifier:
    model, tokenizer, _ = load_plain(str(folder), folder, None, flag="--teacher")
    return classifier_from(None, model, tokenizer, name=str(folder), shown=f"--teacher {folder}")


def assert_right(folder: Path, made: Classifier, *, segments: bool = False) -> None:
    for texts in (1, 2):
        found = made.logits(columns(texts), max_length=120, precision="fp32")
        np.testing.assert_allclose(found, plain_logits(folder, columns(texts), segments=segments), **EXACT)


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "deberta-v2", "gpt2", "modernbert"])
def test_left_padding_of_a_model_that_counts_from_the_left(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "teacher", family, tokenizer_config={"padding_side": "left"})
    made = teacher(folder)
    assert made.tokenizer.padding_side == "right" and made.guards == ("padding",)
    assert_right(folder, made, segments=FAMILIES[family].segments)
    made.tokenizer.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").padding_side == "right"


@pytest.mark.parametrize("side", ["left", "right", None])
def test_xlnet_reads_the_last_token(side: str | None, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "teacher", "xlnet", tokenizer_config={"padding_side": side})
    made = teacher(folder)
    assert made.tokenizer.padding_side == "left"
    assert made.guards == (("padding", "segments") if side == "right" else ("segments",))
    assert_right(folder, made, segments=True)


@pytest.mark.parametrize("kind", ["first", "cls_index"])
def test_xlnet_with_another_summary(kind: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "teacher", "xlnet", config={"summary_type": kind})
    assert_right(folder, teacher(folder), segments=True)


def test_a_mean_over_the_padding_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "teacher", "xlnet", config={"summary_type": "mean"})
    with pytest.raises(InputError, match=r"--teacher .*expected the same logits for a text alone and in a batch"):
        teacher(folder)


def test_a_family_without_a_mask_is_refused(tmp_path: Path) -> None:
    """FNet mixes all positions, the padding too."""
    from transformers import FNetConfig, FNetForSequenceClassification

    folder = write_folder(tmp_path / "teacher", "albert")
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "initializer_range": 0.3}
    FNetForSequenceClassification(FNetConfig(vocab_size=rows, pad_token_id=0, **shape)).save_pretrained(folder)
    said = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(said | {"tokenizer_class": "FNetTokenizer"}))
    with pytest.raises(InputError, match=r"the same logits for a text alone and in a batch.*\(fnet\)"):
        teacher(folder)


def mixing(folder: Path, family: str) -> Path:
    """A folder of a family whose convolutions, or whatever else it mixes tokens with, read padding."""
    write_folder(folder, "bert")
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, vocab_size=rows, pad_token_id=0, embedding_size=32, num_labels=3, **shape)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["convbert", "nystromformer"])
def test_a_family_that_reads_padding_gets_none(family: str, tmp_path: Path) -> None:
    folder = mixing(tmp_path / "teacher", family)
    made = teacher(folder)
    assert "no padding" in made.guards  # labels of padded batches are not served again
    assert_right(folder, made, segments=True)


def test_fnet_is_refused_with_any_tokenizer(tmp_path: Path) -> None:
    folder = mixing(tmp_path / "teacher", "fnet")
    with pytest.raises(InputError, match=r"the same logits for a text alone and in a batch.*\(fnet\)"):
        teacher(folder)


@pytest.mark.parametrize("named", [None, 1, 3])
def test_padding_with_the_end_token_of_bart(named: int | None, tmp_path: Path) -> None:
    """It pools at the last end token, of which each text must have as many: otherwise an error of its own."""
    folder = write_folder(tmp_path / "teacher", "bert", tokenizer_config={"pad_token": "[SEP]"})
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    sides = {f"{side}_{name}": size for side in ("encoder", "decoder")
             for name, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
    end = AutoTokenizer.from_pretrained(folder).sep_token_id
    assert end == 3
    ids = {"pad_token_id": named, "eos_token_id": end, "decoder_start_token_id": end, "bos_token_id": end}
    config = BartConfig(vocab_size=rows, d_model=16, max_position_embeddings=128, num_labels=3, **sides, **ids)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    if named == 1:  # [UNK]; padding with it is masked
        assert_right(folder, teacher(folder))
    else:
        part = "the model does not answer: .*pad_token_id" if named is None else "the same logits .* in a batch"
        with pytest.raises(InputError, match=f"--teacher .*{part}"):
            teacher(folder)


# --- the padding token ---


def configured(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("named", [None, 0], ids=["config without", "config with the end token"])
def test_a_missing_padding_token_is_the_end_token(named: int | None, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "teacher", "gpt2", tokenizer_config=BYTES)
    configured(folder, pad_token_id=named)
    made = teacher(folder)
    assert made.tokenizer.pad_token == "<|endoftext|>" and made.model.config.pad_token_id == 0
    assert made.guards == (), "there was nothing before that could have been cached"
    assert_right(folder, made)
    # A student that is saved says so: transformers alone reads batches.
    made.model.save_pretrained(tmp_path / "saved")
    made.tokenizer.save_pretrained(tmp_path / "saved")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    batch = AutoTokenizer.from_pretrained(tmp_path / "saved")(columns(1)[0], padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = model(**batch).logits.numpy()
    np.testing.assert_allclose(found, plain_logits(folder, columns(1), segments=False), **EXACT)


def ends_in(token: str) -> Any:
    def change(backend: Tokenizer) -> None:
        backend.post_processor = processors.TemplateProcessing(
            single=f"$A {token}", pair=f"$A {token} $B:1 {token}:1",
            special_tokens=[(token, backend.token_to_id(token))],
        )  # fmt: skip

    return change


def test_texts_that_end_with_the_end_token_take_another(tmp_path: Path) -> None:
    """The model reads the end token, so it cannot be padding: where it is, the token before it would be read."""
    special = {"pad_token": None, "unk_token": "<pad>", "tokenizer_class": "PreTrainedTokenizerFast"}
    folder = write_folder(tmp_path / "teacher", "gpt2", change=ends_in("<|endoftext|>"), tokenizer_config=special)
    configured(folder, pad_token_id=None)
    made = teacher(folder)
    assert made.tokenizer.pad_token == "<pad>" and made.model.config.pad_token_id == 1
    assert_right(folder, made)


def test_texts_that_end_with_every_choice_are_refused(tmp_path: Path) -> None:
    special = {"pad_token": None, "tokenizer_class": "PreTrainedTokenizerFast"}
    folder = write_folder(tmp_path / "teacher", "gpt2", change=ends_in("<|endoftext|>"), tokenizer_config=special)
    configured(folder, pad_token_id=None)
    with pytest.raises(InputError) as caught:
        teacher(folder)
    (problem,) = caught.value.problems
    assert problem.startswith(f"--teacher {folder}: its tokenizer has no padding token")
    assert "pad_token" in problem and "pad_token_id in config.json" in problem


def test_a_folder_that_names_the_end_token_keeps_what_it_means(tmp_path: Path) -> None:
    """Trained with the end token as padding: the last token before it is read, alone and in a batch."""
    special = {"pad_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    folder = write_folder(tmp_path / "teacher", "gpt2", change=ends_in("<|endoftext|>"), tokenizer_config=special)
    configured(folder, pad_token_id=0)
    made = teacher(folder)
    assert made.tokenizer.pad_token == "<|endoftext|>" and made.model.config.pad_token_id == 0 and made.guards == ()
    assert_right(folder, made)


def test_no_padding_token_and_none_to_take(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "teacher", "gpt2",
        tokenizer_config={"pad_token": None, "eos_token": None, "bos_token": None, "unk_token": None,
                          "tokenizer_class": "PreTrainedTokenizerFast"},
    )  # fmt: skip
    with pytest.raises(InputError, match=r"--teacher .*has no padding token.*pad_token_id in config\.json"):
        teacher(folder)


@pytest.mark.parametrize("named", [None, 1, 0, 7, 10_000])
def test_the_token_and_the_configuration_disagree(named: int | None, tmp_path: Path) -> None:
    """GPT-2 finds the last token by the configuration's id; 0 is the end token, 7 a letter, 10,000 nothing."""
    folder = write_folder(tmp_path / "teacher", "gpt2")
    configured(folder, pad_token_id=named)
    made = teacher(folder)
    assert_right(folder, made)
    assert made.tokenizer.pad_token_id == made.model.config.pad_token_id
    assert made.guards == (() if named in (None, 1) else ("padding",))


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_models_that_mask_their_padding_do_not_mind(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "teacher", family)
    before = AutoTokenizer.from_pretrained(folder).pad_token
    configured(folder, pad_token_id=3)
    made = teacher(folder)
    assert made.guards == () and made.tokenizer.pad_token == before and made.model.config.pad_token_id == 3
    assert_right(folder, made, segments=family == "bert")


def test_a_tokenizer_without_a_mask_gets_one(tmp_path: Path) -> None:
    """BERT would read the padding as words."""
    names = {"model_input_names": ["input_ids", "token_type_ids"]}
    folder = write_folder(tmp_path / "teacher", "bert", tokenizer_config=names)
    made = teacher(folder)
    assert made.tokenizer.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]
    assert made.guards == ("padding",)
    assert_right(folder, made, segments=True)


def test_the_usual_model_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "teacher", "bert")
    made = teacher(folder)
    monkeypatch.setattr(made.model, "forward", None)
    before = copy.deepcopy(made.model.config.to_dict())
    fit_padding(made.model, made.tokenizer, shown="--teacher x")
    assert made.model.config.to_dict() == before and guards(made.tokenizer) == ()


def test_every_start_is_fitted(tmp_path: Path) -> None:
    """`--student` and `finetune --base` too, which train in batches."""
    from zskd.config.verbs import FinetuneConfig
    from zskd.finetune import finetune
    from zskd.student.initial import load_student
    from zskd.tasks.task import find_task

    folder = write_folder(tmp_path / "teacher", "gpt2", tokenizer_config=BYTES)
    configured(folder, pad_token_id=None)
    path = tmp_path / "task.yaml"
    path.write_text('text_columns: [text]\nlabel_column: label\nlabels: ["no", "yes"]\n')
    model, tokenizer, _ = load_student(find_task(str(path)), str(folder), None)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 0
    rows = Labelled((columns(1)[0] * 3,), [0, 1, 0, 1, 0, 1, 0, 1] * 3)
    glue = tmp_path / "glue"
    glue.mkdir()
    lines = ["text\tlabel", *(f"{text}\t{label}" for text, label in zip(rows.texts[0], rows.labels, strict=True))]
    (glue / "train.tsv").write_text("\n".join(lines) + "\n")
    made = finetune(
        FinetuneConfig(
            task=str(path), base=str(folder), full=True, glue_dir=str(glue), output_dir=str(tmp_path / "out"),
            epochs=1.0, batch_size=8, selection_rows=4, cache_dir=str(tmp_path / "cache"), precision="fp32",
        )
    )  # fmt: skip
    assert json.loads((made.folder / "config.json").read_text())["pad_token_id"] == 0
    assert plain_inputs(made.folder, ("a village",), segments=False)["input_ids"].shape[1] > 1


def test_what_the_model_raises_is_the_folders_and_a_mistake_of_ones_own_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "model", "bert")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    check_answers(model, tokenizer, shown="--model x")

    def broken(*_: object, **__: object) -> None:
        raise KeyError("odd")

    with monkeypatch.context() as patch:
        patch.setattr("zskd.models.padding.reading_length", broken)
        with pytest.raises(KeyError, match="odd"):
            check_answers(model, tokenizer, shown="--model x")
    model.forward = broken
    with pytest.raises(InputError, match=r"^--model x: the model does not answer: KeyError 'odd'"):
        check_answers(model, tokenizer, shown="--model x")
