"""Faults of a model folder, drawn: which file, which field or byte, which value."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Change = Callable[[Path, random.Random], object]

VALUES: dict[str, Any] = {
    "null": None, "text": "abc", "no text": "", "a number as text": "32", "no list": [], "list": [3],
    "texts": ["a", "b"],
    "no dict": {}, "dict": {"a": 1}, "true": True, "false": False, "-1": -1, "0": 0, "1": 1, "0.5": 0.5, "32.0": 32.0,
    "1e9": 10**9, "3e9": 3 * 10**9, "2**63": 2**63, "1e30": 10**30, "1e9 as float": 1e9, "1e300": 1e300,
    "NaN": float("nan"), "Infinity": float("inf"), "nested lists": [[[[]]]], "nested dicts": {"a": {"b": {"c": [1]}}},
    "a long text": "x" * 100_000, "control characters": "a\nb\x00c\x1b[2J", "a path": "../../etc/passwd",
    "null in a list": [None], "a dict in a list": [{}], "1000 numbers": list(range(1000)), "4000 digits": 10**3999,
}  # fmt: skip


def _words(text: str) -> list[str]:
    return text.split()


FIELDS = {
    "config.json": _words(
        "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
        "type_vocab_size num_labels id2label label2id problem_type model_type architectures torch_dtype dtype "
        "pad_token_id layer_norm_eps hidden_act quantization_config tie_word_embeddings transformers_version "
        "_attn_implementation attn_implementation classifier_dropout hidden_dropout_prob attention_probs_dropout_prob "
        "initializer_range is_decoder add_cross_attention use_cache bos_token_id eos_token_id is_encoder_decoder "
        "output_hidden_states output_attentions return_dict chunk_size_feed_forward name_or_path _name_or_path "
        "zskd_texts zskd_max_length sentence_transformers function_to_apply tokenizer_class position_embedding_type "
        "text_config torchscript pruned_heads task_specific_params summary_type embedding_size rope_parameters "
        "attribute_map sub_configs generation_config layer_types to_dict device_map"
    ),
    "tokenizer_config.json": _words(
        "backend cls_token mask_token pad_token sep_token unk_token bos_token eos_token model_input_names "
        "model_max_length tokenizer_class added_tokens_decoder additional_special_tokens extra_special_tokens "
        "padding_side truncation_side clean_up_tokenization_spaces do_lower_case strip_accents chat_template "
        "special_tokens_map_file name_or_path processor_class vocab_file tokenizer_file use_fast max_length stride "
        "pad_to_multiple_of split_special_tokens add_prefix_space from_slow legacy fast_tokenizer_files "
        "pad_token_type_id init_inputs model_specific_special_tokens padding truncation_strategy"
    ),
    "adapter_config.json": _words(
        "base_model_name_or_path peft_type r lora_alpha lora_dropout target_modules modules_to_save task_type bias "
        "fan_in_fan_out inference_mode init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern "
        "use_dora use_rslora revision auto_mapping exclude_modules layer_replication loftq_config megatron_config "
        "megatron_core trainable_token_indices eva_config corda_config peft_version lora_bias target_parameters "
        "arrow_config ensure_weight_tying use_qalora unknown"
    ),
}  # fmt: skip
MORE = (
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "generation_config.json",
)


@dataclass(frozen=True)
class Fault:
    """A fault: what it is, and how it is made in a folder.

    Attributes:
        harmless: the folder means the same as before.
    """

    name: str
    make: Callable[[Path], object]
    harmless: bool = False


def draw(rng: random.Random, files: list[str]) -> Fault:
    """Draw a fault of a folder that has these files."""
    kinds = [_field, _field, _field, _field, _whole, _whole, _tensors, _tensors, _archive, _nested, _more]
    if "model.safetensors" in files:
        kinds += [_index]
    if "tokenizer.json" in files:
        kinds += [_vocabulary, _inner]
    return rng.choice(kinds)(rng, files)


def change(path: Path, **values: Any) -> None:
    """Set values of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


