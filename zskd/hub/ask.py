"""Asking the Hugging Face Hub for the commit of a name, with a clear error if there is no network."""

from __future__ import annotations

import os
from pathlib import Path

from zskd.errors import InputError, RunError
from zskd.system.paths import exists

TIMEOUT = 5.0  # seconds; the client's own downloads retry for 23 s before they report a missing network

WAYS_ON = "without a network use `--config embedded` or local folders for --teacher, --student and --corpus"


def is_local(name: str) -> bool:
    """True if `name` is a path and not a Hub id: it exists, or it is spelled like a path."""
    return exists(name) or name.startswith((".", "~", os.sep)) or name.count("/") > 1


def is_callable_name(name: str) -> bool:
    """True if `name` is spelled ``module:function``."""
    module, colon, function = name.partition(":")
    identifiers = [*module.split("."), *function.split(".")]
    return bool(colon) and all(part.isidentifier() for part in identifiers) and not exists(name)


def cached_revision(repo_id: str, revision: str | None = None, filename: str = "config.json") -> str | None:
    """Commit of `repo_id` in the local Hugging Face cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, filename, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def resolve_revision(repo_id: str, revision: str | None, *, flag: str, repo_type: str = "model") -> str:
    """The current commit of `repo_id` at `revision` (default: its main branch).

    If the Hub cannot be reached, the commit of a copy in the local cache is used.

    Raises:
        InputError: the repository or revision does not exist or must not be read, or there is neither network nor copy.
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
            f"{flag} {repo_id}: the Hub cannot be reached and this machine has no copy; {WAYS_ON}"
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
