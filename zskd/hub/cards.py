"""Rendering a card template: metadata as YAML on top, Markdown below."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zskd.errors import InputError
from zskd.system.formatting import in_percent

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData


def packaged_template(name: str) -> Path:
    """Path of one of zskd's templates."""
    return Path(str(resources.files("zskd"))) / "assets" / name


def cell(value: object) -> str:
    """Escape a text for a cell of a Markdown table: one line, no column separator, no markup."""
    text = " ".join(str(value).split())
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, "\\" + mark)
    return text


def code(value: object) -> str:
    """A text as a code span of one line, also in a table, whatever marks are in it."""
    text = " ".join(str(value).split()).replace("|", "\\|")
    fence = "`" * (1 + _longest_run(text))
    space = " " if len(fence) > 1 or not text else ""
    return f"{fence}{space}{text}{space}{fence}"


def fenced(value: object) -> str:
    """A text as a block of code, whatever marks are in it."""
    fence = "`" * max(3, 1 + _longest_run(str(value)))
    return f"{fence}\n{value}\n{fence}"


def hub_link(name: str, folder: str = "") -> str:
    """A link to a repository of the Hub; the name may be one that the Hub would not take."""
    return f"[{cell(name)}](https://huggingface.co/{folder}{quote(name)})"


def _longest_run(text: str) -> int:
    """Length of the longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent; a dash for None."""
    return "-" if value is None else in_percent(value, digits)


def render_card(template: Path, data: ModelCardData, **values: Any) -> ModelCard:
    """A model card from a Jinja template that begins with the metadata, ``{{ card_data }}`` between two ``---``.

    Unlike in `huggingface_hub.ModelCard.from_template`, a misspelled name in the template is an error and not an empty
    text.

    Raises:
        InputError: the template cannot be read or rendered, or the result is not a card.
    """
    import jinja2
    from huggingface_hub import ModelCard
    from jinja2.sandbox import SandboxedEnvironment

    try:
        environment = SandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
        )
        environment.filters |= {"cell": cell, "code": code, "fenced": fenced, "hub_link": hub_link, "percent": percent}
        text = environment.from_string(template.read_text(encoding="utf-8")).render(card_data=data.to_yaml(), **values)
        card = ModelCard(text)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"card template {template}, line {error.lineno}: {error.message}") from error
    except Exception as error:  # a template is a program, and may fail in any way
        raise InputError(f"card template {template}: {' '.join(str(error).split())}") from error
    if card.data.to_dict() != data.to_dict():
        raise InputError(
            f"card template {template}: expected `---`, `{{{{ card_data }}}}` and `---` as its first lines"
        )
    return card
