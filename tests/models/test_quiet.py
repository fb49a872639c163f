"""Standard output stays for results: bars and tables of the libraries below are off, and come back."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import pytest
from conftest import tiny_bert
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments
from transformers.utils import logging as transformers_logging

from zskd.models.quiet import StepBar, keep_stdout_clean, quiet_transformers


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("fails", [False, True])
def test_the_library_speaks_again_whatever_happened(fails: bool) -> None:
    before = transformers_logging.get_verbosity()
    try:
        with quiet_transformers():
            assert transformers_logging.get_verbosity() == transformers_logging.ERROR
            assert not transformers_logging.is_progress_bar_enabled()
            warnings.warn("a library's notice", FutureWarning, stacklevel=1)  # an error here, unless it is ignored
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert transformers_logging.get_verbosity() == before and transformers_logging.is_progress_bar_enabled()


@pytest.mark.parametrize("hidden", [True, False], ids=["no bar", "bar"])
def test_a_trainer_prints_nothing_to_standard_output(
    hidden: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(logging.getLogger("zskd"), "level", logging.INFO)
    settings = TrainingArguments(
        str(tmp_path), max_steps=2, logging_steps=1, report_to="none", save_strategy="no", use_cpu=True,
        disable_tqdm=hidden,
    )  # fmt: skip
    rows = [{"input_ids": [2, 5, 3], "labels": i % 2} for i in range(16)]
    trainer = Trainer(tiny_bert(20, ("a", "b"), hidden=8), settings, train_dataset=rows)
    keep_stdout_clean(trainer)
    kinds = [type(callback) for callback in trainer.callback_handler.callbacks]
    assert PrinterCallback not in kinds and ProgressCallback not in kinds
    assert kinds.count(StepBar) == (not hidden)
    trainer.train()
    found = capsys.readouterr()
    assert found.out == ""
    assert ("training: " in found.err and "/2 [" in found.err) == (not hidden)
