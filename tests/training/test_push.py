"""Pushing from a Trainer: the model's own files and a card, private, with no token and no path in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CANARY, tiny_bert, word_tokenizer
from datasets import Dataset
from hub_server import HubServer
from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

import zskd
from zskd.errors import InputError

TEXTS = ["a fine film", "a dull film", "warm and funny", "cold and slow"]
FILES = {".gitattributes", "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
LABELS = ("negative", "positive")


def zero_shot_trainer(folder: Path, **options: Any) -> zskd.ZeroShotTrainer:
    tokenizer = word_tokenizer(TEXTS)
    rows = [{**tokenizer(text), "teacher_logits": [0.5, -0.5]} for text in TEXTS]
    arguments = zskd.ZeroShotArguments(str(folder), max_steps=2, use_cpu=True, report_to="none", **options)
    return zskd.ZeroShotTrainer(
        tiny_bert(len(tokenizer), LABELS), arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )


def check_repository(hub: HubServer, name: str, model: torch.nn.Module, folder: Path) -> ModelCard:
    """One commit with exactly a model's files, private, that loads back with the same weights."""
    repo = hub.repos["models", name]
    assert repo.private and len(repo.commits) == 2 and set(repo.head.files) == FILES
    for path, data in repo.head.files.items():
        assert CANARY.encode() not in data and str(folder.parent).encode() not in data, path
    back = AutoModelForSequenceClassification.from_pretrained(name)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in back.state_dict().items())
    card = ModelCard(repo.head.files["README.md"].decode())
    assert card.data.pipeline_tag == "text-classification" and "zskd" in card.data.tags
    return card


def test_push_to_hub_sends_the_model_and_its_card_alone(hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    trainer = zero_shot_trainer(folder, save_steps=1, hub_token=CANARY)
    trainer.train()
    (folder / "notes.txt").write_text(f"secret {CANARY}")
    (folder / "generator").mkdir()
    (folder / "generator" / "model.safetensors").write_bytes(b"x")
    commit = trainer.push_to_hub(license="mit", tags="mine")
    assert (folder / "training_args.bin").is_file() and (folder / "checkpoint-1" / "optimizer.pt").is_file()
    card = check_repository(hub, "me/out", trainer.model, folder)
    assert commit.oid == hub.repos["models", "me/out"].head.oid
    assert card.data.license == "mit" and "mine" in card.data.tags
    assert "| optimizer steps | 2 |" in card.text and "`negative`, `positive`" in card.text
    assert (folder / "README.md").read_text() == str(card)


def test_pushing_is_part_of_saving_where_the_arguments_say_so(hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    trainer = zero_shot_trainer(folder, save_steps=1, push_to_hub=True, hub_model_id="me/named", hub_token=CANARY)
    trainer.train()
    assert len(hub.repos["models", "me/named"].commits) == 1
    trainer.save_model()
    check_repository(hub, "me/named", trainer.model, folder)
    later = trainer.push_to_hub(blocking=False, license="mit")
    assert later.result(timeout=30).oid == hub.repos["models", "me/named"].head.oid
    assert b"license: mit" in hub.repos["models", "me/named"].head.files["README.md"]


def test_strategies_that_send_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hub_strategy: expected 'end', found 'checkpoint'"):
        zskd.ZeroShotArguments(str(tmp_path), push_to_hub=True, hub_strategy="checkpoint")


def test_callback_publishes_the_model_of_a_plain_trainer(hub: HubServer, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(TEXTS)
    model = tiny_bert(len(tokenizer), LABELS)
    rows = [{**tokenizer(text), "labels": i % 2} for i, text in enumerate(TEXTS)]
    callback = zskd.PublishCallback("me/plain")
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=2, use_cpu=True, report_to="none", per_device_train_batch_size=1
    )
    Trainer(
        model, arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, callbacks=[callback]
    ).train()
    check_repository(hub, "me/plain", model, tmp_path / "out")
    assert callback.commit.oid == hub.repos["models", "me/plain"].head.oid


@pytest.mark.parametrize(("name", "token"), [("plain", CANARY), ("me/plain/more", CANARY), ("me/plain", "hf_nobody")])
def test_callback_refuses_at_once(hub: HubServer, name: str, token: str) -> None:
    with pytest.raises(InputError) as caught:
        zskd.PublishCallback(name, token=token)
    assert token not in str(caught.value) and hub.repos == {}
