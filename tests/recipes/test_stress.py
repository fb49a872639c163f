"""The table of the stress test: losses are against the usual teacher's student of the same objective."""

from __future__ import annotations

import json
from pathlib import Path

from recipes.stress import OBJECTIVES, USUAL, table


def test_a_loss_is_against_the_student_of_the_usual_teacher(tmp_path: Path) -> None:
    cells = {(USUAL, "kd"): 0.8, (USUAL, "hard-label"): 0.75}
    cells |= {("weight-0.1", "kd"): 0.6, ("weight-0.1", "hard-label"): 0.74}
    for (name, objective), accuracy in cells.items():
        own = {"probe": {"accuracy": 0.1}, "glue": {"accuracy": accuracy}}
        cell = {"settings": {"objective": objective}, "student": {"scores": own}, "agreement": 0.9,
                "teacher": {"scores": {"glue": {"accuracy": 0.85}}}}  # fmt: skip
        path = tmp_path / name / f"topics5-{objective}-0.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(cell), encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in table(tmp_path).splitlines()[2:]]
    found = {(row[0], row[2]): (row[1], row[4]) for row in rows}
    assert found[("weight-0.1", "kd")] == ("85.0", "-20.0") and found[("weight-0.1", "hard-label")] == ("85.0", "-1.0")
    assert found[(USUAL, "kd")][1] == "+0.0" and set(OBJECTIVES) == {"kd", "kd-topk", "hard-label"}
