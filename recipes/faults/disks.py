"""Disks that are full or read-only, limits on files, and files that may not be read, for every verb.

A case that needs a disk of its own mounts one in a mount namespace of its own, which ends with the case. The disk has a
drawn share of the room that the undisturbed run took, so that it fills at a drawn moment.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from recipes.faults.case import Case, NotTried, complaints, errors, leftovers
from recipes.faults.commands import Done, run, start
from recipes.faults.world import RUNS, World
from zskd.system.files import folder_size

ROOM = 400 << 20  # bytes, more than any case needs
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS = 0x20000  # CLONE_NEWNS of unshare(2)
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4_096, 16_384, 1 << 18  # MS_... of mount(2)


def cases(count: int, rng: random.Random) -> list[Case]:
    """Drawn cases, of every kind in turn."""
    found: dict[str, Case] = {}
    while len(found) < count:
        case = _KINDS[len(found) % len(_KINDS)](rng)
        found.setdefault(case.name, case)
    return list(found.values())


def _full_run(rng: random.Random) -> Case:
    """The run's disk fills while it trains; after some space was freed it goes on."""
    name, share = rng.choice(RUNS), rng.uniform(0.01, 0.95)

    def tried(world: World, scratch: Path) -> list[str]:
        disk = _disk(scratch / "disk", int(share * folder_size(world.run(name))))
        cache = _copy(world.cache, scratch / "cache")
        return _again(world, name, scratch, disk / "run", cache, lambda: _grow(disk), names=disk)

    return Case(f"{name}, the run's disk holds {share:.4f} of it", tried)


def _full_cache(rng: random.Random) -> Case:
    name, share = rng.choice(RUNS), rng.uniform(0.01, 0.95)

    def tried(world: World, scratch: Path) -> list[str]:
        disk = _disk(scratch / "disk", int(share * folder_size(world.cache)))
        return _again(world, name, scratch, scratch / "run", disk / "cache", lambda: _grow(disk), names=disk)

    return Case(f"{name}, the cache's disk holds {share:.4f} of it", tried)


def _few_files(rng: random.Random) -> Case:
    name, most = rng.choice(RUNS), rng.randint(2, 60)

    def tried(world: World, scratch: Path) -> list[str]:
        disk = _disk(scratch / "disk", ROOM, files=most)
        cache = _copy(world.cache, scratch / "cache")
        return _again(world, name, scratch, disk / "run", cache, lambda: _grow(disk), names=disk)

    return Case(f"{name}, room for {most} files", tried)


def _limited(rng: random.Random) -> Case:
    """``ulimit -f``."""
    name, most = rng.choice(RUNS), int(2 ** rng.uniform(12, 19))

    def tried(world: World, scratch: Path) -> list[str]:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        return _again(world, name, scratch, scratch / "run", scratch / "cache", lambda: None, names=scratch, at=limit)

    return Case(f"{name}, files of at most {most} bytes", tried)


def _open_files(rng: random.Random) -> Case:
    name, most = rng.choice(RUNS), rng.randint(5, 40)

    def tried(world: World, scratch: Path) -> list[str]:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        return _again(world, name, scratch, scratch / "run", scratch / "cache", lambda: None, at=limit)

    return Case(f"{name}, at most {most} open files", tried)


def _read_only_meanwhile(rng: random.Random) -> Case:
    """The disk turns read-only at a drawn moment, as one does that has an error."""
    name, share, what = rng.choice(RUNS), rng.uniform(0.05, 1.0), rng.choice(("run", "cache"))

    def tried(world: World, scratch: Path) -> list[str]:
        disk = _disk(scratch / "disk", ROOM)
        folders = {"run": scratch / "run", "cache": scratch / "cache", what: disk / what}
        process = start(scratch, *world.distill(name, folders["run"], folders["cache"], "--quiet"))
        until = share * world.seconds(name, warm=False)
        while not process.ended() and (process.seconds < until or not _remount(disk, _READ_ONLY)):
            time.sleep(0.01)
        found = _ended(process.wait(), names=disk)
        _remount(disk, 0)
        return found + _resumed(world, name, scratch, folders["run"], folders["cache"])

    return Case(f"{name}, the disk of the {what} is read-only after {share:.3f} of the time", tried)


def _removed_meanwhile(rng: random.Random) -> Case:
    name, share = rng.choice(RUNS), rng.uniform(0.05, 1.0)

    def tried(world: World, scratch: Path) -> list[str]:
        output, cache = scratch / "run", scratch / "cache"
        process = start(scratch, *world.distill(name, output, cache, "--quiet"))
        while not process.ended() and process.seconds < share * world.seconds(name, warm=False):
            time.sleep(0.01)
        shutil.rmtree(cache, ignore_errors=True)
        return _ended(process.wait()) + _resumed(world, name, scratch, output, cache)

    return Case(f"{name}, the cache is removed after {share:.3f} of the time", tried)


