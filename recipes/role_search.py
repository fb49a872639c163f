"""Find a schedule for ``--method roles`` by a small population, and the best fixed policy at the same cost beside it.

Every member of the population has a policy: for each operation of the student a probability and a magnitude, whole
numbers from 0 to 10. A generation trains every member for a stage, from where it ended, and scores it by its agreement
with the teacher on held-out text that is not changed; no label has a part in that. The worst quarter then takes over
weights and policy of the best quarter (exploit) and changes the policy for the stages to come (explore). The schedule
that is written is the history of the best member.

The yardstick is a policy that does not change: as many of them as there are members, drawn at random, each trained for
as long. Members that were trained are kept in docs/results/roles by what they were made of.

    python -m recipes.role_search --data DIR --task sst2 --output schedule.yaml
    zskd distill --task sst2 --config embedded --method roles --roles-schedule schedule.yaml
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from recipes.cells import cell_config, wikipedia
from zskd.cli.parser import set_up_logging
from zskd.config.methods.roles import OPERATIONS
from zskd.pipeline import distill
from zskd.system.files import write_text
from zskd.system.seeds import Stream, generator
from zskd.tasks.defaults import POOL_SIZES
from zskd.tasks.task import TASKS

RESULTS = Path("docs/results/roles")
MEMBERS, STAGES, QUARTER = 8, 3, 4
LARGEST = 10  # of the whole numbers; a probability of 10 is 1, a magnitude of 10 is half of the tokens

Policy = dict[str, tuple[int, int]]  # operation -> probability, magnitude


@dataclass(frozen=True)
class Member:
    """One of the population.

    Attributes:
        number: its place.
        history: its policies, one for each stage that is over.
        student: folder of its student; None before the first stage.
        score: agreement with the teacher on held-out text.
    """

    number: int
    history: tuple[Policy, ...] = ()
    student: str | None = None
    score: float = 0.0
    policy: Policy = field(default_factory=lambda: dict.fromkeys(OPERATIONS, (0, 0)))


def explored(policy: Policy, rng: np.random.Generator) -> Policy:
    """A policy near another: each number anew with probability 0.2, else moved by up to 3, as in the public code."""

    def moved(value: int) -> int:
        if rng.random() < 0.2:
            return int(rng.integers(LARGEST + 1))
        return int(np.clip(value + rng.integers(-3, 4), 0, LARGEST))

    return {name: (moved(one), moved(other)) for name, (one, other) in policy.items()}


def next_generation(members: list[Member], rng: np.random.Generator) -> list[Member]:
    """The worst quarter takes over what the best quarter is; all that did explore their policy."""
    count = max(1, len(members) // 4)
    order = sorted(members, key=lambda member: (-member.score, member.number))
    made = {member.number: member for member in members}
    for worst, best in zip(order[-count:], order[:count], strict=True):
        if worst.score < best.score:
            made[worst.number] = replace(best, number=worst.number, policy=explored(best.policy, rng))
    return [made[member.number] for member in members]


def schedule(policies: tuple[Policy, ...]) -> dict[str, Any]:
    """The schedule of a student whose stages had these policies."""
    stages = []
    for number, policy in enumerate(policies, 1):
        used = {name: [p / LARGEST, m / LARGEST / 2] for name, (p, m) in policy.items() if p * m}
        stages.append({"until": round(number / len(policies), 4), **used})
    return {"student": stages}


def trained(member: Member, options: dict[str, Any], work: Path, results: Path) -> Member:
    """A member after one more stage; from `results` where its student is still there."""
    words = json.dumps([options, member.history, member.policy, member.number], sort_keys=True)
    key = hashlib.sha256(words.encode()).hexdigest()[:16]
    kept, run = results / f"{key}.json", work / key
    if not kept.is_file() or not (run / "student").is_dir():
        path = work / f"{key}.yaml"
        write_text(path, yaml.safe_dump(schedule((member.policy,))))
        shutil.rmtree(run, ignore_errors=True)
        begun = {} if member.student is None else {"student": member.student}
        config = cell_config(
            {**options, **begun, "method": ["roles"], "roles_schedule": str(path), "output_dir": str(run)}
        )
        metrics = distill(config).metrics
        content = {"score": metrics["agreement"], "policy": member.policy, "seconds": metrics["seconds"]["total"]}
        write_text(kept, json.dumps(content, indent=1) + "\n")
    score = float(json.loads(kept.read_text(encoding="utf-8"))["score"])
    return replace(member, history=(*member.history, member.policy), student=str(run / "student"), score=score)


def searched(options: dict[str, Any], work: Path, results: Path, members: int, seed: int) -> Member:
    """The best member after all stages."""
    rng = generator(Stream.RECIPES, seed, "roles")
    population = [Member(number) for number in range(members)]
    population = [replace(m, policy=explored(m.policy, rng) if m.number else m.policy) for m in population]
    for stage in range(STAGES):
        population = [trained(member, options, work, results) for member in population]
        for member in population:
            print(f"stage {stage + 1}, member {member.number}: agreement {member.score:.4f}", flush=True)
        if stage + 1 < STAGES:
            population = next_generation(population, rng)
    return max(population, key=lambda member: member.score)


def fixed(options: dict[str, Any], work: Path, results: Path, members: int, seed: int) -> Member:
    """The best of as many policies that never change, at the same cost; the first changes nothing."""
    rng = generator(Stream.RECIPES, seed, "fixed")
    found = []
    for number in range(members):
        member = Member(number)
        member = replace(member, policy=explored(member.policy, rng) if number else member.policy)
        for _ in range(STAGES):
            member = trained(member, options, work / "fixed", results)
        print(f"fixed policy {number}: agreement {member.score:.4f}", flush=True)
        found.append(member)
    return max(found, key=lambda member: member.score)


def main() -> int:
    """Search, and write the schedule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ood/")
    parser.add_argument("--task", default="sst2", choices=list(TASKS))
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("schedule.yaml"))
    parser.add_argument("--work", type=Path, default=Path("runs/role-search"))
    given = parser.parse_args()
    set_up_logging()
    pool = POOL_SIZES[len(TASKS[given.task].text_columns)] // QUARTER
    options = {"task": given.task, "seed": given.seed, "corpus": wikipedia(given.data), "pool_size": pool}
    options["epochs"] = 2 / STAGES
    best = searched(options, given.work, RESULTS, given.members, given.seed)
    plain = fixed(options, given.work, RESULTS, given.members, given.seed)
    write_text(given.output, yaml.safe_dump(schedule(best.history)))
    print(f"searched: agreement {best.score:.4f}; best fixed policy at equal cost: {plain.score:.4f}")
    print(f"{given.output}: the schedule of member {best.number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
