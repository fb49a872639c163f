"""The private names of Trainer that zskd overrides: each is there and is called, and no import changes a library."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import accelerate.optimizer
import pytest
from accelerate.optimizer import AcceleratedOptimizer
from test_trainer import rows, trainer
from transformers import Trainer
from transformers.trainer_utils import IntervalStrategy

from zskd import ZeroShotTrainer
from zskd.training.private import NAMES, PrivateTrainer, asked_once


def test_the_list_names_what_is_overridden() -> None:
    own = {name for name, value in vars(PrivateTrainer).items() if callable(value) and hasattr(Trainer, name)}
    assert own == set(NAMES)
    assert not [
        name
        for name in vars(ZeroShotTrainer)
        if name.startswith("_") and hasattr(Trainer, name) and not name.startswith("__")
    ]


def test_every_name_is_called_by_trainer(tmp_path: Path) -> None:
    called: set[str] = set()

    def noting(name: str) -> Any:
        whole = getattr(PrivateTrainer, name)

        @functools.wraps(whole)
        def note(self: Any, *args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return whole(self, *args, **kwargs)

        return note

    spy = type("Spy", (ZeroShotTrainer,), {name: noting(name) for name in NAMES})
    settings: dict[str, Any] = {
        "max_steps": 4, "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "per_device_train_batch_size": 8,
    }  # fmt: skip
    for resume in (None, str(tmp_path / "checkpoint-2")):
        made = trainer(tmp_path, rows(32), cls=spy, **settings)
        made.args.save_strategy, made.args.load_best_model_at_end = IntervalStrategy.STEPS, True
        made.args.metric_for_best_model = "loss"
        made.train(resume_from_checkpoint=resume)
    assert called == set(NAMES)


def test_no_library_is_changed_by_an_import() -> None:
    code = (
        "import accelerate.optimizer as o, transformers; before = o.is_lomo_available, transformers.Trainer.train\n"
        "import zskd.training.trainer, zskd.pipeline\n"
        "assert (o.is_lomo_available, transformers.Trainer.train) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_accelerate_looks_for_a_package_once_while_training_and_not_in_every_step() -> None:
    """`accelerate` asks by this name; one that it renames would be as slow as before, without a word."""
    assert "is_lomo_available()" in inspect.getsource(AcceleratedOptimizer.step)
    before = accelerate.optimizer.is_lomo_available
    with pytest.raises(ZeroDivisionError), asked_once():
        assert accelerate.optimizer.is_lomo_available.cache_info().maxsize is None
        assert bool(accelerate.optimizer.is_lomo_available()) == (importlib.util.find_spec("lomo_optim") is not None)
        raise ZeroDivisionError
    assert accelerate.optimizer.is_lomo_available is before
