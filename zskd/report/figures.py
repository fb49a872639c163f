"""Figures as inline SVG: the same bytes for the same numbers, colours from the page's style sheet."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's palette, which is safe for colour-blind readers. Each colour stands for a variable of report.css, so
# that dark and printed pages can use other colours; lines also differ in dash or marker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, FAINT = "#111111", "#888888"
_VARIABLES = {colour: f"var(--series-{i})" for i, colour in enumerate(COLOURS, start=1)} | {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
}
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P")

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text, which is smaller, searchable and in the reader's font
    "text.parse_math": False,  # a dollar sign in a label is not a formula
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Series:
    """A line: points in order, and for `reliability_figure` the rows behind each point."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    rows: Sequence[int] = ()


def line_figure(
    name: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    alternative: str,
    mark: tuple[float, str] | None = None,
    limits: tuple[float, float] | None = None,
    small: bool = False,
) -> Markup:
    """Lines over one horizontal axis.

    Args:
        name: unique on the page.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis, with its unit.
        alternative: text alternative for readers who cannot see the figure.
        mark: a position on the horizontal axis and its label.
        limits: limits of the vertical axis; default: those of the data.
        small: whether the figure is one of many panels.
    """
    with _style(name):
        figure = Figure(figsize=(3.4, 2.2) if small else (4.6, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for i, line in enumerate(series):
            axes.plot(
                line.x,
                line.y,
                color=COLOURS[i % len(COLOURS)],
                linestyle=_DASHES[i % len(_DASHES)],
                marker=_MARKERS[i % len(_MARKERS)] if len(line.x) <= 25 else None,
                label=line.label,
            )
        if mark is not None:
            axes.axvline(mark[0], color=INK, linewidth=1.2, linestyle=":", label=mark[1])
        axes.set(xlabel=x)
        _name_vertical(axes, y)
        axes.set_xlim(0, 1.02 * max((max(line.x) for line in series), default=1))
        if limits is not None:
            axes.set_ylim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _legend(axes)
        return _svg(figure, name, alternative)


def reliability_figure(name: str, series: Sequence[Series], *, alternative: str) -> Markup:
    """Accuracy over confidence, per bin; the area of a point grows with the rows behind it."""
    with _style(name):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":", label="confidence = accuracy")
        for i, line in enumerate(series):
            colour, most = COLOURS[i % len(COLOURS)], max(line.rows, default=1)
            dash, marker = _DASHES[i % len(_DASHES)], _MARKERS[i % len(_MARKERS)]
            axes.plot(line.x, line.y, color=colour, linestyle=dash, marker=marker, markersize=3, label=line.label)
            areas = [6 + 90 * rows / most for rows in line.rows]
            axes.scatter(line.x, line.y, s=areas, color=colour, marker=marker, alpha=0.6)
        low = min((value for line in series for value in line.x), default=0.0)
        axes.set(xlabel="confidence (0 to 1, mean of a bin)", ylim=(0, 1.03))
        _name_vertical(axes, "accuracy (0 to 1)")
        axes.set_xlim(max(0.0, low - 0.05), 1.02)
        _legend(axes)
        return _svg(figure, name, alternative)


def histogram_figure(
    name: str, edges: Sequence[float], heights: Sequence[float], *, x: str, y: str, alternative: str
) -> Markup:
    """A bar chart; there is one more edge than heights."""
    with _style(name):
        figure = Figure(figsize=(4.6, 2.4), layout="constrained")
        axes = figure.add_subplot()
        widths = [right - left for left, right in itertools.pairwise(edges)]
        axes.bar(edges[:-1], heights, width=[0.9 * width for width in widths], align="edge", color=COLOURS[0])
        axes.set(xlabel=x, xlim=(edges[0], edges[-1]))
        _name_vertical(axes, y)
        axes.grid(visible=False, axis="x")
        return _svg(figure, name, alternative)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=9, loc="best", handlelength=2.4)


def _name_vertical(axes: Axes, label: str) -> None:
    """Write the vertical axis' label above it, where a long one has room, and where it is read without turning."""
    axes.set_title(label, loc="left", fontsize=10)


@contextmanager
def _style(name: str) -> Iterator[None]:
    """matplotlib's defaults with `_STYLE` on top, regardless of the user's settings file."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # Without a fixed salt, matplotlib gives elements random names.
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        yield


def _svg(figure: Figure, name: str, alternative: str) -> Markup:
    """The figure as an element of an HTML page, labelled with `alternative`."""
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = target.getvalue()
    text = text[text.index("<svg") :]
    # A style element would hold for the whole page; report.css says the same of figures alone.
    text = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    # Text between tags has no raw angle bracket, so this touches tags alone.
    text = re.sub(r"<[^>]+>", lambda tag: _page_tag(tag.group(), name), text)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{escape(alternative, quote=True)}"', 1))


def _page_tag(tag: str, name: str) -> str:
    """A tag of an SVG file as a tag of a page that holds several figures."""
    if tag.startswith("<svg"):
        # HTML needs no namespaces, and a report should contain no addresses. The style sheet sets the size.
        tag = re.sub(r'\s(?:xmlns(?::xlink)?|version|width|height)="[^"]*"', "", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag).replace("xlink:href", "href")
    tag = re.sub(r'\bid="|\bhref="#|url\(#', lambda found: f"{found.group()}{name}-", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, variable)
    return tag
