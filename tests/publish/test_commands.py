"""Whole commands, each a process of its own, whose client knows the Hub by its environment alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from conftest import CANARY
from hub_content import put_defaults
from hub_server import HubServer, serving
from huggingface_hub import ModelCard
from labelled_rows import prose
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zskd.tasks.task import DEFAULT_STUDENT, TASKS
from zskd.text.shaping import INPUTS_PER_SENTENCE

OLD_LAYOUT = {"config.json", "pytorch_model.bin", "vocab.txt"}
SENTENCES = 240  # little enough that the pool of the default, which the text limits, takes seconds


@pytest.fixture
def stocked(teacher_folder: Path) -> Iterator[HubServer]:
    """A Hub with the default models and data; `CANARY` is the token of the user ``me``."""
    with serving() as server:
        server.tokens = {CANARY: "me"}
        put_defaults(server, teacher_folder, prose(SENTENCES, seed=4))
        yield server


def zskd(server: HubServer, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`zskd ARGUMENTS` in `folder`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    root = str(Path(__file__).parents[2])
    environment |= {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": CANARY,
        "ZSKD_CACHE": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", "zskd", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert CANARY not in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert server.leaks == []
    for path in folder.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    return done


def check_default_run(server: HubServer, run: Path) -> dict:
    """A finished run of the Hub default, with everything read from the Hub at the commits that it has."""
    metrics = json.loads((run / "metrics.json").read_text())
    record = json.loads((run / "record.json").read_text())
    commits = {name: repo.commits[0].oid for (_, name), repo in server.repos.items()}
    assert metrics["teacher"]["name"] == TASKS["sst2"].teacher
    assert metrics["teacher"]["revision"] == commits[TASKS["sst2"].teacher]
    assert record["student"]["revision"] == commits[DEFAULT_STUDENT]
    assert record["corpus"]["sources"] == {"Salesforce/wikitext:wikitext-103-raw-v1": commits["Salesforce/wikitext"]}
    assert record["corpus"]["sentences"] == SENTENCES
    # LABEL_i in the task's order, and old layer norms that arrived: at random this teacher would be at 0.5.
    assert metrics["teacher"]["scores"]["probe"]["accuracy"] > 0.8
    assert metrics["teacher"]["scores"]["glue"]["rows"] == 60
    assert metrics["zero_shot"]["read_after_training"] == ["probe", "glue"]
    student = AutoModelForSequenceClassification.from_pretrained(run / "student")
    assert student.config.model_type == "bert" and student.config.id2label == {0: "negative", 1: "positive"}
    return metrics


def test_distill_from_the_hub_and_publish_there(stocked: HubServer, tmp_path: Path) -> None:
    small = ["--pool-size", "640", "--heldout", "64", "--epochs", "1", "--checkpoints", "2"]
    done = zskd(stocked, tmp_path, "distill", "--task", "sst2", *small, "--publish", "me/sst2-mini")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "sst2-0"
    metrics = check_default_run(stocked, run)
    repo = stocked.repos["models", "me/sst2-mini"]
    assert repo.private and len(repo.commits) == 2 and f"/commit/{repo.head.oid}" in done.stdout
    card = ModelCard(repo.head.files["README.md"].decode())
    assert card.data.base_model == DEFAULT_STUDENT and card.data.datasets == ["Salesforce/wikitext"]
    glue = next(result for result in card.data.eval_results if result.dataset_type == "nyu-mll/glue")
    assert glue.metric_value == metrics["student"]["scores"]["glue"]["accuracy"]
    assert "zskd distill --task sst2 --teacher-revision" in card.text and str(tmp_path) not in card.text
    # Published again by the verb, from a process of its own: nothing new, and no second commit.
    again = zskd(stocked, tmp_path, "publish", "runs/sst2-0", "--repo-id", "me/sst2-mini")
    assert again.returncode == 0 and len(repo.commits) == 2, again.stderr


def test_publishing_that_fails_after_the_run_keeps_the_run(cli, config_for, hub: HubServer) -> None:
    from conftest import as_flags

    config = config_for("sst2")
    hub.fail("POST", "/commit/", status=403, message="no")
    done = cli("distill", *as_flags(config), "--publish", "me/small")
    assert done.code == 1 and "nothing arrived" in done.errors[0] and "agreement" in done.out
    assert f"`zskd publish {config.output_dir} --repo-id me/small` publishes it" in done.errors[0]
    assert cli("publish", config.output_dir, "--repo-id", "me/small").code == 0
    assert CANARY not in done.out + done.err


def test_distill_asks_whose_token_it_is_before_it_starts(cli, hub: HubServer, tiny_config, monkeypatch) -> None:
    from conftest import as_flags

    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    done = cli("distill", *as_flags(tiny_config), "--publish", "me/small")
    assert done.code == 2 and "--publish me/small: the Hub does not accept the token" in done.errors[0]
    assert "hf_nobody" not in done.out + done.err and not Path(str(tiny_config.output_dir)).exists()


def test_the_exact_default_command(stocked: HubServer, tmp_path: Path) -> None:
    done = zskd(stocked, tmp_path, "distill", "--task", "sst2")
    assert done.returncode == 0, done.stderr
    metrics = check_default_run(stocked, tmp_path / "runs" / "sst2-0")
    options = yaml.safe_load((tmp_path / "runs" / "sst2-0" / "config.yaml").read_text())
    assert options["pool_size"] == 270_000 and (options["epochs"], options["batch_size"]) == (3.0, 32)
    inputs = INPUTS_PER_SENTENCE * SENTENCES
    assert f"{inputs} inputs instead of --pool-size 270000" in done.stderr
    assert metrics["transfer_set"]["texts"] == inputs and metrics["steps"] == 3 * inputs // 32
    # What was asked for, and that nothing was there in a newer layout.
    for name in (TASKS["sst2"].teacher, DEFAULT_STUDENT):
        asked = {path.rpartition("/")[2]: status for _, path, status in stocked.requests if f"{name}/resolve" in path}
        assert {file for file, status in asked.items() if status != 404} == OLD_LAYOUT
        assert asked["model.safetensors"] == asked["tokenizer.json"] == asked["tokenizer_config.json"] == 404
    data = [path for _, path, status in stocked.requests if path.endswith(".parquet") and status == 302]
    assert {path.split("/")[-2] for path in data} == {"wikitext-103-raw-v1", "sst2"}


def test_bits_of_a_repository_in_the_old_layout(hub: HubServer, teacher_folder: Path) -> None:
    put_defaults(hub, teacher_folder, prose(30))
    logits = []
    for name in (str(teacher_folder), TASKS["sst2"].teacher):
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForSequenceClassification.from_pretrained(name).eval()
        with torch.no_grad():
            logits.append(model(**tokenizer(["a fine film", "dull"], padding=True, return_tensors="pt")).logits)
    assert torch.equal(*logits)
