"""The kind of machine: what it says, where it is kept, and when a checkpoint comes from another one."""

from __future__ import annotations

import json
import logging
import platform
from pathlib import Path

import pytest
import torch

from zskd.system.machine import FILE, cpu_flags, machine, processor, warn_of_another_machine, write_machine


def test_the_machine_says_what_decides_bits() -> None:
    found = machine()
    assert set(found) == {"cpu", "avx512_bf16", "amx", "threads", "gpu"}
    assert found["threads"] == torch.get_num_threads() and found["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert json.loads(json.dumps(found)) == found


def test_a_flag_that_this_pytorch_cannot_tell_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert cpu_flags()["amx"] is True
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert cpu_flags()["amx"] is False


def test_the_processor_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor()

    def cpuinfo(text: str | None) -> None:
        def read(*_: object, **__: object) -> str:
            if text is None:
                raise FileNotFoundError
            return text

        monkeypatch.setattr(Path, "read_text", read)

    cpuinfo("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\nmodel name\t: Another\n")
    assert processor() == "Some CPU: 3 GHz"
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for nameless in ("processor\t: 0\nmodel name\t: \n", None):
        cpuinfo(nameless)
        assert processor() == "aarch64"


def test_nothing_is_said_on_the_same_machine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_machine(tmp_path)
    with caplog.at_level(logging.INFO):
        warn_of_another_machine(tmp_path)
    assert caplog.text == ""


def test_what_differs_is_named_and_only_that(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    here = machine()
    there = {**here, "amx": not here["amx"], "threads": here["threads"] + 2}
    (tmp_path / FILE).write_text(json.dumps(there), encoding="utf-8")
    warn_of_another_machine(tmp_path)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and str(tmp_path) in caplog.text
    assert f"amx {there['amx']} there, {here['amx']} here" in caplog.text
    assert f"threads {there['threads']} there, {here['threads']} here" in caplog.text
    assert "avx512_bf16" not in caplog.text and "cpu " not in caplog.text


@pytest.mark.parametrize("content", [None, "{}"], ids=["none", "of another version"])
def test_an_older_checkpoint_is_taken_as_it_is(
    content: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content, encoding="utf-8")
    warn_of_another_machine(tmp_path)
    assert caplog.text == ""


@pytest.mark.parametrize("content", ["{", "7", "\0"])
def test_a_damaged_file_is_said_and_stops_nothing(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(content, encoding="utf-8")
    warn_of_another_machine(tmp_path)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] and FILE in caplog.text
