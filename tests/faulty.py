"""Model folders with one fault each, as people have them.

Every builder takes a folder that holds a copy of a good teacher: BERT of two layers in ``model.safetensors``, its
configuration and tokenizer, two classes. It spoils the folder in place. Its docstring says what is right: *read* (as a
teacher it answers as before), *refused*, and what a start of training (``--student``, ``--base``) does, if that
differs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

Weights = dict[str, torch.Tensor]


def _weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    path = folder / "model.safetensors"
    changed = change(load_file(path))
    path.unlink()
    save_file({name: value.contiguous() for name, value in changed.items()}, path, metadata={"format": "pt"})


def _rename(folder: Path, change: Callable[[str], str]) -> None:
    _weights(folder, lambda found: {change(name): value for name, value in found.items()})


def _without(folder: Path, part: str) -> None:
    _weights(folder, lambda found: {name: value for name, value in found.items() if part not in name})


def _with(folder: Path, **more: torch.Tensor) -> None:
    _weights(folder, lambda found: found | {name.replace("__", "."): value for name, value in more.items()})


def _config(folder: Path, **values: Any) -> None:
    """Change values of ``config.json``; None takes a key out."""
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


# Names of weights.


def compiled(folder: Path) -> None:
    """Keys begin with ``_orig_mod.``, as of a model saved after `torch.compile`: read."""
    _rename(folder, "_orig_mod.{}".format)


def parallel(folder: Path) -> None:
    """Keys begin with ``module.``, as of DataParallel and DDP: read."""
    _rename(folder, "module.{}".format)


def compiled_parallel_bin(folder: Path) -> None:
    """Both in a ``pytorch_model.bin``: read."""
    parallel(folder)
    compiled(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def sharded_data(folder: Path) -> None:
    """FSDP's and activation checkpointing's names at several levels, and a wrapped head: read."""
    inner = "layer.0._checkpoint_wrapped_module._orig_mod."
    _rename(
        folder,
        lambda name: (
            "_fsdp_wrapped_module."
            + name.replace("encoder.", "encoder._fsdp_wrapped_module.")
            .replace("layer.0.", inner)
            .replace("classifier.", "classifier.module.")
        ),
    )


def compiled_shards(folder: Path) -> None:
    """``_orig_mod.`` in a checkpoint of several files: read."""
    AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(folder / "parts", max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    index = json.loads((folder / "parts" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    index["weight_map"] = {f"_orig_mod.{name}": file for name, file in index["weight_map"].items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    for path in (folder / "parts").glob("*.safetensors"):
        weights = {f"_orig_mod.{name}": value for name, value in load_file(path).items()}
        save_file(weights, folder / path.name, metadata={"format": "pt"})


def saved_twice(folder: Path) -> None:
    """Every weight stands there with and without ``module.``, in other values: refused everywhere."""
    _weights(folder, lambda found: found | {f"module.{name}": value + 1 for name, value in found.items()})


def old_names(folder: Path) -> None:
    """``LayerNorm.gamma`` and ``beta`` in a ``pytorch_model.bin`` with heads of pretraining and buffers: read."""
    _rename(folder, lambda name: name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"))
    _with(folder, cls__predictions__bias=torch.zeros(3), bert__embeddings__position_ids=torch.arange(128)[None])
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def old_names_parallel(folder: Path) -> None:
    """The same after ``module.``: read."""
    old_names(folder)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({f"module.{name}": value for name, value in weights.items()}, folder / "pytorch_model.bin")


# Weights that are missing, of another shape or too many.


def without_head(folder: Path) -> None:
    """No classifier: refused; a start gets a new head."""
    _without(folder, "classifier")


def without_head_bias(folder: Path) -> None:
    """Half of the classifier: refused; a start gets a new head, whole."""
    _without(folder, "classifier.bias")


def without_pooler(folder: Path) -> None:
    """No pooler, as in masked language models: refused; a start gets a new one."""
    _without(folder, "pooler")


def without_matrix(folder: Path) -> None:
    """One matrix of the encoder is missing: refused everywhere."""
    _without(folder, "layer.1.attention.self.query.weight")


def without_embeddings(folder: Path) -> None:
    """The word embeddings are missing: refused everywhere."""
    _without(folder, "word_embeddings")


def deeper_config(folder: Path) -> None:
    """The configuration has a layer more than the files: refused everywhere."""
    _config(folder, num_hidden_layers=3)


def shallower_config(folder: Path) -> None:
    """The configuration has a layer less than the files: refused everywhere."""
    _config(folder, num_hidden_layers=1)


def narrower_config(folder: Path) -> None:
    """The configuration has narrower layers than the files: refused everywhere."""
    _config(folder, intermediate_size=32)


def another_base(folder: Path) -> None:
    """Weights of another family under a BERT configuration: refused everywhere."""
    _rename(folder, lambda name: name.replace("bert.", "roberta."))


def unmerged(folder: Path) -> None:
    """LoRA matrices that were never merged beside the weights: refused everywhere."""
    _with(folder, bert__encoder__layer__0__attention__self__query__lora_A__default__weight=torch.ones(2, 32))


def extra_head_layer(folder: Path) -> None:
    """A layer before the classifier that BERT lacks: refused; a start leaves it behind."""
    _with(folder, projection__weight=torch.ones(32, 32))


def three_rows(folder: Path) -> None:
    """A head of three rows, of which the configuration names two: refused; a start gets a new head."""
    _weights(folder, lambda found: found | {"classifier.weight": torch.ones(3, 32), "classifier.bias": torch.ones(3)})


# Names of classes.


def other_order(folder: Path) -> None:
    """A whole classifier with its classes in the other order, unsorted keys and other capitals: read by name, also as a
    start."""
    names = list(json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"].values())
    _config(folder, id2label={"1": names[0].upper(), "0": names[1]}, label2id=None)
    _weights(folder, lambda found: found | {k: v.flip(0) for k, v in found.items() if k.startswith("classifier.")})


def unnamed(folder: Path) -> None:
    """Classes LABEL_0 and LABEL_1: refused; a start gets a new head."""
    _config(folder, id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id=None)


def named_otherwise(folder: Path) -> None:
    """As many classes of another task: refused; a start gets a new head."""
    _config(folder, id2label={"0": "ham", "1": "spam"}, label2id={"ham": 0, "spam": 1})


def one_name_twice(folder: Path) -> None:
    """Two classes of one name: refused; a start gets a new head."""
    _config(folder, id2label={"0": "positive", "1": "positive"}, label2id=None)


def numbered_from_one(folder: Path) -> None:
    """Classes 1 and 2: refused; a start gets a new head."""
    _config(folder, id2label={"1": "negative", "2": "positive"}, label2id=None)


def names_too_many(folder: Path) -> None:
    """num_labels 3 beside two names: refused; a start gets a new head."""
    _config(folder, num_labels=3)


def contradicted(folder: Path) -> None:
    """label2id says the opposite of id2label: refused; a start gets a new head."""
    names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
    _config(folder, label2id={name: 1 - int(i) for i, name in names.items()})


# What the outputs mean.


def multi_label(folder: Path) -> None:
    """Several labels at once: refused; a start is trained for one."""
    _config(folder, problem_type="multi_label_classification")


def regression(folder: Path) -> None:
    """A regression of two values: refused; a start is trained for labels."""
    _config(folder, problem_type="regression")


def one_output(folder: Path) -> None:
    """One output and no word of what it is: refused; a start gets a new head."""
    _config(folder, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    _weights(folder, lambda found: found | {"classifier.weight": torch.ones(1, 32), "classifier.bias": torch.ones(1)})


def one_regressed(folder: Path) -> None:
    """A regression of one value: refused; a start gets a new head."""
    one_output(folder)
    _config(folder, problem_type="regression", num_labels=1, id2label=None, label2id=None)


def sigmoid(folder: Path) -> None:
    """A sigmoid over two outputs: refused; a start is trained with a softmax."""
    _config(folder, function_to_apply="sigmoid")


def cross_encoder(folder: Path) -> None:
    """A sigmoid in the words of sentence-transformers: refused; a start is trained with a softmax."""
    _config(folder, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "5"})


def token_classifier(folder: Path) -> None:
    """A model that labels tokens: refused; a start gets a new head."""
    _config(folder, architectures=["ModernBertForTokenClassification"])


# Adapters. The folder becomes an adapter on ``folder/base``, which has no head.


def adapter(folder: Path) -> None:
    """A whole adapter: read; refused as a start, which needs a whole model."""
    base = folder / "base"
    base.mkdir()
    for path in list(folder.iterdir()):
        if path != base:
            path.rename(base / path.name)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    config = model.config
    options = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query", "value"])
    wrapped = get_peft_model(copy.deepcopy(model), options)
    wrapped.peft_config["default"].base_model_name_or_path = str(base)
    wrapped.save_pretrained(folder)
    config.save_pretrained(folder)
    _without(base, "classifier")


def _adapter(folder: Path, change: Callable[[Weights], Weights]) -> None:
    adapter(folder)
    path = folder / "adapter_model.safetensors"
    changed = change(load_file(path))
    path.unlink()
    save_file(changed, path)


def adapter_without_head(folder: Path) -> None:
    """An adapter saved without its trained head: refused as "no weights for classifier"; fine for ``--adapter``."""
    _adapter(folder, lambda found: {k: v for k, v in found.items() if "classifier" not in k})


def adapter_without_half(folder: Path) -> None:
    """Matrices of one layer are missing: refused, also for ``--adapter``."""
    _adapter(folder, lambda found: {k: v for k, v in found.items() if "layer.1" not in k})


def adapter_of_another(folder: Path) -> None:
    """Matrices of other names: refused, also for ``--adapter``."""
    _adapter(folder, lambda found: {k.replace("bert", "roberta"): v for k, v in found.items()})


def adapter_of_another_width(folder: Path) -> None:
    """Matrices for a narrower model: refused, also for ``--adapter``."""
    _adapter(folder, lambda found: {k: v[..., :16].clone() if "lora_A" in k else v for k, v in found.items()})


def adapter_of_nothing(folder: Path) -> None:
    """An adapter whose configuration names modules that the base lacks: refused."""
    adapter(folder)
    path = folder / "adapter_config.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"target_modules": ["q_proj"]}
    path.write_text(json.dumps(content), encoding="utf-8")


def adapter_multi_label(folder: Path) -> None:
    """An adapter whose configuration says several labels: refused."""
    adapter(folder)
    _config(folder, problem_type="multi_label_classification")


READ = (
    compiled,
    parallel,
    compiled_parallel_bin,
    sharded_data,
    compiled_shards,
    old_names,
    old_names_parallel,
    other_order,
    adapter,
)
# What is refused as a teacher or model, and a part of the message.
REFUSED: dict[Callable[[Path], None], str] = {
    saved_twice: "found two of bert.embeddings",
    without_head: "found no classifier.bias (2,), classifier.weight (2, 32)",
    without_head_bias: "found no classifier.bias (2,)",
    without_pooler: "found no bert.pooler.dense.bias (32,)",
    without_matrix: "found no bert.encoder.layer.1.attention.self.query.weight (32, 32)",
    without_embeddings: "found no bert.embeddings.word_embeddings.weight",
    deeper_config: "and 12 more",
    shallower_config: "found bert.encoder.layer.1.attention.output.LayerNorm.bias",
    narrower_config: "bert.encoder.layer.0.intermediate.dense.bias (64,) instead of (32,)",
    another_base: "found no bert.embeddings",
    unmerged: "found bert.encoder.layer.0.attention.self.query.lora_A.default.weight besides",
    extra_head_layer: "found projection.weight besides",
    three_rows: "classifier.weight (3, 32) instead of (2, 32)",
    unnamed: "--label-map LABEL_0=negative,LABEL_1=positive",
    named_otherwise: "found ham, spam",
    one_name_twice: "id2label: expected every name once",
    numbered_from_one: "id2label: expected a name for each of the 2 classes 0 to 1",
    names_too_many: "id2label: expected a name for each of the 3 classes 0 to 2",
    contradicted: "label2id: expected the classes of id2label",
    multi_label: "found problem_type 'multi_label_classification' in its config.json",
    regression: "found problem_type 'regression' in its config.json",
    one_output: "found num_labels 1",
    one_regressed: "found problem_type 'regression' in its config.json",
    sigmoid: "found function_to_apply 'sigmoid' in its config.json",
    cross_encoder: "activation_fn 'torch.nn.modules.activation.Sigmoid' in its config.json",
    token_classifier: "found ModernBertForTokenClassification",
    adapter_without_head: "no weights for classifier",
    adapter_without_half: "found no base_model.model.bert.encoder.layer.1",
    adapter_of_another: "found no base_model.model.bert",
    adapter_of_another_width: "size mismatch",
    adapter_of_nothing: "the adapter does not fit its base",
    adapter_multi_label: "found problem_type 'multi_label_classification' in its config.json",
}
NEEDS_TASK = (unnamed, named_otherwise)  # without a task, a model's own names are as good as any
# What training does not start from either; the adapters are no whole models.
NO_START = (
    saved_twice, without_matrix, without_embeddings, deeper_config, shallower_config, narrower_config, another_base,
    unmerged, adapter, adapter_without_head, adapter_without_half, adapter_of_another, adapter_of_another_width,
    adapter_of_nothing, adapter_multi_label,
)  # fmt: skip
# What training starts from with the head that it was saved with, and with a new one.
KEEPS_HEAD = (
    compiled, parallel, compiled_parallel_bin, sharded_data, compiled_shards, old_names, old_names_parallel,
    other_order, without_pooler, extra_head_layer, multi_label, regression, sigmoid, cross_encoder,
)  # fmt: skip
NEW_HEAD = (
    without_head, without_head_bias, three_rows, unnamed, named_otherwise, one_name_twice, numbered_from_one,
    names_too_many, contradicted, one_output, one_regressed, token_classifier,
)  # fmt: skip
