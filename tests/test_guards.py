"""Faults of a model folder x verbs x what the folder is read as: refused with a reason, or read with the right value.

The table is complete: a combination is tried, or `senseless` says why there is nothing to try.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import faulty
import faulty_tokenizers
import pytest
from guarded import NO_SUCH_WAY, ROLES, TASK, VERBS, Seen, World, observe

Build = Callable[[Path], None]

KINDS: dict[str, Build] = {build.__name__: build for build in (*faulty.READ, *faulty.REFUSED, *faulty_tokenizers.ALL)}
# Faults of weights alone, which a masked language model can have as well as a classifier.
OF_ANY_MODEL = (
    faulty.compiled, faulty.parallel, faulty.compiled_parallel_bin, faulty.saved_twice, faulty.without_matrix,
    faulty.without_embeddings, faulty.deeper_config, faulty.shallower_config, faulty.narrower_config,
    faulty.another_base, faulty.unmerged, *faulty_tokenizers.ALL,
)  # fmt: skip
# Faults that config.json alone shows.
OF_OUTPUTS = (
    faulty.one_name_twice, faulty.numbered_from_one, faulty.names_too_many, faulty.contradicted, faulty.multi_label,
    faulty.regression, faulty.one_output, faulty.one_regressed, faulty.sigmoid, faulty.cross_encoder,
    faulty.token_classifier,
)  # fmt: skip
OF_ADAPTERS = [build for build in KINDS.values() if build.__name__.startswith("adapter")]
STARTS = {("distill", "student"), ("finetune", "base")}
RIGHT, NEW_HEAD = "right", "new head"


def senseless(build: Build, verb: str, role: str) -> str | None:
    """Why there is nothing to try; None where there is."""
    if reason := NO_SUCH_WAY.get((verb, role)):
        return reason
    if (verb, role) == ("finetune", "adapter"):
        if build in OF_ADAPTERS:
            return "an adapter of another rank is refused, whatever else is wrong: tests/models/test_adapters.py"
        return "`--adapter` gives matrices to another model; its base is read as (finetune, base)"
    if role == "adapter" and build in OF_ADAPTERS:
        return "an adapter on an adapter; as a whole folder it is read as (VERB, teacher)"
    if role == "generator" and build not in OF_ANY_MODEL:
        return "a masked language model has no head of classes"
    if verb == "publish" and build not in faulty.REFUSED:
        return "`publish` copies files and reads what config.json says, which is in order"
    if verb == "publish" and build not in OF_OUTPUTS:
        return "`publish` reads config.json and no weights: those of a run are the trained ones"
    if build in faulty.NEEDS_TASK and verb == "predict":
        return "without a task, a model's own names are as good as any"
    return None


def outcome(build: Build, verb: str, role: str) -> str:
    """`RIGHT`, `NEW_HEAD`, or a part of the message with which a combination is refused."""
    if build in faulty_tokenizers.REFUSED:
        return "to share one vocabulary" if role == "generator" else faulty_tokenizers.REFUSED[build]
    if build in faulty_tokenizers.READ:
        return RIGHT
    message = faulty.REFUSED.get(build, RIGHT).replace("negative", TASK.labels[0]).replace("positive", TASK.labels[1])
    if build in OF_ADAPTERS and (verb, role) in STARTS:
        return "found an adapter"
    if role == "generator":
        return message
    if (verb, role) in STARTS or role == "adapter":
        if build in faulty.NO_START:
            return message
        if role == "adapter":  # which has its own head and names
            return "found no weights for bert.pooler.dense" if build is faulty.without_pooler else RIGHT
        return NEW_HEAD if build in faulty.NEW_HEAD or build is faulty.without_pooler else RIGHT
    return message


TABLE = list(itertools.product(KINDS, VERBS, ROLES))
TRIED = [row for row in TABLE if senseless(KINDS[row[0]], *row[1:]) is None]


# Faults that every verb reads right in the ordinary suite; with the others `distill`, `finetune` and `export`, which
# take seconds, are tried in the slow one. What is refused is refused soon.
SEEN_THROUGH = ("segments_of_four", "compiled", "other_order")


def cost(kind: str, verb: str, role: str) -> list[pytest.MarkDecorator]:
    """Marks of a combination."""
    whole = verb in ("distill", "finetune", "export") and outcome(KINDS[kind], verb, role) in (RIGHT, NEW_HEAD)
    seen = SEEN_THROUGH if verb != "export" else SEEN_THROUGH[:1]
    return [pytest.mark.slow] if whole and kind not in seen else []


@pytest.fixture(scope="session")
def healthy(world: World) -> dict[tuple[str, str], Seen]:
    """What is seen of the healthy folders, filled as it is asked for."""
    return {}


def spoiled(build: Build, role: str, world: World, tmp_path: Path) -> Path:
    """A folder of a role with a fault. An adapter's fault is that of the model which it is on."""
    whole = role if role in ("student", "generator") else "teacher"
    folder = Path(shutil.copytree(world.folders[whole], tmp_path / "model"))
    if role == "adapter":
        build(folder)
        return world.adapter_on(folder, tmp_path / "adapter")
    build(folder)
    return folder


@pytest.mark.parametrize(("kind", "verb", "role"), [pytest.param(*row, marks=cost(*row)) for row in TRIED])
def test_guard(
    cli, world: World, healthy: dict[tuple[str, str], Seen], tmp_path: Path, kind: str, verb: str, role: str
) -> None:
    build, way = KINDS[kind], (verb, role)
    expected = outcome(build, verb, role)
    folder = spoiled(build, role, world, tmp_path)
    seen = observe(cli, verb, role, folder, world, tmp_path)
    if expected not in (RIGHT, NEW_HEAD):
        assert seen.code == 2 and len(seen.errors) == 1, seen
        assert expected in seen.errors[0] and str(tmp_path) in seen.errors[0]
        return
    assert seen.code == 0, seen
    if expected == NEW_HEAD:
        assert "new weights, drawn at random: " in seen.log
        return
    if way not in healthy:
        (tmp_path / "healthy").mkdir()
        good = world.folders["teacher" if role == "base" else role]
        healthy[way] = observe(cli, verb, role, good, world, tmp_path / "healthy")
    assert close(seen.value, healthy[way].value), (seen.value, healthy[way].value)


def close(one: object, other: object) -> bool:
    """Whether two observations are equal but for rounding, which training carries further."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-3, abs=1e-4)
    return one == other


def test_every_combination_is_tried_or_has_a_reason() -> None:
    assert len(TABLE) == len(KINDS) * len(VERBS) * len(ROLES)
    assert all(outcome(KINDS[kind], verb, role) for kind, verb, role in TRIED)
    tried = {(verb, role) for _, verb, role in TRIED}
    # What no fault reaches has its reason for all faults.
    assert {way for way in itertools.product(VERBS, ROLES) if way not in tried} <= {
        *NO_SUCH_WAY,
        ("finetune", "adapter"),
    }