def _field(rng: random.Random, files: list[str]) -> Fault:
    name = rng.choice([name for name in files if name in FIELDS])
    field, value = rng.choice(FIELDS[name]), rng.choice([*VALUES, "nothing"])

    def make(folder: Path) -> None:
        if value != "nothing":
            return change(folder / name, **{field: VALUES[value]})
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        content.pop(field, None)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return None

    return Fault(f"{name}: {field} is {value}", make)


def _nested(rng: random.Random, files: list[str]) -> Fault:
    field = rng.choice(["id2label", "label2id", "architectures", "quantization_config", "sentence_transformers"])
    value = rng.choice(list(VALUES))
    outer = rng.choice(["first label", "both labels", "key", "list", "quant_method", "activation_fn"])
    found = VALUES[value]
    content: dict[str, Any] = {
        "first label": {"0": found, "1": "x"}, "both labels": {"0": found, "1": found}, "key": {str(found): 0},
        "list": [found], "quant_method": {"quant_method": found}, "activation_fn": {"activation_fn": found},
    }  # fmt: skip
    make = lambda folder: change(folder / "config.json", **{field: content[outer]})  # noqa: E731
    return Fault(f"config.json: {field} is {value} as {outer}", make)


def _byte(path: Path, rng: random.Random, count: int = 1) -> int:
    content = bytearray(path.read_bytes())
    for _ in range(count):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return path.write_bytes(content)


def _sized(path: Path, before: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(before)
        file.truncate(size)


def _linked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _socket(path: Path) -> None:
    import socket

    path.unlink()
    os.chdir(path.parent)  # the whole path may be too long for a socket
    socket.socket(socket.AF_UNIX).bind(path.name)


WHOLE: dict[str, Change] = {
    "a list": lambda path, rng: path.write_text("[]"),
    "a list of pairs": lambda path, rng: path.write_text('[["a", 1]]'),
    "empty": lambda path, rng: path.write_bytes(b""),
    "an empty object": lambda path, rng: path.write_text("{}"),
    "null": lambda path, rng: path.write_text("null"),
    "a number": lambda path, rng: path.write_text("17"),
    "junk": lambda path, rng: path.write_bytes(rng.randbytes(rng.randrange(1, 2000))),
    "no UTF-8": lambda path, rng: path.write_bytes(path.read_bytes().replace(b'"', b'"\xff', 1)),
    "UTF-16": lambda path, rng: path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-16")),
    "a byte-order mark first": lambda path, rng: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()),
    "with a NUL": lambda path, rng: path.write_bytes(path.read_bytes()[:50] + b"\0" + path.read_bytes()[50:]),
    "100 MB of spaces": lambda path, rng: path.write_bytes(b" " * 10**8 + path.read_bytes()),
    "40 GB of zeros": lambda path, rng: _sized(path, path.read_bytes(), 4 * 10**10),
    "nested objects": lambda path, rng: path.write_text('{"a":' * 10**5),
    "nested lists": lambda path, rng: path.write_text("[" * 10**6),
    "every key twice": lambda path, rng: path.write_bytes(
        b"{" + path.read_bytes()[1:-2] + b"," + path.read_bytes()[1:]
    ),
    "twice": lambda path, rng: path.write_bytes(path.read_bytes() * 2),
    "cut": lambda path, rng: os.truncate(path, rng.randrange(path.stat().st_size)),
    "a folder": lambda path, rng: _replaced(path, Path.mkdir),
    "missing": lambda path, rng: path.unlink(),
    "a link to nowhere": lambda path, rng: _linked(path, "nowhere"),
    "a link to itself": lambda path, rng: _linked(path, path.name),
    "a link to /dev/zero": lambda path, rng: _linked(path, "/dev/zero"),
    "a link to /dev/null": lambda path, rng: _linked(path, "/dev/null"),
    "a link to /etc/passwd": lambda path, rng: _linked(path, "/etc/passwd"),
    "a pipe": lambda path, rng: _replaced(path, os.mkfifo),
    "a socket": lambda path, rng: _socket(path),
    "with another byte": lambda path, rng: _byte(path, rng),
    "with ten other bytes": lambda path, rng: _byte(path, rng, 10),
}


def _whole(rng: random.Random, files: list[str]) -> Fault:
    name, kind, seed = rng.choice(files), rng.choice(list(WHOLE)), rng.getrandbits(32)
    return Fault(f"{name}: {kind} ({seed})", lambda folder: WHOLE[kind](folder / name, random.Random(seed)))


