"""Writing through the genuine client: what arrives, what is refused, and what a failure leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import CANARY
from hub_server import HubServer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zskd.errors import InputError, RunError
from zskd.hub.upload import check_access, upload

FILES = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
REPO = ("models", "me/small")


@pytest.fixture
def publish(cli, hub: HubServer, run_copy: Path) -> Callable[..., object]:
    """`zskd publish` of a finished run to me/small; the token never shows, and never went to the storage."""

    def run(*arguments: object, repo: str = "me/small"):
        done = cli("publish", run_copy, "--repo-id", repo, *arguments)
        assert CANARY not in done.out + done.err
        assert "Traceback" not in done.err
        assert hub.leaks == []
        for path in run_copy.rglob("*"):
            assert not path.is_file() or CANARY.encode() not in path.read_bytes()
        return done

    return run


def published(hub: HubServer) -> list[str]:
    """The files that the newest commit brought or kept, the Hub's own aside."""
    return sorted(set(hub.repos[REPO].head.files) - {".gitattributes"})


def test_published_student_loads_back_and_answers_the_same_bits(hub: HubServer, publish, run_copy: Path) -> None:
    done = publish()
    assert done.code == 0, done.err
    repo = hub.repos[REPO]
    assert repo.private and len(repo.commits) == 2 and published(hub) == FILES
    assert repo.head.files["model.safetensors"] == (run_copy / "student" / "model.safetensors").read_bytes()
    assert repo.head.oid in done.out and all(name in done.out for name in FILES)
    logits = []
    for name in (run_copy / "student", "me/small"):
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForSequenceClassification.from_pretrained(name).eval()
        with torch.no_grad():
            logits.append(model(**tokenizer(["a fine film", "dull"], padding=True, return_tensors="pt")).logits)
    assert torch.equal(*logits)
    assert hub.seen("GET", "/me/small/resolve/") and hub.leaks == []
    assert json.loads((run_copy / "published.json").read_text())["me/small"]["commit"] == repo.head.oid


def test_public_only_when_asked(hub: HubServer, publish) -> None:
    assert publish("--public").code == 0
    assert not hub.repos[REPO].private


def test_an_existing_public_repository_is_not_published_to_by_accident(hub: HubServer, publish) -> None:
    hub.put("models", "me/small", {".gitattributes": b""})
    done = publish()
    assert done.code == 2 and "--public" in done.errors[0] and len(hub.repos[REPO].commits) == 1
    assert publish("--public").code == 0


def test_an_empty_repository_that_exists_is_used(hub: HubServer, publish) -> None:
    hub.put("models", "me/small", {".gitattributes": b""}, private=True)
    assert publish().code == 0
    assert published(hub) == FILES and hub.seen("POST", "repos/create") == []


def test_a_repository_that_appears_meanwhile_is_used(hub: HubServer, publish) -> None:
    hub.fail("GET", "/api/models/me/small", status=404, headers={"X-Error-Code": "RepoNotFound"})
    hub.put("models", "me/small", {".gitattributes": b""}, private=True)
    assert publish().code == 0
    assert hub.seen("POST", "repos/create") == [409] and published(hub) == FILES


def test_publishing_again_changes_nothing_and_a_change_goes_on_top(hub: HubServer, publish, run_copy: Path) -> None:
    assert publish().code == 0 and publish().code == 0
    assert len(hub.repos[REPO].commits) == 2
    assert publish("--license", "mit").code == 0
    assert len(hub.repos[REPO].commits) == 3 and b"license: mit" in hub.repos[REPO].head.files["README.md"]


def test_a_commit_whose_note_a_kill_prevented_is_found_to_be_ours(hub: HubServer, publish, run_copy: Path) -> None:
    assert publish().code == 0
    note = (run_copy / "published.json").read_bytes()
    (run_copy / "published.json").unlink()
    assert publish("--license", "mit").code == 2, "other files would go on top"
    assert publish().code == 0 and len(hub.repos[REPO].commits) == 2
    assert (run_copy / "published.json").read_bytes() == note


def test_a_newer_commit_is_not_overwritten_unless_told(hub: HubServer, publish) -> None:
    assert publish().code == 0
    mine = hub.repos[REPO].head.oid
    newer = hub.repos[REPO].add({"README.md": b"written on the site"}, "by hand").oid
    done = publish()
    assert done.code == 2 and "--overwrite" in done.errors[0] and newer in done.errors[0] and mine in done.errors[0]
    assert hub.repos[REPO].head.oid == newer
    assert publish("--overwrite").code == 0
    assert hub.repos[REPO].head.files["README.md"] != b"written on the site"
    assert publish("--license", "mit").code == 0


def test_a_commit_that_comes_between_is_not_overwritten(hub: HubServer, publish, monkeypatch) -> None:
    import huggingface_hub

    send = huggingface_hub.HfApi.create_commit

    def late(self, *arguments, **options):
        hub.repos[REPO].add({"note.txt": b"first"}, "somebody else")
        return send(self, *arguments, **options)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", late)
    done = publish()
    assert done.code == 1 and "somebody else made a commit" in done.errors[0]
    assert hub.repos[REPO].head.title == "somebody else"


