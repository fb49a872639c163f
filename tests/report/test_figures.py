"""Figures as elements of one page: labelled for readers who do not see them, repeatable, and apart from each other."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from zskd.report.figures import COLOURS, Series, histogram_figure, line_figure, reliability_figure

LINES = [Series("first", [1, 2, 3], [0.5, 0.25, 0.125]), Series("second <b>", [1, 2], [1.0, 2.0])]


def draw(kind: str, name: str = "one", alternative: str = 'What "it" shows & more') -> Markup:
    if kind == "line":
        return line_figure(name, LINES, x="step", y="loss (nats)", alternative=alternative, mark=(2, "kept"))
    if kind == "reliability":
        bins = Series("student", [0.6, 0.9], [0.5, 0.95], rows=[3, 40])
        return reliability_figure(name, [bins], alternative=alternative)
    return histogram_figure(name, [0.0, 0.5, 1.0], [3, 4], x="confidence", y="rows", alternative=alternative)


@pytest.mark.parametrize("kind", ["line", "reliability", "histogram"])
def test_a_figure_is_one_labelled_element_that_asks_for_nothing(kind: str) -> None:
    svg = draw(kind)
    root = ElementTree.fromstring(str(svg))
    assert root.tag == "svg" and root.get("role") == "img" and root.get("aria-label") == 'What "it" shows & more'
    assert "http" not in svg and "<style" not in svg and "font-family" not in svg
    assert not any(colour in svg for colour in COLOURS), "the style sheet gives the colours, for dark pages too"


@pytest.mark.parametrize("kind", ["line", "reliability", "histogram"])
def test_the_same_numbers_give_the_same_bytes_and_two_figures_share_no_name(kind: str) -> None:
    assert draw(kind) == draw(kind)
    one, other = (set(re.findall(r'\bid="([^"]+)"', draw(kind, name))) for name in ("one", "other"))
    assert one and other and not one & other
    used = {*re.findall(r'href="#([^"]+)"', draw(kind)), *re.findall(r"url\(#([^)]+)\)", draw(kind))}
    assert used <= one, "every reference has its target on this figure"


def test_a_reader_s_own_settings_do_not_reach_a_figure() -> None:
    import matplotlib

    before = draw("line")
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.grid": False, "font.size": 30}):
        assert draw("line") == before


@pytest.mark.parametrize("lines", [LINES, LINES[:1]], ids=["two lines", "one line"])
def test_the_legend_names_every_line_that_is_drawn(lines: list[Series]) -> None:
    svg = line_figure("one", lines, x="step", y="loss (nats)", alternative="words", mark=(2, "chosen"))
    plain = line_figure("one", lines, x="step", y="loss (nats)", alternative="words", small=True)
    texts = [{found.text for found in ElementTree.fromstring(str(one)).iter("text")} for one in (svg, plain)]
    names = {line.label for line in lines}
    assert names | {"chosen", "step", "loss (nats)"} <= texts[0] and names <= texts[1] and "chosen" not in texts[1]


def test_a_long_name_of_the_vertical_axis_is_written_across_it() -> None:
    name = "kd-pt+sim: T² KL at T = 2 (nats), with gold labels"
    svg = str(line_figure("one", LINES, x="step", y=name, alternative="words"))
    (text,) = [found for found in ElementTree.fromstring(svg).iter("text") if found.text == name]
    assert "rotate(-90" not in text.get("transform", "")


def test_a_figure_without_a_line_is_drawn_all_the_same() -> None:
    assert ElementTree.fromstring(line_figure("none", [], x="step", y="loss", alternative="nothing")).tag == "svg"
