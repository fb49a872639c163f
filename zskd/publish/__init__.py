"""Publishing a finished run as a model repository on the Hugging Face Hub."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zskd.errors import InputError
from zskd.hub.upload import upload
from zskd.publish.plan import Options, Plan, check_options, plan
from zskd.runs.read import read_part
from zskd.system.files import write_text
from zskd.system.os_faults import keeping

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

__all__ = ["Options", "Plan", "check_options", "plan", "publish"]

logger = logging.getLogger(__name__)

PUBLISHED = "published.json"  # in a run folder: repository -> last published commit


def publish(planned: Plan, options: Options, token: str, *, flag: str = "--repo-id") -> CommitInfo:
    """Upload the planned files, and record the commit in the run's ``published.json``.

    Raises:
        InputError: the repository must not be written to; nothing was uploaded.
        RunError: the upload failed; the message says what arrived.
    """
    notes = _notes(planned.run.path)
    commit = upload(
        options.repo_id,
        planned.files,
        token=token,
        message=f"{planned.run.task['name']} student, seed {planned.run.metrics['seed']}",
        public=options.public,
        known=notes.get(options.repo_id, {}).get("commit"),
        overwrite=options.overwrite,
        flag=flag,
    )
    notes[options.repo_id] = {"commit": commit.oid, "files": list(planned.files)}
    with keeping(f"everything was uploaded ({commit.commit_url}), which the run's {PUBLISHED} does not say"):
        write_text(planned.run.path / PUBLISHED, json.dumps(notes, indent=2) + "\n")
    return commit


def _notes(run: Path) -> dict[str, Any]:
    """Content of ``published.json``; empty if it is missing or damaged, in which case `--overwrite` is needed."""
    try:
        found = read_part(run, PUBLISHED) or {}
    except InputError:
        return {}
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)}
