"""The campaign of faults: one case of each kind, and that it finds what is planted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.checkouts import ROOT
from recipes.faults.__main__ import draw
from recipes.faults.case import Case, complaints, errors
from recipes.faults.commands import Done
from recipes.faults.kinds import KINDS


def ended(code: int, err: str = "", out: str = "", *, hung: bool = False) -> Done:
    return Done(code, out, err, 1.0, hung)


def test_what_is_unclean_is_found() -> None:
    error = "zskd: error: --seed x: expected a number"
    assert complaints(ended(0), {0}) == [] and complaints(ended(2, error), {2}, mentions="--seed") == []
    assert "expected exit code 0, found 2" in complaints(ended(2, error), {0})[0]
    assert "a traceback" in complaints(ended(0, "Traceback (most recent call last):\n  File"), {0})[0]
    assert "without an error line" in complaints(ended(2, "what?"), {2})[0]
    assert "with an error line" in complaints(ended(0, error), {0})[0]
    assert "characters" in complaints(ended(2, error + "9" * 5000), {2})[0]
    assert "names --teacher" in complaints(ended(2, error), {2}, mentions="--teacher")[0]
    assert "hangs" in complaints(ended(-9, hung=True), {0})[0]
    assert errors(ended(2, f"a log line\n{error}")) == ["--seed x: expected a number"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_seed_names_the_cases(kind: object) -> None:
    names = [case.name for case in kind.cases(0)]
    assert names == [case.name for case in kind.cases(0)]
    assert names != [case.name for case in kind.cases(1)]


def test_a_third_is_drawn() -> None:
    class Drawn:
        name, count = "drawn", 10

        def cases(self, seed: int) -> list[Case]:
            return [Case(f"{seed} {number}", lambda world, scratch: []) for number in range(10)]

    def names(seed: int, **how: object) -> list[str]:
        asked = {"everything": False, "each": None, "only": None} | how
        return [case.name for case in draw(Drawn(), seed, **asked)]

    assert len(names(0)) == 4 and names(0) == names(0) and len(names(0, each=1)) == 1
    assert len(names(0, everything=True)) == 10
    assert names(0, only="0 7") == ["0 7"]
    assert [int(name[2:]) for name in names(0)] != [int(name[2:]) for name in names(1)]


def test_one_case_of_each_kind_is_clean(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recipes.faults", "--each", "1", "--jobs", "1", "--seed", "0"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in KINDS:
        assert any(line.startswith(kind.title) for line in done.stdout.splitlines()), kind