def _more(rng: random.Random, files: list[str]) -> Fault:
    name, kind, seed = rng.choice(MORE), rng.choice(list(WHOLE)), rng.getrandbits(32)

    def make(folder: Path) -> None:
        (folder / name).write_text('{"a": "b"}', encoding="utf-8")
        WHOLE[kind](folder / name, random.Random(seed))

    return Fault(f"{name} besides: {kind} ({seed})", make)


# Of a safetensors file: gets the header, the entry of one weight, its name and the bytes of all weights.
Header = dict[str, Any]
TENSORS: dict[str, Callable[[Header, str, int, random.Random], object]] = {
    "entry": lambda head, name, size, rng: head.update({name: rng.choice([None, 3, [], "x", {}, {"dtype": 3}])}),
    "offsets": lambda head, name, size, rng: head[name].update(
        data_offsets=rng.choice([[0, 10**15], [5, 1], [-1, 4], "x", None, [0], [0, 0], [10**30, 10**31], [0, size]])
    ),
    "dtype": lambda head, name, size, rng: head[name].update(
        dtype=rng.choice(["F7", None, 3, "I64", "BOOL", "F8_E4M3", "BF16", "F4", "U8", "", "I32", "U32"])
    ),
    "shape": lambda head, name, size, rng: head[name].update(
        shape=rng.choice([[], [10**12], [-1], "x", None, [0], [1, *head[name]["shape"]], [10**30], [2**32] * 2, [1.5]])
    ),
    "weight left out": lambda head, name, size, rng: head.pop(name),
    "name": lambda head, name, size, rng: head.update(
        {
            rng.choice(["", "x" * 10**5, "../x", "é\n", f"{name}.more", name.upper(), f"model.{name}", "."]): head.pop(
                name
            )
        }
    ),
    "metadata": lambda head, name, size, rng: head.update(
        __metadata__=rng.choice([None, 3, {"format": "tf"}, {"format": 3}, {"a": [1]}, {}, {"format": "mlx"}])
    ),
    "weights besides": lambda head, name, size, rng: head.update(
        {f"more.{i}.weight": {"dtype": "F32", "shape": [0], "data_offsets": [size, size]} for i in range(1000)}
    ),
}
RAW: dict[str, Callable[[bytes, bytes, random.Random], bytes]] = {
    "length of the header": lambda head, data, rng: (
        struct.pack("<Q", rng.choice([2**64 - 1, 2**62, 2**40, 10**8, 0, 5])) + head + data
    ),
    "a header of junk": lambda head, data, rng: struct.pack("<Q", 200) + rng.randbytes(200) + data,
    "a nested header": lambda head, data, rng: struct.pack("<Q", 10**5) + b"[" * 10**5 + data,
    "weights that are no numbers": lambda head, data, rng: (
        struct.pack("<Q", len(head)) + head + struct.pack("<f", rng.choice([float("nan"), float("-inf")])) + data[4:]
    ),
    "cut weights": lambda head, data, rng: struct.pack("<Q", len(head)) + head + data[: rng.randrange(len(data))],
    "bytes at the end": lambda head, data, rng: struct.pack("<Q", len(head)) + head + data + b"x" * 1000,
}


def _tensors(rng: random.Random, files: list[str]) -> Fault:
    weights = next(name for name in files if name.endswith(".safetensors"))
    kind, seed = rng.choice([*TENSORS, *RAW]), rng.getrandbits(32)

    def make(folder: Path) -> None:
        path, inner = folder / weights, random.Random(seed)
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        head, data = content[8:end], content[end:]
        if kind in RAW:
            path.write_bytes(RAW[kind](head, data, inner))
            return
        found = json.loads(head)
        TENSORS[kind](found, inner.choice([name for name in found if name != "__metadata__"]), len(data), inner)
        text = json.dumps(found).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)

    return Fault(f"{weights}: {kind} ({seed})", make)


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("x")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))


def _zip(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)


def _objects(weights: dict[str, Any]) -> list[Any]:
    return [
        [], None, 3, "x", list(weights.values()), {3: 4}, {"a": "b"}, dict.fromkeys(weights), {"state_dict": weights},
        {name: value.tolist() for name, value in weights.items()}, next(iter(weights.values())),
    ]  # fmt: skip


