"""The report in headless Chromium, on a desktop, on a phone, dark and on paper: `make test-report`.

Screenshots are kept in runs/report-screenshots/.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, find_chromium
from test_comparison import variant

from zskd.report.page import write_report

pytestmark = pytest.mark.report
SHOTS = Path("runs/report-screenshots")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    executable = find_chromium()
    if executable is None:
        pytest.fail("no Chromium found; on Debian and Ubuntu: apt-get install chromium")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with Chromium(executable) as page:
        yield page


@pytest.fixture(scope="module")
def pages(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run's page and a comparison's."""
    folder = tmp_path_factory.mktemp("pages")
    others = [
        variant(finished_run, folder / "seed-1", seed=1),
        variant(finished_run, folder / "none", perturb="none"),
        variant(finished_run, folder / "mrpc", task="mrpc"),
    ]
    single = write_report([finished_run], folder / "run.html")
    return {"run": single, "comparison": write_report([finished_run, *others], folder / "comparison.html")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["run", "comparison"])
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
    browser.screenshot(SHOTS / f"{name}-{width}-{scheme}.png")


def test_page_on_paper(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.open(pages["run"], 1280, media="print", scheme="dark")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.pdf(SHOTS / "run.pdf")
    assert (SHOTS / "run.pdf").read_bytes().startswith(b"%PDF")


def test_the_checks_see_what_they_are_for(browser: Chromium, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><img src=none.png>"
        "<div style='width: 900px'>wide</div><script>console.error('x')</script>",
        encoding="utf-8",
    )
    browser.open(page, 390)
    assert browser.complaints()
    assert len(browser.requests()) == 2
    assert browser.evaluate("document.documentElement.scrollWidth") > 390
    assert not browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
