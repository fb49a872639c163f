"""Hooks of the documentation site (`mkdocs.yml`): its links are those of the repository.

Every file of the site bears its path in the repository, so that MkDocs itself proves each link of a page, whether it
leads into ``docs/`` or out of it. Only what is linked, from a page or from the navigation, is added.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

from zskd.config.option import default_of

ROOT = Path(__file__).resolve().parent.parent
# A link of Markdown to a file, without its anchor; code is left out before.
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
CODE = re.compile(r"^( *)(```+)[^\n]*\n.*?^\1\2|`[^`\n]+`", re.DOTALL | re.MULTILINE)
NOTEBOOK = ".ipynb"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".mjs": "javascript"}
COMMANDS = "docs/commands.md"


class Source(File):
    """A program, a configuration or a notebook, shown as a page of its own."""

    def is_documentation_page(self) -> bool:
        """Its content is Markdown, although its name says otherwise."""
        return True


def links(page: str, text: str) -> set[str]:
    """The paths in the repository that a page's text leads to.

    Args:
        page: the page's own path in the repository.
    """
    found = LINK.findall(CODE.sub("", text))
    return {os.path.normpath((Path(page).parent / link).as_posix()) for link in found}


def listed(nav: Any) -> set[str]:
    """The paths of a navigation."""
    if isinstance(nav, str):
        return {nav}
    inner = nav.values() if isinstance(nav, dict) else nav
    return set().union(*map(listed, inner))


def commands() -> str:
    """The page of the command line: what ``zskd VERB --help-all`` prints."""
    from zskd.cli import parser

    whole = parser()
    verbs = next(action.choices for action in whole._actions if action.dest == "verb")
    assert isinstance(verbs, dict)
    page = ["# Command line\n\n`zskd VERB --help` prints this, `zskd distill --help-all` the whole of `distill`.\n"]
    with mock.patch.dict(os.environ, COLUMNS="80", NO_COLOR="1"):
        for name, verb in verbs.items():
            page.append(f"## `zskd {name}`\n\n```text\n{verb.format_help_all()}```\n")
    return "\n".join(page)


def notebook(text: str) -> str:
    """A notebook's page: what it says, and its code. Outputs are not kept in the file (tests/test_notebook.py)."""
    page = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        page.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(page) + "\n"


def _of_repository(path: str, config: MkDocsConfig) -> File:
    """A file outside ``docs/``: a page, or a download."""
    place = ROOT / path
    if place.suffix == NOTEBOOK:
        text = notebook(place.read_text(encoding="utf-8"))
        return Source.generated(config, path, content=text, inclusion=InclusionLevel.NOT_IN_NAV)
    if (language := LANGUAGES.get(place.suffix)) is not None:
        text = f"# `{path}`\n\n````{language}\n{place.read_text(encoding='utf-8')}````\n"
        return Source.generated(config, path, content=text, inclusion=InclusionLevel.NOT_IN_NAV)
    file = File.generated(config, path, abs_src_path=str(place), inclusion=InclusionLevel.NOT_IN_NAV)
    if path == "README.md":
        file.dest_uri = "readme.html"  # index.html is docs/index.md
    return file


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Give the files of ``docs/`` their path in the repository, and add what they link to outside of it."""
    found: dict[str, File] = {}
    for file in files:
        if file.src_dir == config.docs_dir:
            for name in ("dest_uri", "url", "abs_src_path", "abs_dest_path"):
                getattr(file, name)  # these stay as they are, and are computed from `src_uri` once
            file.src_uri = f"docs/{file.src_uri}"
        found[file.src_uri] = file
    found[COMMANDS] = File.generated(config, COMMANDS, content=commands())
    found[COMMANDS].dest_uri = "commands.html"
    waiting = {path for path, file in found.items() if path.startswith("docs/") and path.endswith(".md")}
    wanted = listed(config.nav).union(*(links(path, found[path].content_string) for path in waiting))
    while new := {path for path in wanted - found.keys() if (ROOT / path).is_file()}:
        found |= {path: _of_repository(path, config) for path in sorted(new)}
        pages = [path for path in new if path.endswith((".md", NOTEBOOK))]
        wanted = set().union(*(links(path, found[path].content_string) for path in pages))
    return Files(list(found.values()))


class Docstrings(griffe.Extension):
    """What the reference shows otherwise than the source has it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """``Example:`` is what Google's style calls ``Examples:``; so it is shown as code."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """An option (`zskd.config.option`) is shown with its default alone."""
        module, _, owner = attr.parent.path.rpartition(".") if attr.parent is not None else ("", "", "")
        if module.startswith("zskd.config."):
            options = getattr(getattr(importlib.import_module(module), owner, None), "__dataclass_fields__", {})
            if attr.name in options and "help" in options[attr.name].metadata:
                attr.value = repr(default_of(options[attr.name]))
