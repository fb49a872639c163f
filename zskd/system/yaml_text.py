"""YAML that people wrote: bounded in size, depth and repetition, with every key once."""

from __future__ import annotations

import copy
import functools
import reprlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from zskd.errors import InputError, nearest
from zskd.system.plain_text import one_line

LARGEST_FILE = 1 << 19  # bytes
DEEPEST = 20  # levels of lists and mappings
MOST_SHOWN = 10  # unknown keys in messages
MOST_VALUES = 50_000  # values, those behind an alias counted each time; they take seconds to read


class _Brief(reprlib.Repr):
    """Short texts of values; Python itself writes no number of more than 4,300 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlevel = 2

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1_000 else f"a number of {x.bit_length():,} bits"


def brief(value: Any) -> str:
    """A value as messages show it: 80 characters of a text or number, the first items of a list, 200 in all.

    Example:
        >>> brief("a short one"), len(brief("x" * 10_000))
        ("'a short one'", 80)
    """
    text = _Brief().repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."


def unknown_keys(keys: list[Any], known: Mapping[str, Any]) -> list[str]:
    """What to say of keys that are not known, with the nearest known one; a number instead of more than a few."""
    shown = [(key[:200] if isinstance(key, str) else brief(key), brief(key)) for key in keys[:MOST_SHOWN]]
    lines = [f"{key}; {nearest(name, known)}" for name, key in shown]
    return [*lines, *([f"and {len(keys) - MOST_SHOWN:,} more"] if len(keys) > MOST_SHOWN else [])]


def load_yaml(path: Path, shown: str) -> Any:
    """Content of a YAML file of plain values.

    Args:
        shown: what messages begin with.

    Raises:
        InputError: it is no UTF-8 text or no YAML, or it is too large or too deep; a key stands there twice; or a value
            is none of YAML's plain ones.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise InputError(f"{shown}: expected a YAML file of at most {LARGEST_FILE:,} bytes, found a larger one")
    try:
        # A task file is asked for by several steps of a command; each may change what it gets.
        return copy.deepcopy(_parsed(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise InputError(f"{shown}: expected YAML, found bytes that are no UTF-8 text") from error
    except yaml.YAMLError as error:
        raise InputError(f"{shown}: expected YAML, found: {_one_line(error)}") from error
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError) as error:  # PyYAML's, of dates and tags
        raise InputError(
            f"{shown}: expected YAML's plain values, found one that is none: {_one_line(error)}"
        ) from error


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    return yaml.load(text, _Loader)


def _one_line(error: Exception) -> str:
    text = one_line(error).replace('"<unicode string>", ', "")
    return text if len(text) <= 300 else f"{text[:300]} ..."


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with limits."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = self.values = 0
        self.sizes: dict[int, int] = {}  # by the id of a node that is whole

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels", mark)
        self.values += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and max(self.values, self._size(node)) > MOST_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MOST_VALUES:,} values, aliases counted", node.start_mark
            )
        return node

    def _size(self, node: yaml.Node) -> int:
        """Values in a node, those behind an alias each time that it stands there."""
        if id(node) not in self.sizes:
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
            # A node that contains itself is met before it is whole; it has no value of ours.
            self.sizes[id(node)] = 1 + sum(self.sizes.get(id(part), MOST_VALUES + 1) for part in parts)
        return self.sizes[id(node)]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key)
            if name in names:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {brief(name)} a second time", key.start_mark
                )
            names.add(name)
        return super().construct_mapping(node, deep)
