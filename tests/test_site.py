"""The documentation site: nothing is left out of it, its links lead somewhere, and it needs no other host."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import zskd
from zskd.config.methods.table import METHODS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMANDS = "docs/commands.md"  # made by the build
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("source", "src"), ("iframe", "src")}


def paths(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from paths(item)


def test_every_page_is_in_the_navigation_once() -> None:
    nav = list(paths(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert len(nav) == len(set(nav))
    pages = {path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")}
    assert pages | {COMMANDS} == {path for path in nav if path.startswith("docs/")}
    assert all((ROOT / path).is_file() for path in nav if path != COMMANDS)


def test_every_public_name_is_in_the_reference_once() -> None:
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: zskd\.(\w+)$", text, re.M)) == sorted(set(zskd.__all__) - {"__version__"})


def test_every_method_has_its_section_in_the_order_of_the_hooks() -> None:
    sections = re.findall(r"^## (.*)$", (DOCS / "methods.md").read_text(encoding="utf-8"), re.M)
    assert [section for section in sections if section in METHODS] == list(METHODS)
    assert sections[-1] == "A method of your own"


def test_commands_of_the_pages_have_only_flags_that_there_are() -> None:
    from zskd.cli import parser

    verbs = next(action.choices for action in parser()._actions if action.dest == "verb")
    assert isinstance(verbs, dict)
    found = 0
    for page in [DOCS / "index.md", DOCS / "methods.md", *(DOCS / "howto").glob("*.md")]:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        code = "\n".join(block.replace("\\\n", "") for language, block in blocks if not language)
        for verb, rest in re.findall(r"^(?:echo .*\| )?(?:torchrun .* -m )?zskd (\w+) (.*)$", code, re.MULTILINE):
            verbs[verb].parse_args(rest.split())
            found += 1
    assert found > 15


class Page(HTMLParser):
    """What a page refers to and can be referred to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif (tag, name) in LOADED and value:
                self.loaded.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)


def broken(site: Path) -> list[str]:
    """Links and assets that lead nowhere, and what would be loaded from another host."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        own = path.relative_to(site).as_posix()
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.netloc or parts.scheme:
                found += [f"{own}: loads {link}"] if link in page.loaded and parts.scheme != "data" else []
                continue
            base = site if parts.path.startswith("/") else path.parent  # 404.html is served at any depth
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{own}: {link} is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                found.append(f"{own}: {link} has no such place")
    for path in site.rglob("*.css"):
        found += [
            f"{path.name}: {url}" for url in re.findall(r"(?:url\(|@import )['\"]?(https?:[^)'\"]+)", path.read_text())
        ]
    return found


def test_what_is_broken_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h1 id="here">B</h1>', encoding="utf-8")
    good = '<a href="b.html#here"></a><a href="https://example.org/"></a><img src="data:image/png;base64,">'
    (tmp_path / "a.html").write_text(good, encoding="utf-8")
    assert broken(tmp_path) == []
    bad = '<a href="b.html#there"></a><a href="c.html"></a><script src="//cdn.example.org/x.js"></script>'
    (tmp_path / "a.html").write_text(bad, encoding="utf-8")
    (tmp_path / "a.css").write_text("@import 'https://example.org/a.css'; a {background: url(https://example.org/b)}")
    assert broken(tmp_path) == [
        "a.html: b.html#there has no such place",
        "a.html: c.html is not there",
        "a.html: loads //cdn.example.org/x.js",
        "a.css: https://example.org/a.css",
        "a.css: https://example.org/b",
    ]


def build(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.fail("no MkDocs found; `make test-site` installs it")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder), *more],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.site
def test_the_site_is_whole_and_needs_no_other_host(tmp_path: Path) -> None:
    done = build(tmp_path / "site")
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert all(line.startswith("INFO ") for line in done.stderr.splitlines())
    assert broken(tmp_path / "site") == []
    reference = Page((tmp_path / "site" / "reference.html").read_text(encoding="utf-8"))
    assert {f"zskd.{name}" for name in set(zskd.__all__) - {"__version__"}} <= reference.ids


@pytest.mark.site
@pytest.mark.parametrize(
    "link", ["gone.md", "../zskd/gone.py", "history.md#gone", "../README.md#gone", "../examples/own_method.py#gone"]
)
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, link: str) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "history.md").write_text("# History\n", encoding="utf-8")
    (docs / "index.md").write_text(f"# Home\n\n[a](history.md#history) [b]({link})\n", encoding="utf-8")
    hooks = f"hooks: [{ROOT / 'recipes/site_hooks.py'}]"
    rules = "validation: {links: {not_found: warn, anchors: warn}, nav: {omitted_files: ignore}}"
    nav = "nav: [docs/index.md, docs/history.md]"
    (tmp_path / "mkdocs.yml").write_text(f"site_name: a\n{hooks}\n{rules}\n{nav}\n", encoding="utf-8")
    done = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
    assert done.returncode != 0 and "docs/index.md" in done.stderr and link.partition("#")[0] in done.stderr