def _read_only(rng: random.Random) -> Case:
    """Read-only from the start: a warm cache will do, and nothing else."""
    name, what = rng.choice(RUNS), rng.choice(("run", "cold cache", "warm cache"))
    more = rng.choice(((), ("--checkpoints", rng.randint(1, 9)), ("--seed", rng.randint(1, 99))))
    more = () if what == "warm cache" else more  # another run would lack something in it

    def tried(world: World, scratch: Path) -> list[str]:
        _own_mounts()
        disk = _disk(scratch / "disk", ROOM)
        output = disk / "run" if what == "run" else scratch / "run"
        cache = disk / "cache" if what == "cold cache" else _copy(world.cache, disk / "warm")
        _remount(disk, _READ_ONLY)
        done = run(scratch, *world.distill(name, output, cache, "--quiet", *more))
        if what == "warm cache":
            return complaints(done, {0}) + world.differences(name, output)
        return complaints(done, {2}, mentions="--output-dir" if what == "run" else "--cache-dir")

    return Case(f"{name}, read-only {what} {' '.join(map(str, more))}".rstrip(), tried)


def _full_teacher(rng: random.Random) -> Case:
    size = int(2 ** rng.uniform(12, 17))

    def tried(world: World, scratch: Path) -> list[str]:
        disk = _disk(scratch / "disk", size)
        cache = _copy(world.cache, scratch / "cache")
        arguments = world.finetune(disk / "teacher", cache, "--quiet")
        found = _ended(run(scratch, *arguments), names=disk)
        _grow(disk)
        found += complaints(run(scratch, *arguments, "--resume"), {0})
        return found + leftovers(disk) + [f"left behind: {path}" for path in disk.glob(".*.training")]

    return Case(f"finetune, a disk of {size} bytes", tried)


def _full_answers(rng: random.Random) -> Case:
    size, lines = rng.randint(1, 5) * 4_096, rng.randint(1_000, 3_000)
    how = rng.choice(("file", "link", "standard output"))

    def tried(world: World, scratch: Path) -> list[str]:
        disk, text = _disk(scratch / "disk", size), world.lines.read_text(encoding="utf-8").splitlines()
        asked = scratch / "lines.txt"
        asked.write_text("".join(f"{text[i % len(text)]}\n" for i in range(lines)), encoding="utf-8")
        output = disk / "answers"
        if how == "link":
            (scratch / "link").symlink_to(output)
            output = scratch / "link"

        def to_disk() -> None:
            if how == "standard output":
                os.dup2(os.open(disk / "answers", os.O_WRONLY | os.O_CREAT, 0o644), 1)

        arguments = ["predict", "--model", world.teacher, "--input", asked]
        arguments += [] if how == "standard output" else ["--output", output]
        found = complaints(done := run(scratch, *arguments, prepare=to_disk), {1}, mentions="no space left")
        found += _advice(done, resume=False)
        _grow(disk)
        found += complaints(run(scratch, *arguments, prepare=to_disk), {0})
        wanted = run(scratch, *arguments[:5])
        if (disk / "answers").read_text(encoding="utf-8") != wanted.out:
            found.append("the answers on the disk differ from those on standard output")
        return found + leftovers(disk)

    return Case(f"predict, {lines} lines to a {how} on a disk of {size} bytes", tried)


def _full_after(rng: random.Random) -> Case:
    """What reads a finished run and writes into it, on a disk that has a few bytes left."""
    name, verb, left = rng.choice(RUNS), rng.choice(("report", "diagnose", "publish", "export")), rng.randint(0, 6)

    def tried(world: World, scratch: Path) -> list[str]:
        disk = _disk(scratch / "disk", ROOM)
        folder = _copy(world.run(name), disk / "run")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        _remount(disk, 0, size=_pages(disk) + left * 4_096)
        more = {
            "report": (), "diagnose": ("--texts", 64, "--cache-dir", scratch / "cache"),
            "publish": ("--repo-id", "me/mine", "--dry-run"), "export": ("--format", "onnx"),
        }[verb]  # fmt: skip
        done = run(scratch, verb, folder, *more, limit=110)
        found = complaints(done, {0, 1} if verb != "publish" else {0}, mentions=str(disk)) + _advice(done, resume=False)
        for path, content in before.items():
            if not path.is_file() or (path.read_bytes() != content and done.code):
                found.append(f"{path.relative_to(folder)} is not as it was")
        return found + leftovers(disk)

    return Case(f"{verb} of {name}, {left} pages left", tried)


def _unreadable(rng: random.Random) -> Case:
    """A drawn file or folder of a model or run may not be read."""
    verb, place = rng.choice(("predict", "evaluate", "distill", "diagnose", "report", "publish")), rng.random()

    def tried(world: World, scratch: Path) -> list[str]:
        of_run = verb in ("diagnose", "report", "publish")
        folder = _copy(world.run("random") if of_run else world.teacher, scratch / "given")
        paths = [folder, *sorted(folder.rglob("*"))]
        chosen = paths[int(place * len(paths))]
        chosen.chmod(0)
        arguments = {
            "predict": ["predict", "--model", folder, "--input", world.lines],
            "evaluate": ["evaluate", "--model", folder, "--task", "sst2", "--data", "probe"],
            "distill": world.distill("random", scratch / "run", scratch / "cache", "--teacher", folder),
            "diagnose": ["diagnose", folder, "--texts", 64, "--cache-dir", scratch / "cache"],
            "report": ["report", folder, "--output", scratch / "report.html"],
            "publish": ["publish", folder, "--repo-id", "me/mine", "--dry-run"],
        }[verb]
        done = run(scratch, *arguments, prepare=_without_rights)
        chosen.chmod(0o700)
        return complaints(done, {0, 2}, mentions=str(folder))

    return Case(f"{verb}, no permission at {place:.4f} of the folder", tried)


