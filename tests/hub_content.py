"""Tiny models and data under the ids, and in the file layouts, of the default with a Hub."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hub_server import HubServer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForPreTraining

from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import DEFAULT_STUDENT, HUB_DATA, TASKS

CORPUS = "Salesforce/wikitext"
ARCHIVE = "wikitext-103-raw-v1"


def put_defaults(server: HubServer, teacher_folder: Path, prose: list[str]) -> None:
    """Teacher, student, corpus and evaluation data of `zskd distill --task sst2`."""
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    vocab = "".join(f"{token}\n" for token, _ in vocabulary).encode()
    teacher = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    # As an uploaded training run of its time: class numbers for labels.
    config = {k: v for k, v in teacher.config.to_dict().items() if k not in ("id2label", "label2id")}
    files = {"config.json": _json(config), "pytorch_model.bin": _old_weights(teacher), "vocab.txt": vocab}
    server.put("models", TASKS["sst2"].teacher, {".gitattributes": b"", "README.md": b"# teacher\n", **files})
    small = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(5)
    kept = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "model_type")
    files = {
        "config.json": _json({name: small.to_dict()[name] for name in kept}),
        "pytorch_model.bin": _old_weights(BertForPreTraining(small)),
        "vocab.txt": vocab,
    }
    server.put("models", DEFAULT_STUDENT, files)
    _put_corpus(server, prose)
    _put_glue(server)


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _old_weights(model: torch.nn.Module) -> bytes:
    """A pickled state with the names that layer norms had before 2019."""
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    state = {}
    for name, value in model.state_dict().items():
        for new, old in names.items():
            name = name.replace(new, old)
        state[name] = value
    assert any(name.endswith("gamma") for name in state)
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def _parquet(columns: dict[str, list], features: dict[str, dict]) -> bytes:
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    file = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file)
    return file.getvalue()


def _card(configs: dict[str, list[str]]) -> bytes:
    lines = ["---", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [line for split in splits for line in (f"  - split: {split}", f"    path: {name}/{split}-*")]
    return "\n".join([*lines, "---", "# data", ""]).encode()


def _put_corpus(server: HubServer, prose: list[str]) -> None:
    text = {"text": {"dtype": "string", "_type": "Value"}}
    passages = [" ".join(prose[i : i + 3]) for i in range(0, len(prose), 3)]
    # Headings and empty lines between passages, as in WikiText.
    rows = [line for i, passage in enumerate(passages) for line in ("", f" = Heading {i} = \n", f" {passage} \n")]
    half = len(rows) // 2
    files = {
        f"{ARCHIVE}/train-00000-of-00002.parquet": _parquet({"text": rows[:half]}, text),
        f"{ARCHIVE}/train-00001-of-00002.parquet": _parquet({"text": rows[half:]}, text),
        f"{ARCHIVE}/validation-00000-of-00001.parquet": _parquet({"text": ["not to be read"]}, text),
        "wikitext-2-raw-v1/train-00000-of-00001.parquet": _parquet({"text": ["not to be read"]}, text),
    }
    card = _card({"wikitext-2-raw-v1": ["train"], ARCHIVE: ["train", "validation"]})
    server.put("datasets", CORPUS, {"README.md": card, **files})


def _put_glue(server: HubServer) -> None:
    features = {
        "sentence": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["negative", "positive"], "_type": "ClassLabel"},
        "idx": {"dtype": "int32", "_type": "Value"},
    }
    task = TASKS["sst2"]
    rows = read_labelled(task, str(task.probe_path()))

    def part(start: int, stop: int) -> bytes:
        texts, labels = rows.texts[0][start:stop], rows.labels[start:stop]
        numbers = pa.array(range(len(texts)), pa.int32())
        return _parquet({"sentence": texts, "label": labels, "idx": numbers}, features)

    files = {
        "sst2/train-00000-of-00001.parquet": part(0, 10),
        "sst2/validation-00000-of-00001.parquet": part(20, 80),
        "cola/validation-00000-of-00001.parquet": part(0, 10),
    }
    card = _card({"cola": ["validation"], "sst2": ["train", "validation"]})
    server.put("datasets", HUB_DATA, {"README.md": card, **files})
