"""A classifier's ``config.json``: label names, which are matched by name and never by position, and number of texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zskd.errors import InputError
from zskd.models.folder_files import read_json
from zskd.models.sizes import MOST_CLASSES, check_sizes
from zskd.system.paths import is_folder
from zskd.system.yaml_text import brief
from zskd.tasks.task import Task

if TYPE_CHECKING:  # the library is slow to import, and `zskd validate` does without it
    from transformers import PretrainedConfig

# Fields of config.json for the number of texts of an input, and for the tokens to which inputs were cut in training;
# transformers has no fields for them.
TEXTS_FIELD = "zskd_texts"
LENGTH_FIELD = "zskd_max_length"

SINGLE_LABEL = "single_label_classification"
# Heads that a sequence classifier of some families would load, because their weights have the same names.
_OTHER_HEADS = ("ForTokenClassification", "ForMultipleChoice", "ForQuestionAnswering", "ForNextSentencePrediction")
_FUNCTIONS = ("function_to_apply", "sbert_ce_default_activation_function")


def plain_name(name: str) -> str:
    """Normalise a label name for comparison: case, spaces and hyphens do not matter."""
    return re.sub(r"[\s\-]+", "_", str(name).strip().lower())


def _short(name: str, longest: int = 60) -> str:
    return name if len(name) <= longest else name[:longest] + "..."


def named(names: Sequence[str], most: int = 8) -> str:
    """Label names for a message: the first ones, cut, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(_short(" ".join(name.split())) for name in names[:most]) + more


def parse_label_map(text: str) -> dict[str, str]:
    """``LABEL_0=negative,LABEL_1=positive`` -> {"LABEL_0": "negative", ...}.

    Raises:
        InputError: a part without ``=``, or a name given twice.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not pairs or any(not equals or not left.strip() or not right.strip() for left, equals, right in pairs):
        raise InputError(f"--label-map {text}: expected MODEL_LABEL=task_label,..., for example LABEL_0=negative")
    mapping = {left.strip(): right.strip() for left, _, right in pairs}
    if len(mapping) < len(pairs) or len(set(mapping.values())) < len(pairs):
        raise InputError(f"--label-map {text}: expected every label once on each side")
    return mapping


def record_texts(config: PretrainedConfig, task: Task) -> None:
    """Record in a configuration how many texts the task's inputs have."""
    config.update({TEXTS_FIELD: len(task.text_columns)})


def recorded_texts(config: dict[str, Any], shown: str) -> int | None:
    """Number of texts of an input, from the content of a ``config.json``; None if it is not recorded.

    Raises:
        InputError: the recorded value is not 1 or 2.
    """
    texts: int | None = config.get(TEXTS_FIELD)
    if texts not in (None, 1, 2):
        raise InputError(
            f"{shown}: expected {TEXTS_FIELD} 1 or 2 in its config.json, found {brief(texts)}; correct it there"
        )
    return texts


def recorded_length(config: dict[str, Any], shown: str) -> int | None:
    """Tokens to which a model's inputs were cut in training, from its ``config.json``; None if it is not recorded.

    Raises:
        InputError: the recorded value is no number of tokens.
    """
    length: int | None = config.get(LENGTH_FIELD)
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise InputError(
            f"{shown}: expected a number of tokens as {LENGTH_FIELD} in its config.json, found {brief(length)}; "
            "correct it there, or remove it"
        )
    return length


def label_names(config: dict[str, Any], shown: str = "") -> list[str]:
    """Label names of a model in class order, from the content of its ``config.json``.

    Args:
        shown: flag and value to quote in messages.

    Raises:
        InputError: ``id2label`` does not name every class of ``num_labels`` once, or ``label2id`` contradicts it.
    """
    id2label, count, where = config.get("id2label"), config.get("num_labels"), f"{shown}: " if shown else ""
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_CLASSES):
        raise InputError(f"{where}num_labels: expected a number of classes in config.json, found {brief(count)}")
    if not id2label:
        return [f"LABEL_{i}" for i in range(2 if count is None else count)]
    try:
        names = {int(key): str(name) for key, name in id2label.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}id2label: expected class numbers as keys, found {brief(id2label)}") from error
    if odd := [name for name in id2label.values() if not isinstance(name, str | int | float)]:
        raise InputError(f"{where}id2label: expected names in config.json, found {brief(odd[0])}")
    if sorted(names) != list(range(len(id2label))) or count not in (None, len(names)):
        wanted = len(names) if count is None else count
        raise InputError(
            f"{where}id2label: expected a name for each of the {wanted} classes 0 to {wanted - 1} in config.json, "
            f"found {brief(id2label)}"
        )
    found = [names[i] for i in range(len(names))]
    if len(set(found)) < len(found):
        raise InputError(f"{where}id2label: expected every name once in config.json, found {named(found)}")
    other = config.get("label2id")
    other = other if isinstance(other, dict) else {}
    if wrong := [name for i, name in enumerate(found) if str(other.get(name, i)) != str(i)]:
        raise InputError(
            f"{where}label2id: expected the classes of id2label in config.json, found {brief(wrong[0])} as "
            f"{brief(other[wrong[0]])} there and as {found.index(wrong[0])} in id2label; correct the one that is wrong"
        )
    return found


