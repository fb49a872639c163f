"""An adversarial run that is killed and resumed equals the uninterrupted one bit for bit, wherever it is killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_resume import SCRIPT, student, unexplained

from zskd.config.distillation import DistillConfig
from zskd.config.resolve import to_dict
from zskd.pipeline import distill
from zskd.system.files import sha256_file

STEPS, EVERY, START = 40, 5, 20  # of the whole run, between checkpoints, of the adversary
_draw = random.Random(0)
MOMENTS = [
    *(f"step {step}, before the adversary" for step in sorted(_draw.sample(range(EVERY + 1, START), 3))),
    *(f"step {step}, with the adversary" for step in sorted(_draw.sample(range(START + 1, STEPS), 3))),
    "save 30, before the checkpoint's state is written",
]
ORDINARY = MOMENTS[4]  # the one of the ordinary tests


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, corpus_file: Path, shared_cache: Path
) -> DistillConfig:
    """An uninterrupted run."""
    config = DistillConfig(
        task="sst2", teacher=str(teacher_folder), compression=2.0, corpus=[str(corpus_file)], pool_size=640, heldout=64,
        max_length=32, epochs=2.0, batch_size=32, checkpoints=STEPS // EVERY, learning_rate=0.01, precision="fp32",
        perturb="adversarial", adversarial_start=START / STEPS, generator_warmup=4, generator_steps=2, student_steps=4,
        fresh_share=0.25,
        cache_dir=str(shared_cache), output_dir=str(tmp_path_factory.mktemp("whole") / "run"),
        max_class_share=1.0,  # the teacher is random
    )  # fmt: skip
    assert distill(config).metrics["steps"] == STEPS
    return config


def left(run: Path) -> dict[str, str]:
    """SHA-256 of all that the last checkpoint holds of weights, optimizers, buffer and random state."""
    last = run / "checkpoints" / f"checkpoint-{STEPS}"
    names = ["model.safetensors", "optimizer.pt", "scheduler.pt", "adversary/generator/model.safetensors"]
    names += ["adversary/optimizer.pt", "adversary/replay.safetensors", "adversary/hard.safetensors"]
    names += ["adversary/state.json"]
    found = {name: sha256_file(last / name) for name in names}
    state = torch.load(last / "rng_state.pth", weights_only=False)
    return {**found, "random": repr(state["python"]), "random of torch": state["cpu"].numpy().tobytes().hex()}


@pytest.mark.parametrize("moment", [m if m == ORDINARY else pytest.param(m, marks=pytest.mark.slow) for m in MOMENTS])
def test_killed_and_resumed(moment: str, whole: DistillConfig, tmp_path: Path) -> None:
    config = replace(whole, output_dir=str(tmp_path / "run"))
    todo = json.dumps({moment: to_dict(config)})
    subprocess.run([sys.executable, "-c", SCRIPT], input=todo, text=True, capture_output=True, check=True)
    assert not (tmp_path / "run" / "metrics.json").exists()
    metrics = distill(replace(config, resume=True)).metrics
    step = int(moment.split(",")[0].split()[1])
    assert 0 < metrics["resumed_from"] <= step and step - metrics["resumed_from"] <= EVERY
    assert student(tmp_path / "run") == student(whole.output_dir)
    assert left(tmp_path / "run") == left(Path(str(whole.output_dir)))
    first, second = (Path(str(c.output_dir)) / "adversarial.json" for c in (config, whole))
    assert first.read_text() == second.read_text()
    assert unexplained(config.output_dir, whole.output_dir) == set()