def _two_processes(rng: random.Random) -> Case:
    """One message, and not one of each process."""
    share = rng.uniform(0.01, 0.9)

    def tried(world: World, scratch: Path) -> list[str]:
        disk = _disk(scratch / "disk", int(share * folder_size(world.run("random"))))
        cache = _copy(world.cache, scratch / "cache")
        two = ("--num-processes", 2, "--quiet")
        done = run(scratch, *world.distill("random", disk / "run", cache, *two), limit=150)
        found = _ended(done, names=disk)
        _grow(disk)
        again = run(scratch, *world.distill("random", disk / "run", cache, "--resume", *two), limit=150)
        return found + complaints(again, {0}) + leftovers(disk, cache)

    return Case(f"two processes, the run's disk holds {share:.4f} of it", tried, limit=320)


Drawn = Callable[[random.Random], Case]
_KINDS: tuple[Drawn, ...] = (
    _full_run, _full_cache, _limited, _full_after, _read_only, _few_files, _full_teacher, _full_answers, _unreadable,
    _read_only_meanwhile, _removed_meanwhile, _open_files, _full_run, _full_after, _unreadable, _limited, _full_cache,
    _two_processes,
)  # fmt: skip


def _again(
    world: World,
    name: str,
    scratch: Path,
    output: Path,
    cache: Path,
    mend: Callable[[], None],
    *,
    names: Path | None = None,
    at: Callable[[], None] | None = None,
) -> list[str]:
    """A run that fails, or is done before it could, and the same one resumed after the fault was mended."""
    done = run(scratch, *world.distill(name, output, cache, "--quiet"), prepare=at)
    found = _ended(done, names=names)
    mend()
    return found + _resumed(world, name, scratch, output, cache)


def _ended(done: Done, *, names: Path | None = None, resume: bool = True) -> list[str]:
    found = complaints(done, {0, 1}, mentions=None if names is None else str(names)) + _advice(done, resume=resume)
    if len(errors(done)) > 1:
        found.append(f"expected one error line, found {len(errors(done))}: {errors(done)[-1]}")
    return found


def _advice(done: Done, *, resume: bool) -> list[str]:
    """``--resume`` is of `distill` and `finetune` alone, and of their messages every one names it."""
    return [
        f"expected {'an' if resume else 'no'} advice to resume, found: {line}"
        for line in errors(done)
        if ("--resume" in line) is not resume
    ]


def _resumed(world: World, name: str, scratch: Path, output: Path, cache: Path) -> list[str]:
    done = run(scratch, *world.distill(name, output, cache, "--resume"))
    return complaints(done, {0}) + world.differences(name, output) + leftovers(output, cache)


def _own_mounts() -> None:
    """From now on this process and those that it starts see their own mounts."""
    if _LIBC.unshare(_NEW_MOUNTS) or _LIBC.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None):
        raise NotTried(f"mounting is not permitted here: {os.strerror(ctypes.get_errno())}")


def _disk(folder: Path, size: int, *, files: int | None = None) -> Path:
    """A disk of its own, in memory, of `size` bytes and with room for so many `files`."""
    _own_mounts()
    folder.mkdir()
    options = f"size={max(4_096, size)},nr_inodes={files or 100_000}"
    if _LIBC.mount(b"disk", os.fsencode(folder), b"tmpfs", 0, options.encode()):
        raise NotTried(f"mounting is not permitted here: {os.strerror(ctypes.get_errno())}")
    return folder


def _grow(disk: Path) -> None:
    assert _remount(disk, 0), "the disk did not grow"


def _remount(disk: Path, flags: int, *, size: int = ROOM) -> bool:
    """Change a disk's size, or whether it is read-only; False while somebody writes there."""
    options = f"size={size},nr_inodes=100000"
    return not _LIBC.mount(None, os.fsencode(disk), None, _REMOUNT | flags, options.encode())


def _without_rights() -> None:
    """Hold root to the permissions of files (capabilities(7)); other users are anyway."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    header, data = Header(0x20080522, 0), (Data * 2)()
    if not hasattr(_LIBC, "capget") or _LIBC.capget(ctypes.byref(header), data):
        raise NotTried("rights cannot be given up here")
    data[0].effective &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if _LIBC.capset(ctypes.byref(header), data):
        raise NotTried("rights cannot be given up here")


def _copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def _pages(disk: Path) -> int:
    """Bytes that a disk holds, in whole pages."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