def check_single_label(config: dict[str, Any], shown: str) -> None:
    """Check that a model's outputs are logits of classes of which one is right, because they pass through a softmax.

    Args:
        config: content of its ``config.json``.
        shown: flag and value to quote in the message.

    Raises:
        InputError: the configuration says regression, several labels at once, one output, or another function than
            softmax.
    """
    problem = config.get("problem_type")
    found = ""
    if problem not in (None, SINGLE_LABEL):
        found = f"problem_type {brief(problem)}"
    elif config.get("num_labels") == 1 or (isinstance(names := config.get("id2label"), dict) and len(names) == 1):
        found = "num_labels 1, which is a regression or one sigmoid"
    elif functions := [f"{name} {brief(value)}" for name, value in _functions(config) if not _is_softmax(value)]:
        found = functions[0]
    if found:
        raise InputError(
            f"{shown}: expected a classifier that gives each input one label of several ({SINGLE_LABEL}), found "
            f"{found} in its config.json; its outputs are not logits of a softmax. Name another model; if it was "
            f"trained with cross-entropy over its classes all the same, correct config.json"
        )


def check_saved_head(config: dict[str, Any], shown: str) -> None:
    """`check_single_label` and `label_names`, and that the saved model was a classifier of whole inputs.

    Raises:
        InputError: as those two, or the model labels tokens, spans or choices.
    """
    check_single_label(config, shown)
    label_names(config, shown)
    if other := _other_head(config):
        raise InputError(f"{shown}: expected a sequence classifier, found {other} under architectures in config.json")


def head_names(config: dict[str, Any]) -> list[str] | None:
    """Label names of a head that training may start from; None if its ``config.json`` does not name its classes."""
    try:
        return None if _other_head(config) else label_names(config)
    except InputError:
        return None


def _other_head(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    first = str(names[0]) if isinstance(names, list) and names else ""
    return first if first.endswith(_OTHER_HEADS) else ""


def _functions(config: dict[str, Any]) -> list[tuple[str, Any]]:
    """What is done to the outputs, by the names that transformers and sentence-transformers have for it."""
    nested = config.get("sentence_transformers")
    found = [(name, config.get(name)) for name in _FUNCTIONS]
    if isinstance(nested, dict):
        found.append(("sentence_transformers: activation_fn", nested.get("activation_fn")))
    return [(name, value) for name, value in found if value is not None]


def _is_softmax(value: Any) -> bool:
    # The identity leaves logits, and what transformers calls the default is a softmax.
    return str(value).rpartition(".")[2].lower() in ("softmax", "default", "identity")


def make_single_label(config: PretrainedConfig) -> list[str]:
    """Let a configuration say that one label is right, whatever the model was trained for before.

    Returns:
        What it said otherwise, for the log.
    """
    content = config.to_dict()
    changed = [f"{name} {value!r}" for name, value in _functions(content)]
    if content.get("problem_type") not in (None, SINGLE_LABEL):
        changed.insert(0, f"problem_type {content['problem_type']!r}")
    config.problem_type = SINGLE_LABEL
    for name in _FUNCTIONS:
        if hasattr(config, name):
            delattr(config, name)
    if isinstance(content.get("sentence_transformers"), dict):
        kept = {k: v for k, v in content["sentence_transformers"].items() if k != "activation_fn"}
        config.update({"sentence_transformers": kept})
    return changed


def head_order(names: list[str] | None, labels: Sequence[str]) -> list[int] | None:
    """For each label, the class of a head that has its name; None if its names are other ones."""
    plain = [plain_name(name) for name in names or ()]
    if sorted(plain) != sorted(plain_name(label) for label in labels):
        return None
    return [plain.index(plain_name(label)) for label in labels]


def align_labels(task: Task, names: list[str], label_map: dict[str, str] | None, *, flag: str) -> list[int]:
    """For each task label, the index of the model's class with that name.

    Args:
        names: the model's label names in class order.
        label_map: model label name -> task label name, applied first; names that are not in it stay.
        flag: flag and value to quote in messages.

    Raises:
        InputError: the number of labels differs, or the names are not the task's.
    """
    if len(names) != task.num_labels:
        raise InputError(
            f"{flag}: expected {task.num_labels} labels for {task.name} ({', '.join(task.labels)}), "
            f"found {len(names)} ({named(names)})"
        )
    if label_map and (unknown := sorted(set(label_map) - set(names))):
        raise InputError(f"--label-map: the model has no label {', '.join(unknown)}; it has {named(names)}")
    mapped = [plain_name((label_map or {}).get(name, name)) for name in names]
    if sorted(mapped) != sorted(plain_name(name) for name in task.labels):
        example = ",".join(f"{_short(name)}={label}" for name, label in zip(names, task.labels, strict=True))
        raise InputError(
            f"{flag}: expected the labels {', '.join(task.labels)}, found {named(names)}; say which is which, "
            f"for example --label-map {example}"
        )
    return [mapped.index(plain_name(name)) for name in task.labels]


def read_model_config(folder: Path, *, flag: str) -> dict[str, Any]:
    """Content of ``config.json`` in a local model folder.

    Raises:
        InputError: no such folder, no ``config.json``, or one that is not JSON, or whose numbers fit no model.
    """
    if not is_folder(folder):
        raise InputError(f"{flag} {folder}: expected a model folder, found none")
    content = read_folder_json(folder, "config.json", flag=flag)
    check_sizes(content, f"{flag} {folder}")
    return content


def read_folder_json(folder: Path, name: str, *, flag: str) -> dict[str, Any]:
    """Content of a JSON file that a folder must have, see `zskd.models.folder_files.read_json`."""
    try:
        return read_json(folder / name)
    except FileNotFoundError:
        raise InputError(f"{flag} {folder}: expected a {name} in it, found none") from None
    except InputError as error:
        raise InputError(f"{flag} {error}") from error
