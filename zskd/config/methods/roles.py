"""Options of roles (see `zskd.methods.roles`), their checks, the schedule file, and the cost in queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zskd.config.methods.shares import asked_rows, gold_problems
from zskd.config.methods.spec import MethodSpec
from zskd.config.option import option
from zskd.errors import InputError
from zskd.system.paths import expanded, is_file
from zskd.system.yaml_text import load_yaml

if TYPE_CHECKING:
    from zskd.config.distillation import DistillConfig

OPERATIONS = ("drop", "replace", "mask", "swap", "crop")
ROLES = ("teacher", "student")
_EXAMPLE = "{student: [{until: 1.0, drop: [0.5, 0.1]}]}"


@dataclass(frozen=True)
class Stage:
    """What happens to the rows of one role until a share of the steps is over.

    Attributes:
        until: 0 to 1.
        operations: operation -> probability that a row has it, and magnitude: the share of the row's tokens.
    """

    until: float
    operations: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether anything can happen."""
        return any(probability * magnitude > 0 for probability, magnitude in self.operations.values())


Schedule = dict[str, list[Stage]]  # role -> its stages, one after the other


def stage_at(stages: list[Stage], progress: float) -> Stage | None:
    """The stage of a share of the steps; None beyond the last."""
    return next((stage for stage in stages if progress < stage.until), None)


@dataclass
class RolesOptions:
    """Options of `zskd.Roles`; neutral without a schedule, or with one in which nothing happens.

    Example:
        >>> RolesOptions().roles_share
        0.125
    """

    roles_schedule: str | None = option(
        None, f"YAML file with what happens to the texts of each role, in stages, for example {_EXAMPLE}"
    )
    roles_share: float = option(
        0.125, "share of a batch whose labels are asked for anew, on the teacher's view, where it has one", low=0.0,
        high=1.0,
    )  # fmt: skip


def read_schedule(name: str | None) -> Schedule:
    """The schedule in a file; without one nothing happens to either role.

    Raises:
        InputError: there is no such file, or it holds no schedule.
    """
    if name is None:
        return {role: [] for role in ROLES}
    if not is_file(expanded(name)):
        raise InputError(f"--roles-schedule {name}: expected a YAML file, found no such file")
    return schedule_of(load_yaml(expanded(name), f"--roles-schedule {name}"), f"--roles-schedule {name}")


def schedule_of(content: Any, shown: str) -> Schedule:
    """The schedule that a YAML file's content is.

    Args:
        shown: what messages begin with.

    Raises:
        InputError: it is none.

    Example:
        >>> found = schedule_of({"student": [{"until": 0.5, "drop": [1.0, 0.1]}]}, "file")
        >>> found["student"][0].operations, found["teacher"]
        ({'drop': (1.0, 0.1)}, [])
    """
    if not isinstance(content, dict) or not set(content) <= set(ROLES):
        raise InputError(f"{shown}: expected stages for {' and '.join(ROLES)}, as in {_EXAMPLE}, found something else")
    return {role: _stages(content.get(role) or [], f"{shown}: {role}") for role in ROLES}


def _stages(content: Any, shown: str) -> list[Stage]:
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise InputError(f"{shown}: expected a list of stages, as in {_EXAMPLE}, found something else")
    found: list[Stage] = []
    for number, entry in enumerate(content, 1):
        where = f"{shown}, stage {number}"
        until = entry.get("until")
        if not _is_share(until) or until <= (found[-1].until if found else 0.0):
            raise InputError(
                f"{where}: expected `until`, a share of the steps above that of the stage before, found {until}"
            )
        operations = {}
        for name, values in entry.items():
            if name == "until":
                continue
            if name not in OPERATIONS:
                raise InputError(f"{where}: expected operations among {', '.join(OPERATIONS)}, found {name}")
            if not isinstance(values, list) or len(values) != 2 or not all(map(_is_share, values)):
                raise InputError(
                    f"{where}: {name}: expected a probability and a magnitude, each from 0 to 1, found {values}"
                )
            operations[name] = (float(values[0]), float(values[1]))
        found.append(Stage(float(until), operations))
    return found


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def teacher_until(schedule: Schedule) -> float:
    """The share of the steps after which the teacher has no view of its own any more."""
    return max((stage.until for stage in schedule["teacher"] if stage.active), default=0.0)


def problems(config: DistillConfig, *, black_box: bool) -> list[str]:
    """A schedule that is none, labelled rows, and a view of the teacher where nobody can be asked about it."""
    found = gold_problems(config, black_box=black_box)
    try:
        schedule = read_schedule(config.roles_schedule)
    except InputError as error:
        return found + error.problems
    if config.roles_schedule is None and "roles" in config.method:
        found.append(f"--method roles: expected --roles-schedule FILE with it, found none; for example {_EXAMPLE}")
    if black_box and teacher_until(schedule):
        found.append(
            f"--roles-schedule {config.roles_schedule}: expected stages of the student alone, as a callable teacher is "
            "not asked while training, found some of the teacher"
        )
    return found


def queries(config: DistillConfig) -> int:
    """Once for each row of the share while the teacher has a view of its own."""
    return asked_rows(config, config.roles_share, teacher_until(read_schedule(config.roles_schedule)))


def _teacher_has_a_view(config: DistillConfig) -> bool:
    try:
        return teacher_until(read_schedule(config.roles_schedule)) > 0
    except InputError:
        return False  # `problems` says what is wrong with it


SPEC = MethodSpec(
    name="roles",
    summary="teacher and student read views of their own, changed by schedules (Fu et al. 2020)",
    options=RolesOptions,
    problems=problems,
    queries=queries,
    share="roles_share",
    changes=_teacher_has_a_view,
)