def _saved(change: Callable[[Any, Any], Any]) -> Callable[[Path, dict[str, Any], random.Random], object]:
    def make(path: Path, weights: dict[str, Any], rng: random.Random) -> None:
        import torch

        torch.save({name: change(value, torch) for name, value in weights.items()}, path)

    return make


def _torch(path: Path, content: Any, **options: Any) -> int:
    """Save with torch; the size."""
    import torch

    torch.save(content, path, **options)
    return path.stat().st_size


ARCHIVES: dict[str, Callable[[Path, dict[str, Any], random.Random], object]] = {
    "as before": lambda path, weights, rng: _torch(path, weights),
    "as before, of the old format": lambda path, weights, rng: _torch(
        path, weights, _use_new_zipfile_serialization=False
    ),
    "junk": lambda path, weights, rng: path.write_bytes(rng.randbytes(1000)),
    "empty": lambda path, weights, rng: path.write_bytes(b""),
    "another zip": lambda path, weights, rng: _zip(
        path,
        rng.choice(["archive/data.pkl", "x", "../x", "archive/version"]),
        rng.choice([b"", b"3\n", pickle.dumps({})]),
    ),
    "a tar": lambda path, weights, rng: _tar(path),
    "another object": lambda path, weights, rng: _torch(path, rng.choice(_objects(weights))),
    "cut": lambda path, weights, rng: os.truncate(path, rng.randrange(_torch(path, weights))),
    "with other bytes": lambda path, weights, rng: _byte(path, rng, 20 * bool(_torch(path, weights))),
    "sparse": _saved(lambda value, torch: value.to_sparse()),
    "without values": _saved(lambda value, torch: value.to("meta")),
    "expanded": _saved(lambda value, torch: torch.zeros(1).expand(10**6, 10**6)),
    "complex": _saved(lambda value, torch: value.to(torch.complex64)),
    "a bomb": lambda path, weights, rng: _zip(path, "archive/data.pkl", bytes(2 * 10**9), zipfile.ZIP_DEFLATED),
    "a pickle of many marks": lambda path, weights, rng: path.write_bytes(b"\x80\x02" + b"(" * 10**6),
    "a pickle of a large text": lambda path, weights, rng: path.write_bytes(b"\x80\x02X\xff\xff\xff\x7f"),
    "a pointer of Git LFS": lambda path, weights, rng: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
}


def _archive(rng: random.Random, files: list[str]) -> Fault:
    weights = next(name for name in files if name.endswith(".safetensors"))
    target = {"model.safetensors": "pytorch_model.bin"}.get(weights, "adapter_model.bin")
    kind, seed = rng.choice(list(ARCHIVES)), rng.getrandbits(32)

    def make(folder: Path) -> None:
        from safetensors.torch import load_file

        found = load_file(folder / weights)
        (folder / weights).unlink()
        ARCHIVES[kind](folder / target, found, random.Random(seed))

    return Fault(f"{target}: {kind} ({seed})", make, harmless=kind.startswith("as before"))


PART = "model-00001-of-00001.safetensors"


