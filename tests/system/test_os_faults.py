"""Faults of the machine are found in what libraries raise, and nothing else is taken for one."""

from __future__ import annotations

import errno
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

import zskd
from zskd.system.files import replacing
from zskd.system.os_faults import Fault, find_fault, keeping, writing

FULL = "I/O error: No space left on device (os error 28)"


def raised_from(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


def raised_during(outer: Exception, inner: Exception) -> Exception:
    outer.__context__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "x"), errno.ENOSPC),
        (OSError(errno.EDQUOT, "x"), errno.EDQUOT),
        (OSError(errno.EROFS, "x"), errno.EROFS),
        (OSError(errno.EIO, "x"), errno.EIO),
        (PermissionError(errno.EACCES, "x"), errno.EACCES),
        (SafetensorError(FULL), errno.ENOSPC),
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), errno.EFBIG),
        (Exception("Read-only file system (os error 30)"), errno.EROFS),
        (OSError("[Errno 27] Error writing bytes to file. Detail: [errno 27] File too large"), errno.EFBIG),
        (pa.ArrowInvalid("iostream error"), errno.ENOSPC),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), errno.ENOSPC),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), errno.ENOSPC),
        (RuntimeError("Parent directory run/checkpoints does not exist."), errno.ENOENT),
        (MemoryError(), errno.ENOMEM),
        (pa.ArrowMemoryError("malloc of size 64 failed"), errno.ENOMEM),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), errno.ENOMEM),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate"),
            errno.ENOMEM,
        ),
        (RuntimeError("can't start new thread"), errno.EAGAIN),
        (raised_from(ValueError("the model does not load"), OSError(errno.EMFILE, "x")), errno.EMFILE),
        (raised_during(RuntimeError("could not close"), OSError(errno.ENOSPC, "x")), errno.ENOSPC),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), errno.ENOSPC),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_fault_is_found_in_what_a_library_raises(error: Exception, number: int) -> None:
    found = find_fault(error)
    assert found is not None and found.number == number and found.reason


@pytest.mark.parametrize(
    "error",
    [
        KeyError("No space left on device"),
        TypeError("unsupported operand"),
        AssertionError("out of memory"),
        ValueError("expected 3, found 4 (os error 28)"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory"),
        OSError("Can't load the configuration of 'x'"),
        # What was handled before something else went wrong is not its cause.
        raised_during(KeyError("epochs"), FileNotFoundError(errno.ENOENT, "x", "y")),
        raised_during(AttributeError("no attribute"), OSError(errno.ENOSPC, "x")),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_a_programming_error_is_none(error: Exception) -> None:
    assert find_fault(error) is None


def test_an_error_that_was_raised_while_a_file_was_missed_is_no_fault_of_the_machine() -> None:
    missed = FileNotFoundError(errno.ENOENT, "No such file or directory", "/no/such/cache")
    assert find_fault(raised_during(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), missed)) is None
    missing = Path(zskd.__file__).with_name("assets") / "typo.jinja"
    with pytest.raises(FileNotFoundError) as raised:
        missing.read_bytes()
    assert find_fault(raised.value) is None


def test_no_file_is_named_where_memory_is_lacking(tmp_path: Path) -> None:
    with pytest.raises(MemoryError) as raised, writing(tmp_path / "checkpoints"):
        raise MemoryError
    found = find_fault(raised.value)
    assert found is not None and found.path is None and found.memory


def test_the_file_is_named_where_a_library_does_not_say_it(tmp_path: Path) -> None:
    target, other = tmp_path / "student", tmp_path / "corpus.txt"

    def found(error: Exception) -> Fault:
        with pytest.raises(type(error)) as caught, replacing(target):
            raise error
        fault = find_fault(caught.value)
        assert fault is not None
        return fault

    hidden = str(tmp_path / ".student.abc.part" / "student")
    for error in (SafetensorError(FULL), OSError(errno.ENOSPC, "x", hidden)):
        assert (found(error).path, found(error).writing) == (str(target), True)
    read = found(PermissionError(errno.EACCES, "x", str(other)))
    assert (read.path, read.writing) == (str(other), False), "read while something else was written"
    assert found(SafetensorError(FULL)).shown == f"{target}: no space left on the disk"
    long = find_fault(OSError(errno.ENAMETOOLONG, "x", "n" * 5_000))
    assert long is not None and len(long.shown) < 400


def test_notes_stand_on_faults_alone_and_say_what_is_kept(tmp_path: Path) -> None:
    with pytest.raises(OSError) as full, keeping("the teacher is kept"), writing(tmp_path):
        raise OSError(errno.ENOSPC, "x")
    fault = find_fault(full.value)
    assert fault is not None and (fault.kept, fault.path) == ("the teacher is kept", str(tmp_path))
    with pytest.raises(KeyError) as wrong, keeping("the teacher is kept"), writing(tmp_path):
        raise KeyError("x")
    assert not hasattr(wrong.value, "__notes__")


def write_batches(path: Path) -> None:
    schema = pa.schema([("a", pa.int64())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for _ in range(9):
            writer.write_batch(pa.record_batch([pa.array(range(4_096))], schema=schema))


@pytest.mark.parametrize(
    "write",
    [
        write_batches,
        lambda path: save_file({"a": torch.zeros(9_000)}, path),
        lambda path: torch.save({"a": torch.zeros(9_000)}, path),
        lambda path: path.write_text("x" * 99_999, encoding="utf-8"),
        lambda path: shutil.copyfile(sys.executable, path),
    ],
    ids=["arrow", "safetensors", "torch", "text", "copy"],
)
def test_what_writers_raise_at_a_limit_is_a_fault(write: Callable[[Path], None], tmp_path: Path) -> None:
    """The libraries' present texts, which no list above would notice to have changed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, before[1]))
    try:
        with pytest.raises(Exception) as caught:
            write(tmp_path / "file")
        fault = find_fault(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert fault is not None and fault.number == errno.EFBIG


def test_a_tokenizer_that_cannot_be_saved_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="os error") as caught:
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "no" / "tokenizer.json"))
    fault = find_fault(caught.value)
    assert fault is not None and fault.number == errno.ENOENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_device_is_a_fault() -> None:
    with pytest.raises(OSError) as caught, Path("/dev/full").open("w", encoding="utf-8") as file:
        file.write("x")
        file.flush()
    fault = find_fault(caught.value)
    assert fault is not None and fault.number == errno.ENOSPC
