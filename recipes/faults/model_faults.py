"""Faults of the files of a model folder but its weights: which file, which field or byte, which value."""

from __future__ import annotations

import json
import os
import random
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


def change(path: Path, **values: Any) -> None:
    """Set values of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


def field(rng: random.Random, files: list[str]) -> Fault:
    """A field of a JSON file."""
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


def nested(rng: random.Random, files: list[str]) -> Fault:
    """A field of ``config.json`` that holds others."""
    field = rng.choice(["id2label", "label2id", "architectures", "quantization_config", "sentence_transformers"])
    value = rng.choice(list(VALUES))
    outer = rng.choice(["first label", "both labels", "key", "list", "quant_method", "activation_fn"])
    found = VALUES[value]
    content: dict[str, Any] = {
        "first label": {"0": found, "1": "x"}, "both labels": {"0": found, "1": found}, "key": {str(found): 0},
        "list": [found], "quant_method": {"quant_method": found}, "activation_fn": {"activation_fn": found},
    }  # fmt: skip

    def make(folder: Path) -> None:
        change(folder / "config.json", **{field: content[outer]})

    return Fault(f"config.json: {field} is {value} as {outer}", make)


def set_bytes(path: Path, rng: random.Random, count: int = 1) -> int:
    """Set bytes at drawn places; the size of the file."""
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
    "with another byte": lambda path, rng: set_bytes(path, rng),
    "with ten other bytes": lambda path, rng: set_bytes(path, rng, 10),
}


def whole(rng: random.Random, files: list[str]) -> Fault:
    """A whole file."""
    name, kind, seed = rng.choice(files), rng.choice(list(WHOLE)), rng.getrandbits(32)
    return Fault(f"{name}: {kind} ({seed})", lambda folder: WHOLE[kind](folder / name, random.Random(seed)))


def more(rng: random.Random, files: list[str]) -> Fault:
    """A file that healthy folders do not have."""
    name, kind, seed = rng.choice(MORE), rng.choice(list(WHOLE)), rng.getrandbits(32)

    def make(folder: Path) -> None:
        (folder / name).write_text('{"a": "b"}', encoding="utf-8")
        WHOLE[kind](folder / name, random.Random(seed))

    return Fault(f"{name} besides: {kind} ({seed})", make)


def _walk(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in items for found in _walk(value, (*path, key)))]


def inner(rng: random.Random, files: list[str]) -> Fault:
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


def vocabulary(rng: random.Random, files: list[str]) -> Fault:
    """A part of ``tokenizer.json`` that gives ids."""
    kind, seed = rng.choice(list(WORDS)), rng.getrandbits(32)

    def make(folder: Path) -> None:
        path, inner = folder / "tokenizer.json", random.Random(seed)
        content = json.loads(path.read_text(encoding="utf-8"))
        WORDS[kind](content, inner.choice(sorted(content["model"]["vocab"])[5:]), inner)
        path.write_text(json.dumps(content), encoding="utf-8")

    return Fault(f"tokenizer.json: {kind} ({seed})", make)
