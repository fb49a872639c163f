"""Files of a model folder: regular, of a sensible size, JSON. Imports neither torch nor transformers."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zskd.errors import InputError
from zskd.system.paths import found_at
from zskd.system.yaml_text import brief

# Bytes. The largest vocabularies in use have about 50 MB, configurations and indices of weights at most a few.
LARGEST_TEXT = 256 * 2**20
LARGEST_JSON = 16 * 2**20

# Files of weights in the order in which transformers and peft look for them; the first one that is there is loaded.
WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")

# Other files that loading may open: configurations, and what tokenizer classes name their vocabularies. The rest of a
# folder (training data, logs, weights in other formats) is nobody's business.
_OPENED = {
    "config.json", "generation_config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "processor_config.json", "preprocessor_config.json", "vocab.txt", "vocab.json", "merges.txt", "bpe.codes",
    "dict.txt", "tekken.json", "entity_vocab.json", "emoji.json", "normalizer.json", "vocab-src.json",
    "vocab-tgt.json", "target_vocab.json", "byte_maps.json", "word_shape.json", "word_pronunciation.json",
    "prophetnet.tokenizer",
}  # fmt: skip
# SentencePiece's and tiktoken's, which are searched for by their ending, and files for one version of transformers.
_OPENED_TOO = re.compile(r".+\.(model|spm|tiktoken)|tokenizer\.model\..+|(config|tokenizer)\..+\.json")
_OUTSIDE = re.compile(r"[/\\\0]")
_TEMPLATES = "additional_chat_templates"


def check_regular(path: Path, largest: int | None = None) -> None:
    """Check that a path is a regular file or a link to one, before it is opened: a pipe would block for ever.

    Args:
        largest: most bytes; None for no limit.

    Raises:
        InputError: it is something else, or larger.
        FileNotFoundError: there is nothing.
    """
    if (found := found_at(path)) == "none":
        raise FileNotFoundError(path)
    if found != "a file":
        raise InputError(f"{path}: expected a file, found {found}")
    if largest is not None and (size := path.stat().st_size) > largest:
        raise InputError(f"{path}: expected at most {largest:,} bytes, found {size:,}")


def check_folder(folder: Path, *, flag: str, weights: Sequence[str] = WHOLE) -> list[Path]:
    """Check the files of a model folder that loading may open; others may be anything.

    Args:
        flag: how messages name the folder.
        weights: names of the files of weights, of which the first one that is there is loaded; empty for none.

    Returns:
        The files of weights that are loaded: one, the parts of an index, or none where the folder has none.

    Raises:
        InputError: one is a pipe, a device, a link to nowhere or too large, an archive of weights is packed, or an
            index names files outside of the folder, or one that is not there.
    """
    try:
        for path in sorted(folder.iterdir()):
            if path.name in _OPENED or _OPENED_TOO.fullmatch(path.name):
                _check_text(path)
        templates = folder / _TEMPLATES
        for path in sorted(templates.glob("*.jinja")) if templates.is_dir() else ():
            _check_text(path)
        found = _loaded(folder, weights)
        for path in found:
            check_regular(path)
            if path.suffix == ".bin":
                _check_archive(path)
    except OSError as error:
        raise InputError(f"{flag} {folder}: expected a model folder, found: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{flag} {error}") from error
    return found


def _check_text(path: Path) -> None:
    if not path.is_dir():  # a folder is missing as a file, which the loader says if it needs it
        check_regular(path, LARGEST_TEXT)


def _loaded(folder: Path, weights: Sequence[str]) -> list[Path]:
    """The files of weights that a loader takes, after a look at every index for names that leave the folder."""
    there = [path for path in (folder / name for name in weights) if _is_there(path)]
    for path in there[1:]:
        if path.name.endswith(".index.json"):
            _check_names(path, _left_over(path).get("weight_map"))
    if not there or not there[0].name.endswith(".index.json"):
        return there[:1]
    index = read_json(there[0])
    parts = index.get("weight_map")
    if not isinstance(parts, dict) or not parts or not isinstance(index.get("metadata"), dict):
        raise InputError(
            f"{folder}: {there[0].name}: expected metadata, and under weight_map the file of each weight, found others"
        )
    _check_names(there[0], parts)
    found = [folder / name for name in sorted(set(parts.values()))]
    for path in found:
        if not _is_there(path):
            raise InputError(_wrong_part(there[0], path.name))
    return found


def _is_there(path: Path) -> bool:
    """Whether something has this name that is no folder, and be it a link to nowhere."""
    return os.path.lexists(path) and found_at(path) != "a folder"  # False too for what is no name of a file


def _check_names(index: Path, parts: Any) -> None:
    """Check that an index names files in its folder; transformers would follow any path."""
    for name in parts.values() if isinstance(parts, dict) else ():
        if not isinstance(name, str) or name in ("", ".", "..") or _OUTSIDE.search(name):
            raise InputError(_wrong_part(index, name))


def _wrong_part(index: Path, name: Any) -> str:
    return f"{index.parent}: {index.name}: expected names of files in its folder, found {brief(name)}"


def _left_over(index: Path) -> dict[str, Any]:
    """Content of an index that nothing loads, and that may therefore be damaged."""
    try:
        return read_json(index)
    except InputError:
        return {}


def _check_archive(path: Path) -> None:
    """Refuse an archive of weights that is packed, or whose parts claim to be larger than it is.

    torch writes and reads its archives without compression. From a packed one it would unpack gigabytes of zeros.
    """
    try:
        if not zipfile.is_zipfile(path):
            return  # the format before, or junk, which the loader refuses
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: expected weights as torch saves them, found: {brief(str(error))}") from error
    packed = [part for part in parts if part.compress_type != zipfile.ZIP_STORED]
    if packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise InputError(f"{path}: expected weights as torch saves them, found a compressed archive")


def read_json(path: Path, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """Content of a JSON file of a folder: an object with every key once.

    Raises:
        InputError: it is no regular file, too large, no UTF-8 text, no JSON object or nested too deep, or has a key
            twice, of which readers would take one or the other.
        FileNotFoundError: there is nothing.
    """
    check_regular(path, largest)
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _once(pairs, path))
    except RecursionError:
        raise InputError(f"{path}: expected JSON, found it nested too deep") from None
    except (OSError, ValueError) as error:  # no UTF-8 text, no JSON, or a number of thousands of digits
        raise InputError(f"{path}: expected JSON, found: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, found {_named(found)}")
    return found


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name in found if counts[name] > 1)
        raise InputError(f"{path}: expected every key once, found {brief(twice)} twice; remove one")
    return found


def _named(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