@pytest.mark.parametrize(
    ("token", "role", "words"),
    [("hf_wrong" + CANARY, "write", "does not accept the token"), (CANARY, "read", "can only read")],
)
def test_a_token_that_cannot_write_is_found_first(
    hub: HubServer, publish, monkeypatch, token: str, role: str, words: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.roles["me"] = role
    done = publish()
    assert done.code == 2 and words in done.errors[0]
    assert hub.repos == {} and {path for _, path, _ in hub.requests} == {"/api/whoami-v2"}


def test_somebody_elses_namespace(hub: HubServer, publish) -> None:
    done = publish(repo="other/small")
    assert done.code == 1 and "no right to write there (403" in done.errors[0]
    assert "nothing arrived, there is no such repository" in done.errors[0] and hub.repos == {}


def test_no_right_to_write_to_an_existing_repository(hub: HubServer, publish) -> None:
    hub.put("models", "me/small", {".gitattributes": b""}, private=True)
    hub.roles["me"] = "none"
    done = publish()
    assert (
        done.code == 1 and "403" in done.errors[0] and "nothing arrived, the repository is as it was" in done.errors[0]
    )
    assert len(hub.repos[REPO].commits) == 1


@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("GET", "whoami"), ("GET", "/api/models/me/small"), ("POST", "validate-yaml"), ("POST", "repos/create"),
        ("POST", "preupload"), ("POST", "objects/batch"), ("PUT", "/storage/"), ("POST", "/verify"),
        ("POST", "/commit/"),
    ],
)  # fmt: skip
def test_a_pause_that_the_hub_asks_for_is_made(hub: HubServer, publish, method: str, part: str) -> None:
    hub.fail(method, part, status=429, headers={"Retry-After": "3"})
    assert publish().code == 0
    assert hub.waited and all(3 <= seconds <= 4 for seconds in hub.waited)
    assert len(hub.repos[REPO].commits) == 2 and published(hub) == FILES


def test_a_long_pause_is_reported_and_not_made(hub: HubServer, publish) -> None:
    hub.fail("POST", "/commit/", status=429, headers={"Retry-After": "3000"})
    done = publish()
    assert done.code == 1 and "429" in done.errors[0] and "nothing arrived" in done.errors[0] and hub.waited == []


@pytest.mark.parametrize(
    ("method", "part", "fault"),
    [
        ("PUT", "/storage/", {"read": 2_000}),
        ("PUT", "/storage/", {"after": True}),
        ("POST", "/commit/", {}),
        ("POST", "/commit/", {"after": True}),
        ("POST", "/commit/", {"status": 503}),
        ("POST", "repos/create", {"after": True}),
    ],
)
def test_a_connection_that_breaks_once_leaves_one_good_commit(
    hub: HubServer, publish, method: str, part: str, fault: dict
) -> None:
    hub.fail(method, part, **fault)
    done = publish()
    assert done.code == 0, done.err
    assert len(hub.repos[REPO].commits) == 2 and published(hub) == FILES


@pytest.mark.parametrize(("method", "part"), [("PUT", "/storage/"), ("POST", "/commit/")])
def test_a_connection_that_stays_broken_says_what_arrived_and_a_retry_mends_it(
    hub: HubServer, publish, run_copy: Path, method: str, part: str
) -> None:
    fault = hub.fail(method, part, times=100, read=2_000)
    done = publish()
    assert done.code == 1 and "nothing arrived" in done.errors[0]
    assert hub.repos[REPO].head.files.keys() == {".gitattributes"}
    assert not (run_copy / "published.json").exists()
    fault.times = 0
    assert publish().code == 0
    assert len(hub.repos[REPO].commits) == 2 and published(hub) == FILES


def test_what_arrived_is_not_claimed_where_nobody_answers(hub: HubServer, publish) -> None:
    hub.put("models", "me/small", {".gitattributes": b""}, private=True)
    hub.fail("POST", "/commit/", times=100)
    hub.fail("GET", "/api/models/me/small", times=100, skip=1)
    done = publish()
    assert done.code == 1 and "whether files arrived is unknown" in done.errors[0]


def test_files_that_the_repository_ignores_are_missed(hub: HubServer, publish, monkeypatch) -> None:
    import hub_server

    preupload = hub_server.Handler._json

    def ignoring(self, value, *arguments, **headers):
        for entry in value.get("files", []) if isinstance(value, dict) else []:
            entry["shouldIgnore"] = entry["path"] == "tokenizer.json"
        return preupload(self, value, *arguments, **headers)

    monkeypatch.setattr(hub_server.Handler, "_json", ignoring)
    done = publish()
    assert done.code == 1 and "tokenizer.json did not arrive" in done.errors[0]


def test_metadata_that_the_hub_refuses(hub: HubServer, publish) -> None:
    done = publish("--license", "no-such-licence")
    assert done.code == 2 and "refuses the card" in done.errors[0] and '"license" must be one of' in done.errors[0]
    assert hub.repos == {}


def test_a_file_that_holds_the_token_is_not_sent(hub: HubServer) -> None:
    with pytest.raises(InputError, match=r"notes\.txt: contains the token") as caught:
        upload("me/small", {"notes.txt": f"my {CANARY}".encode()}, token=CANARY, message="m")
    assert CANARY not in str(caught.value) and hub.requests == []


def test_the_token_is_found_in_binary_files_too(hub: HubServer, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(256)) * 5_000 + CANARY.encode() + bytes(7))
    with pytest.raises(InputError, match=r"model\.safetensors: contains the token"):
        upload("me/small", {path.name: path}, token=CANARY, message="m")
    assert hub.requests == []


def test_no_hub_to_reach(hub: HubServer) -> None:
    hub.shutdown()
    hub.server_close()
    with pytest.raises(InputError, match="cannot be reached"):
        check_access("me/small", CANARY, flag="--repo-id")
    with pytest.raises(RunError, match="whether files arrived is unknown"):
        upload("me/small", {"a.txt": b"a"}, token=CANARY, message="m")
