"""Asking the Hugging Face Hub: what a name resolves to, and a plain answer when there is no network."""

from __future__ import annotations

import os
from pathlib import Path

from zskd.errors import InputError, RunError

TIMEOUT = 5.0  # seconds; the client's own downloads retry for 23 s before they say there is no network

WAYS_ON = "without a network use `--config embedded` or local folders for --teacher, --student and --corpus"


def is_local(name: str) -> bool:
    """True where `name` is a path rather than a Hub id: it exists, or is spelled like a path."""
    return Path(name).exists() or name.startswith((".", "~", os.sep)) or name.count("/") > 1


def is_callable_name(name: str) -> bool:
    """True for ``module:function``, which no folder and no Hub id is spelled like."""
    module, colon, function = name.partition(":")
    identifiers = [*module.split("."), *function.split(".")]
    return bool(colon) and all(part.isidentifier() for part in identifiers) and not Path(name).exists()


def cached_revision(repo_id: str, revision: str | None = None, filename: str = "config.json") -> str | None:
    """Commit of the copy of `repo_id` in the Hugging Face cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, filename, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def resolve_revision(repo_id: str, revision: str | None, *, flag: str, repo_type: str = "model") -> str:
    """Commit that `repo_id` at `revision` (default: its main branch) stands for now.

    The Hub is asked; where it cannot be reached, a copy in the local cache answers.

    Raises:
        InputError: no such repository or revision, no right to read it, or no network and no local copy.
        RunError: the Hub answered with an error of its own.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import httpx

    try:
        info = HfApi().repo_info(repo_id, revision=revision, repo_type=repo_type, timeout=TIMEOUT)
        return str(info.sha)
    except (httpx.TransportError, OfflineModeIsEnabled) as error:
        if repo_type == "model" and (commit := cached_revision(repo_id, revision)):
            return commit
        raise InputError(
            f"{flag} {repo_id}: the Hub cannot be reached and this machine holds no copy; {WAYS_ON}"
        ) from error
    except HFValidationError as error:
        raise InputError(f"{flag} {repo_id}: neither a local path nor a Hub id (USER/NAME)") from error
    except GatedRepoError as error:
        raise InputError(f"{flag} {repo_id}: access must be granted on the Hub first (`hf auth login`)") from error
    except RevisionNotFoundError as error:
        raise InputError(f"{flag} {repo_id}: no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{flag} {repo_id}: no such repository on the Hub, or it is private (`hf auth login`)"
        ) from error
    except HfHubHTTPError as error:
        raise RunError(f"{flag} {repo_id}: the Hub answered with an error: {error}") from error
