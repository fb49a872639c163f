"""The report in headless Chromium, on a desktop, a tablet, a phone, dark and on paper: `make test-report`.

axe-core, which npm fetches, looks at every page. Screenshots are kept in runs/report-screenshots/.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe import fetch_axe, findings
from chromium import Chromium, find_chromium
from diagnoses import NAMES, diagnosis, many, put
from test_comparison import variant
from test_student_section import with_export

from zskd.report.page import write_report

pytestmark = pytest.mark.report
SHOTS = Path("runs/report-screenshots")
# Frames that may scroll on a phone: tables with a column per class, or with many of the teacher's signals.
SCROLL = {"similarity", "pairs"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    executable = find_chromium()
    if executable is None:
        pytest.fail("no Chromium found; on Debian and Ubuntu: apt-get install chromium")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with Chromium(executable) as page:
        yield page


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fetch_axe(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module")
def pages(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run's page, also of an older and of an exported run and with diagnoses of few and of many classes, and a
    comparison's.
    """
    folder = tmp_path_factory.mktemp("pages")
    older = variant(finished_run, folder / "older")
    for name in ("disagreements.json", "calls.json", "transfer_set.json"):
        (older / name).unlink()
    exported = with_export(Path(shutil.copytree(finished_run, folder / "exported")))
    others = [
        variant(finished_run, folder / "seed-1", seed=1),
        variant(finished_run, folder / "none", perturb="none"),
        variant(finished_run, folder / "mrpc", task="mrpc"),
    ]
    diagnosed = {
        "three": put(variant(finished_run, folder / "three", seed=2), diagnosis(NAMES, scale=40.0)),
        "twenty": put(variant(finished_run, folder / "twenty", seed=3), diagnosis(many(20), scale=3.0)),
    }
    runs = {"run": finished_run, "older": older, "exported": exported, **diagnosed}
    pages = {name: write_report([run], folder / f"{name}.html") for name, run in runs.items()}
    comparison = write_report([finished_run, *others, *diagnosed.values()], folder / "comparison.html")
    return {**pages, "comparison": comparison}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 768, 390])
@pytest.mark.parametrize("name", ["run", "older", "exported", "three", "twenty", "comparison"])
def test_page_in_a_window(browser: Chromium, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    browser.open(pages[name], width, scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [pages[name].resolve().as_uri()]
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.evaluate("document.querySelectorAll('svg').length") >= 2
    assert browser.evaluate(
        "[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().height > 50)"
    )
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # Scores fit without scrolling in their frame.
    assert (
        browser.evaluate("(box => box.scrollWidth - box.clientWidth)(document.querySelector('#results').parentElement)")
        <= 0
    )
    if name in ("three", "twenty"):
        # A matrix may scroll in its frame; names stay inside their cells, and beside the numbers.
        inside = "cell => cell.scrollWidth <= cell.clientWidth + 1 && cell.scrollHeight <= cell.clientHeight + 1"
        assert browser.evaluate(f"[...document.querySelectorAll('.similarity th, #pairs th')].every({inside})")
    # What is cut has a hint that it scrolls, and what is whole has none.
    frames = browser.evaluate(
        "[...document.querySelectorAll('.wide')].map(box => [box.querySelector('table').id || "
        "box.querySelector('table').className, box.scrollWidth > box.clientWidth, "
        "parseFloat(getComputedStyle(box, '::after').height) > 0])"
    )
    assert frames and all(scrolls == hint for _, scrolls, hint in frames)
    assert {table for table, scrolls, _ in frames if scrolls} <= (SCROLL if width < 1280 else set())
    browser.screenshot(SHOTS / f"{name}-{width}-{scheme}.png")


@pytest.mark.parametrize("name", ["run", "older", "exported", "three", "twenty", "comparison"])
def test_the_room_of_a_desktop_is_used(browser: Chromium, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], 1280)
    # Parts of the page that end in the right fifth of the window, such as the second of two tables side by side.
    right = (
        "[...document.querySelectorAll('.wide, pre, figure, dd')].filter("
        "part => part.getBoundingClientRect().right > 0.8 * innerWidth).length"
    )
    assert browser.evaluate(right) >= 5


@pytest.mark.parametrize("table", ["sizes", "runs"])
def test_a_comparison_hides_no_column_on_a_phone(browser: Chromium, pages: dict[str, Path], table: str) -> None:
    browser.open(pages["comparison"], 390)
    columns = browser.evaluate(f"document.querySelectorAll('#{table} thead th').length")
    shown = browser.evaluate(
        f"[...document.querySelectorAll('#{table} tbody tr')].map(row => [...row.children].filter(cell => "
        "(box => box.width > 0 && box.right <= innerWidth)(cell.getBoundingClientRect())).length)"
    )
    assert shown and set(shown) == {columns}
    labels = f"[...document.querySelectorAll('#{table} td')].map(cell => getComputedStyle(cell, '::before').content)"
    assert all(len(label) > 3 for label in browser.evaluate(labels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["run", "older", "exported", "three", "twenty", "comparison"])
def test_axe_finds_nothing(
    browser: Chromium, axe: str, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    browser.open(pages[name], width, scheme=scheme)
    assert findings(browser, axe) == []


@pytest.mark.parametrize("name", ["run", "twenty"])
def test_page_on_paper(browser: Chromium, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], 718, media="print", scheme="dark")  # the width of A4 between its margins, 190 mm
    assert browser.evaluate("document.documentElement.scrollWidth") <= 718
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.pdf(SHOTS / f"{name}.pdf")
    assert (SHOTS / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_checks_see_what_they_are_for(browser: Chromium, axe: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><img src=none.png>"
        "<div style='width: 900px'>wide</div><script>console.error('x')</script>",
        encoding="utf-8",
    )
    browser.open(page, 390)
    assert browser.complaints()
    assert len(browser.requests()) == 2
    assert any(found.startswith("image-alt") for found in findings(browser, axe))
    assert browser.evaluate("document.documentElement.scrollWidth") > 390
    assert not browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
