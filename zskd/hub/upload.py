"""Writing to the Hugging Face Hub: one commit with exactly the given files, or none.

The token is sent in request headers only, and removed from every message that comes back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zskd.errors import InputError, RunError
from zskd.hub.requests import ATTEMPTS, failure, one_line, patiently, pause
from zskd.system.files import sha256_file
from zskd.system.paths import expanded, found_at, is_file

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi, ModelInfo

logger = logging.getLogger(__name__)

EMPTY = {".gitattributes"}  # the files of a new repository
CARD = "README.md"

Content = Path | bytes


def check_repo_id(repo_id: str, *, flag: str) -> None:
    """Raise InputError unless `repo_id` has the form USER/NAME; sends no request."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"{flag} {repo_id}: expected USER/NAME; {error}") from error
    if repo_id.count("/") != 1:
        raise InputError(f"{flag} {repo_id}: expected USER/NAME, found no user or organization before the name")


def token_path(name: str) -> Path:
    """The path of ``--token-file``.

    Raises:
        InputError: there is no file.
    """
    path = expanded(name)
    if not is_file(path):
        raise InputError(f"--token-file {name}: expected a file, found {found_at(path)}")
    return path


def read_token(token_file: str | None = None) -> str:
    """The token from a file, else from ``HF_TOKEN``, else from ``hf auth login``.

    Raises:
        InputError: there is none, or it contains characters that cannot be sent. The message never shows it.
    """
    from huggingface_hub import errors, get_token

    origin = f"--token-file {token_file}" if token_file else "the token"
    try:
        token = token_path(token_file).read_text(encoding="utf-8").strip() if token_file else get_token()
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: expected a token on one line, found no text") from error
    except OSError as error:
        raise InputError(f"{origin}: {error.strerror or type(error).__name__}") from error
    except getattr(errors, "OIDCError", ()) as error:  # newer clients only
        raise InputError(f"{origin}: the exchange that HF_OIDC_RESOURCE asks for failed") from error
    if not token:
        raise InputError(
            f"{origin}: expected a token with write access, found none; run `hf auth login`, set HF_TOKEN or name a "
            "--token-file"
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise InputError(f"{origin}: expected a token on one line, found characters that no token has")
    return token


def check_access(repo_id: str, token: str, *, flag: str) -> None:
    """Ask the Hub whose token this is.

    Raises:
        InputError: the Hub does not accept the token, the token can only read, or the Hub cannot be reached.
        RunError: the Hub answered with an error of its own.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    try:
        found = patiently(HfApi(token=token).whoami)
    except (httpx.TransportError, OfflineModeIsEnabled) as error:
        why = "HF_HUB_OFFLINE is set" if isinstance(error, OfflineModeIsEnabled) else "no answer"
        raise InputError(f"{flag} {repo_id}: the Hub cannot be reached ({why})") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise InputError(f"{flag} {repo_id}: the Hub does not accept the token (HF_TOKEN, --token-file)") from error
        raise RunError(f"{flag} {repo_id}: {one_line(error, token)}") from error
    if found.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise InputError(f"{flag} {repo_id}: expected a token with write access, found one that can only read")
    names = [found.get("name"), *(entry.get("name") for entry in found.get("orgs", []))]
    if repo_id.partition("/")[0] not in names:
        logger.warning("the token is that of %s; the Hub will say whether it may write to %s", names[0], repo_id)


@dataclass(frozen=True)
class _Target:
    """A branch of a repository, with a client for it."""

    api: HfApi
    repo_id: str
    revision: str | None
    token: str

    def head(self) -> ModelInfo | None:
        """The repository's newest commit and its files; None if it does not exist."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return patiently(lambda: self.api.model_info(self.repo_id, revision=self.revision, files_metadata=True))
        except RepositoryNotFoundError:
            return None


def upload(
    repo_id: str,
    files: Mapping[str, Content],
    *,
    token: str,
    message: str,
    public: bool | None = False,
    known: str | None = None,
    overwrite: bool = False,
    revision: str | None = None,
    flag: str = "--repo-id",
) -> CommitInfo:
    """Put `files` into a model repository with one commit, and check that they arrived.

    A repository that does not exist is created. Other files in an existing repository stay.

    Args:
        files: path in the repository -> local path or bytes.
        public: visibility of a new repository. If False, an existing public repository is refused. None accepts any
            existing repository and makes a new one private.
        known: the commit that the new one may be based on.
        overwrite: allow any base commit.

    Raises:
        InputError: a file contains the token, or the repository must not be written to; nothing was uploaded.
        RunError: the upload failed; the message says what arrived.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx

    for name, content in files.items():
        if _holds(content, token.encode()):
            raise InputError(f"{name}: contains the token; nothing was uploaded")
    target = _Target(HfApi(token=token), repo_id, revision, token)
    shown, before = f"{flag} {repo_id}", None
    try:
        if CARD in files:
            _check_card(shown, _bytes(files[CARD]).decode("utf-8"), token)
        before = target.head()
        if before is None:
            patiently(lambda: target.api.create_repo(repo_id, private=not public, exist_ok=True))
            before = patiently(lambda: target.api.model_info(repo_id, revision=revision, files_metadata=True))
        # What holds all files already is a commit of ours whose note in the run folder was lost, as by a kill.
        overwrite = overwrite or not _not_there(before, files)
        _check_head(shown, before, public=public, known=known, overwrite=overwrite)
        commit = _commit(target, files, str(before.sha), message)
        missing = _not_there(target.head(), files)
    except (httpx.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise RunError(f"{shown}: {failure(error, token)}; {_what_arrived(target, before, files)}") from error
    if missing:
        raise RunError(f"{shown}: commit {commit.oid} was made, but not as sent: {', '.join(missing)} did not arrive")
    return commit


def _check_card(shown: str, text: str, token: str) -> None:
    """Raise InputError if the Hub does not accept a card's metadata. Called before anything is created."""
    from huggingface_hub import ModelCard

    try:
        patiently(ModelCard(text).validate)
    except ValueError as error:
        try:
            said = "; ".join(str(entry["message"]) for entry in json.loads(str(error))["errors"])
        except (ValueError, KeyError, TypeError):
            said = str(error)
        raise InputError(f"{shown}: the Hub refuses the card: {one_line(said, token)}; nothing was uploaded") from error


def _check_head(shown: str, head: ModelInfo, *, public: bool | None, known: str | None, overwrite: bool) -> None:
    """Raise InputError if the repository is more public than asked for, or its newest commit is unknown here."""
    if public is False and head.private is False:
        raise InputError(
            f"{shown}: exists and is public; pass --public to publish there, or make it private on the Hub first; "
            "nothing was uploaded"
        )
    if public and head.private:
        logger.warning("%s exists and stays private; its settings on the Hub change that", shown)
    names = {entry.rfilename for entry in head.siblings or []}
    if not overwrite and names - EMPTY and head.sha != known:
        found = f"last published from here was {known}" if known else "this run was never published there"
        raise InputError(
            f"{shown}: its newest commit is {head.sha}, {found}; pass --overwrite to put a commit on top of it; "
            "nothing was uploaded"
        )


def _commit(target: _Target, files: Mapping[str, Content], parent: str, message: str) -> CommitInfo:
    """Make one commit on top of `parent`, with retries."""
    from huggingface_hub import CommitInfo, CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    for attempt in range(ATTEMPTS):
        try:
            return target.api.create_commit(
                target.repo_id,
                [CommitOperationAdd(name, str(c) if isinstance(c, Path) else c) for name, c in files.items()],
                commit_message=message,
                revision=target.revision,
                parent_commit=parent,
            )
        except (HfHubHTTPError, httpx.TransportError) as error:
            # The commit may have been made and its answer lost. A retry would then be refused because of its parent.
            head = target.head()
            if head is not None and head.sha != parent and not _not_there(head, files):
                url = f"{target.api.endpoint}/{target.repo_id}/commit/{head.sha}"
                return CommitInfo(commit_url=url, commit_message=message, commit_description="", oid=str(head.sha))
            wait = pause(error, attempt)
            if wait is None:
                raise
            logger.warning("%s; trying again in %.0f s", failure(error, target.token), wait)
            time.sleep(wait)
    raise AssertionError("the last attempt waits for nothing")


def _not_there(head: ModelInfo | None, files: Mapping[str, Content]) -> list[str]:
    """Names of `files` that are not in a repository with the same bytes."""
    held = {entry.rfilename: entry for entry in (head.siblings if head is not None else None) or []}
    missing = []
    for name, content in files.items():
        entry = held.get(name)
        if entry is None:
            missing.append(name)
        elif entry.lfs is not None:
            digest = sha256_file(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
            missing += [name] if entry.lfs.sha256 != digest else []
        elif entry.blob_id is not None:
            data = _bytes(content)
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            missing += [name] if entry.blob_id != blob else []
    return missing


def _what_arrived(target: _Target, before: ModelInfo | None, files: Mapping[str, Content]) -> str:
    """The state of the repository after a failure, in words."""
    from huggingface_hub.utils import httpx

    try:
        head = target.head()
    except (httpx.HTTPError, OSError):
        return "whether files arrived is unknown; look at the repository before publishing again"
    if head is None:
        return "nothing arrived, there is no such repository"
    if before is not None and head.sha == before.sha:
        return "nothing arrived, the repository is as it was; publish again to retry"
    missing = _not_there(head, files)
    there = [name for name in files if name not in missing]
    return f"its newest commit is {head.sha}, with these of the files: {', '.join(there) or 'none'}"


def _bytes(content: Content) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else content


def _holds(content: Content, token: bytes) -> bool:
    """Whether a file contains the token, weights and other binary files included; they are not read into memory."""
    if isinstance(content, bytes):
        return token in content
    if not content.stat().st_size:
        return False
    with content.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(token) >= 0
