"""What the methods of a run need of its models, as far as files say it. Imports neither torch nor transformers."""

from __future__ import annotations

import dataclasses
from typing import Any

from zskd.config.distillation import DistillConfig
from zskd.config.limits import flag
from zskd.config.methods.table import name_problems, used_methods
from zskd.config.option import default_of
from zskd.errors import InputError
from zskd.hub.ask import is_local
from zskd.models.folder_checks import check_length
from zskd.models.folder_files import LARGEST_TEXT, read_json
from zskd.system.paths import expanded, is_file, is_folder


def check_methods(config: DistillConfig, *, black_box: bool) -> list[str]:
    """Problems of ``--method`` and of the options of the methods that a run uses.

    Args:
        black_box: whether the teacher is a callable.
    """
    problems = name_problems(config.method)
    for spec in used_methods(config):
        if black_box and "weights" in spec.needs:
            problems.append(
                f"--method {spec.name}: expected a teacher with weights, found a callable; leave the method out, or "
                "name a folder or Hub id with --teacher"
            )
        elif "vocabulary" in spec.needs:
            problems += _vocabulary_problems(config, spec.name)
        problems += spec.problems(config, black_box=black_box)
        for item in dataclasses.fields(spec.options):
            name = getattr(config, item.name)
            if not item.metadata.get("model") or name in (None, default_of(item)) or not is_local(name):
                continue
            if not is_folder(expanded(name)):
                problems.append(f"{flag(item.name)} {name}: expected a model folder or a Hub id, found no such folder")
            problems += check_length(name, flag(item.name), config.max_length)
    return problems


def _vocabulary_problems(config: DistillConfig, method: str) -> list[str]:
    """Two local models with other vocabularies. What the files do not say is found out when the models are loaded."""
    teacher, student = _vocabulary(config.teacher), _vocabulary(config.student)
    if teacher is None or student is None or teacher == student:
        return []
    return [
        f"--method {method}: expected --teacher {config.teacher} and --student {config.student} to share one "
        f"vocabulary, found {len(teacher):,} and {len(student):,} tokens that are not the same; use --student build"
    ]


def _vocabulary(name: str) -> dict[str, int] | None:
    """Token -> id of a local model, where a fast tokenizer's file says it; None where it is not known."""
    if not is_local(name) or not is_file(path := expanded(name) / "tokenizer.json"):
        return None
    try:
        content = read_json(path, largest=LARGEST_TEXT)
    except InputError:
        return None  # which the loader says
    model, added = content.get("model"), content.get("added_tokens")
    vocabulary: Any = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):  # of a unigram model: [token, score]
        vocabulary = {entry[0]: i for i, entry in enumerate(vocabulary) if isinstance(entry, list) and entry}
    if not isinstance(vocabulary, dict):
        return None
    more = {entry["content"]: entry["id"] for entry in added or () if isinstance(entry, dict) and "content" in entry}
    return {**vocabulary, **more}
