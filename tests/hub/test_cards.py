"""Filling in a card: what is in it is what was given, and nothing in it can break the table or the metadata."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCardData

from zskd.errors import InputError
from zskd.hub.cards import cell, code, fenced, hub_link, packaged_template, percent, render_card

DATA = ModelCardData(license="mit", tags=["zskd"])


def template(folder: Path, body: str) -> Path:
    path = folder / "card.md.jinja"
    path.write_text("---\n{{ card_data }}\n---\n" + body, encoding="utf-8")
    return path


def test_metadata_above_and_text_below(tmp_path: Path) -> None:
    card = render_card(
        template(tmp_path, "# {{ name }}\n{{ share | percent }} {{ name | cell }}\n"), DATA, name="a|b", share=0.5
    )
    assert card.data.to_dict() == DATA.to_dict()
    assert card.text.strip() == "# a|b\n50.0 a\\|b"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{{ nme }}", "'nme' is undefined"),
        ("{% if %}", "line 4"),
        ("{{ 1 / 0 }}", "division"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_in_one_line(body: str, says: str, tmp_path: Path) -> None:
    path = template(tmp_path, body)
    with pytest.raises(InputError) as raised:
        render_card(path, DATA, name="x")
    assert str(path) in str(raised.value) and says in str(raised.value) and "\n" not in str(raised.value)


def test_a_template_without_the_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.jinja"
    path.write_text("# only words\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bare\.jinja: .*card_data"):
        render_card(path, DATA)
    with pytest.raises(InputError, match=r"absent\.jinja"):
        render_card(tmp_path / "absent.jinja", DATA)


def test_a_cell_stays_one_cell() -> None:
    assert cell("a | b\n`c` <i>_d_*") == "a \\| b \\`c\\` \\<i\\>\\_d\\_\\*"
    assert [percent(0.1234), percent(1.0, 0), percent(None)] == ["12.3", "100", "-"]


def test_code_stays_code_whatever_marks_are_in_it() -> None:
    assert code("fine") == "`fine`" and code("two\nlines\t") == "`two lines`"
    assert code("a`b") == "`` a`b ``" and code("```") == "```` ``` ````" and code("a|b") == "`a\\|b`"
    assert fenced("zskd\nls") == "```\nzskd\nls\n```" and fenced("a ```` b") == "`````\na ```` b\n`````"
    assert hub_link("me/small") == "[me/small](https://huggingface.co/me/small)"
    assert hub_link("a](x) b", "datasets/") == "[a\\](x) b](https://huggingface.co/datasets/a%5D%28x%29%20b)"


@pytest.mark.parametrize("name", ["card.md.jinja", "trainer_card.md.jinja"])
def test_packaged_templates_are_there(name: str) -> None:
    assert packaged_template(name).read_text(encoding="utf-8").startswith("---\n{{ card_data }}\n---\n")
