"""Files that other programs read: the citation, the forms for issues, the hooks before a commit."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import zskd

ROOT = Path(__file__).parent.parent
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml"))


def read(path: str | Path) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version_and_names_both_papers() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["message"]
    assert citation["version"] == zskd.__version__ and citation["license"] == setup["metadata"]["license"]
    assert citation["authors"] == [{"name": setup["metadata"]["author"]}]
    papers = {paper["url"].rpartition("/")[2]: paper for paper in citation["references"]}
    assert set(papers) == {"2012.15495", "2002.03532"}
    for number, paper in papers.items():
        assert paper["identifiers"] == [{"type": "other", "value": f"arXiv:{number}"}]
        assert paper["type"] in ("article", "conference-paper") and paper["title"] and paper["year"] in (2020, 2021)
        assert all(set(author) == {"given-names", "family-names"} for author in paper["authors"])


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_what_it_says(path: Path) -> None:
    form = read(path)
    assert set(form) == {"name", "description", "labels", "body"}
    asked = [item for item in form["body"] if item["type"] != "markdown"]
    assert {item["type"] for item in asked} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert len({item["id"] for item in asked}) == len(asked) and all(item["attributes"]["label"] for item in asked)
    assert any(item.get("validations", {}).get("required") for item in asked)


def test_there_are_forms_for_bugs_and_features() -> None:
    assert [path.stem for path in FORMS] == ["bug_report", "feature_request"]


def test_hooks_before_a_commit_have_the_versions_that_are_tested() -> None:
    pinned = dict(re.findall(r"^(\w+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["ruff-format", "ruff-check", "mypy"]
    for hook in hooks:
        (package,) = hook["additional_dependencies"]
        name, _, version = package.partition("==")
        assert hook["entry"].startswith(f"{name} ") and version == pinned[name], package


def test_a_version_of_the_changelog_has_each_kind_of_change_once_and_in_order() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.split(r"^## ", text, flags=re.M)[1:]
    assert versions[0].startswith(zskd.__version__)
    for version in versions:
        kinds = re.findall(r"^### (.*)$", version, re.M)
        assert kinds == [
            kind for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security") if kind in kinds
        ]