def _indices(names: list[str]) -> dict[str, Any]:
    """Contents of an index by what they are."""
    good: dict[str, Any] = {"metadata": {}, "weight_map": dict.fromkeys(names, PART)}
    maps: list[Any] = [None, [], {}, 3, "x", [["a", "b"]]]
    metadata: list[Any] = [[], None, 3, {"total_size": "x"}, {"all_checkpoint_keys": 3, "total_parameters": []}]
    files: list[Any] = [
        3,
        None,
        [PART],
        "gone",
        "/etc/passwd",
        "../x",
        "config.json",
        ".",
        "..",
        "",
        "a\0b",
        "a" * 5000,
    ]
    return {
        "as transformers writes it": good,
        "a list": [],
        "no map": {"metadata": {}},
        "no metadata": {"weight_map": good["weight_map"]},
        "half of the names": good | {"weight_map": dict.fromkeys(names[: len(names) // 2], PART)},
        "other names": good | {"weight_map": {f"x.{name}": PART for name in names}},
        **{f"the map {value!r}": good | {"weight_map": value} for value in maps},
        **{f"the file {str(value)[:30]!r}": good | {"weight_map": dict.fromkeys(names, value)} for value in files},
        **{f"the metadata {value!r}": good | {"metadata": value} for value in metadata},
    }


def _index(rng: random.Random, files: list[str]) -> Fault:
    kind = rng.choice(list(_indices([])))

    def make(folder: Path) -> None:
        from safetensors.torch import load_file

        names = sorted(load_file(folder / "model.safetensors"))
        (folder / "model.safetensors").rename(folder / PART)
        (folder / "model.safetensors.index.json").write_text(json.dumps(_indices(names)[kind]), encoding="utf-8")

    return Fault(f"model.safetensors.index.json: {kind}", make, harmless=kind.startswith("as "))


def _walk(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in items for found in _walk(value, (*path, key)))]


def _inner(rng: random.Random, files: list[str]) -> Fault:
    """Any place of tokenizer.json but the words of its vocabulary."""
    value, seed = rng.choice(list(VALUES)), rng.getrandbits(32)

    def make(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        places = [place for place in _walk(content) if place and place[:2] != ("model", "vocab")]
        place, node = random.Random(seed).choice(places), content
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = VALUES[value]
        path.write_text(json.dumps(content), encoding="utf-8")

    return Fault(f"tokenizer.json: {value} somewhere ({seed})", make)


def _add(tokenizer: dict[str, Any], **values: Any) -> bool:
    token = {"id": 5, "content": "<x>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"].append({**token, "special": True, **values})
    return True


ADDED: list[dict[str, Any]] = [
    {"id": 5}, {"id": 99_999}, {"id": 2**32 - 1}, {"id": -1}, {"content": ""}, {"content": " "}, {"content": "e"}
]  # fmt: skip
WORDS: dict[str, Callable[[dict[str, Any], str, random.Random], object]] = {
    "an id": lambda content, word, rng: content["model"]["vocab"].update(
        {word: rng.choice(["x", -1, None, 1.5, [], 99_999, 2**31, 2**32 - 1, 2**40, 7])}
    ),
    "the vocabulary": lambda content, word, rng: content["model"].update(
        vocab=rng.choice([{}, [], None, list(content["model"]["vocab"]), [[w, 0.0] for w in content["model"]["vocab"]]])
    ),
    "a word": lambda content, word, rng: content["model"]["vocab"].update(
        {rng.choice(["", " ", "x" * 10**6, "\0"]): content["model"]["vocab"].pop(word)}
    ),
    "no word for unknown ones": lambda content, word, rng: content["model"]["vocab"].pop("[UNK]", None),
    "another model": lambda content, word, rng: content["model"].update(
        type=rng.choice(["BPE", "Unigram", "WordLevel", "x", None])
    ),
    "an added token": lambda content, word, rng: _add(
        content, **rng.choice(ADDED)
    ),
    "2000 added tokens": lambda content, word, rng: [_add(content, id=5000 + i, content=f"<{i}>") for i in range(2000)],
    "the post-processor": lambda content, word, rng: content.update(
        post_processor=rng.choice([
            {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}, {"type": "Mine"},
            {"type": "Sequence", "processors": [content["post_processor"]] * 3}, {"type": "Sequence", "processors": 3},
            {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 99_999]},
        ])
    ),
    "the pre-tokenizer": lambda content, word, rng: content.update(
        pre_tokenizer={
            "type": "Split",
            "pattern": {"Regex": rng.choice(["(", "(a{1,1000}){1,1000}", "", ".", "\\"])},
            "behavior": "Removed",
            "invert": False,
        }
    ),
}  # fmt: skip


def _vocabulary(rng: random.Random, files: list[str]) -> Fault:
    kind, seed = rng.choice(list(WORDS)), rng.getrandbits(32)

    def make(folder: Path) -> None:
        path, inner = folder / "tokenizer.json", random.Random(seed)
        content = json.loads(path.read_text(encoding="utf-8"))
        WORDS[kind](content, inner.choice(sorted(content["model"]["vocab"])[5:]), inner)
        path.write_text(json.dumps(content), encoding="utf-8")

    return Fault(f"tokenizer.json: {kind} ({seed})", make)
