"""The notebook of examples/ runs from top to bottom in a kernel, with a tiny teacher, and shows nothing ugly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
CLEANED = re.compile(r"[^\n]*\r(?=.)")  # what a front end overwrites


def shown(cell: Any) -> str:
    """The text that a reader sees below a cell when it has ended, standard error first."""
    streams = {"stderr": "", "stdout": ""}
    for output in cell.outputs:
        if output.output_type == "stream":
            streams[output.name] += output.text
    return "\n".join(CLEANED.sub("", text) for text in streams.values())


def test_outputs_are_not_stored() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "widgets" not in notebook.metadata and set(notebook.metadata) == {"kernelspec", "language_info"}


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, teacher_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    small = "pool_size=320, heldout=32, batch_size=32, epochs=1.0, checkpoints=1, compression=2.0"
    for old, new in {'teacher="embedded"': f"teacher={str(teacher_folder)!r}", "pool_size=10_000": small}.items():
        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and old in cell.source]
        assert len(cells) == 1, f"the notebook no longer has {old} once"
        cells[0].source = cells[0].source.replace(old, new)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}
    seen = {name: shown(cell) for name, cell in code.items()}
    everything = "".join(seen.values())
    assert "\x1b" not in everything and "Warning" not in everything and "%|" not in seen["distil"]
    assert max(text.count("\n") for text in seen.values()) < 10
    # There was a bar while the student was trained, and nothing of it is left.
    raw = "".join(output.get("text", "") for output in code["distil"].outputs)
    assert "labelling" in raw and "training:" in raw
    assert all("were cut (--max-length)" in line for line in seen["distil"].split("\n") if line.strip())
    assert "agreement" in seen["agreement"] and "student on the probe" in seen["agreement"]
    assert len(re.findall(r"^(?:negative|positive) +0\.\d+ ", seen["pipeline"], re.M)) == 3
    assert len(re.findall(r"^(?:negative|positive)\t", seen["predict"], re.M)) == 3
    (page,) = [output.data["text/html"] for output in code["report"].outputs]
    assert "srcdoc=" in page and "Content-Security-Policy" in page
