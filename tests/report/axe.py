"""axe-core, the accessibility checker, in a page of `chromium.Chromium`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium

VERSION = "4.14.1"
# axe does not judge the contrast of text before a gradient, and frames that scroll have one at their edges.
_PLAIN = "document.head.insertAdjacentHTML('beforeend', '<style>.wide { background: none !important }</style>')"


def fetch_axe(folder: Path) -> str:
    """The source of axe-core, which npm fetches into a folder; no script of a package is run."""
    if (npm := shutil.which("npm")) is None:
        pytest.fail("no npm found; on Debian and Ubuntu: apt-get install npm")
    (folder / "package.json").write_text("{}", encoding="utf-8")
    options = ["--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run([npm, "install", *options, f"axe-core@{VERSION}"], cwd=folder, check=True, capture_output=True)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def findings(page: Chromium, axe: str) -> list[str]:
    """What axe finds in the page that is open: the rule, and the first element that breaks it."""
    page.evaluate(_PLAIN)
    page.evaluate(axe)
    ran = page.call(
        "Runtime.evaluate",
        expression="axe.run(document).then(found => JSON.stringify([found.violations, found.passes.length]))",
        awaitPromise=True,
        returnByValue=True,
    )
    violations: list[dict[str, Any]]
    violations, passed = json.loads(ran["result"]["value"])
    assert passed, "axe has looked at nothing"
    return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}" for one in violations]
