"""What a distillation would take: inputs, teacher queries, steps, time and disk, without starting it.

Inputs, queries and steps are counted. Time and disk are estimated from a rehearsal: the same distillation with a few
inputs, in a temporary folder, with what the cache holds of backbones and text but none of its labels.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from zskd.config.cost import batches
from zskd.config.distillation import DistillConfig
from zskd.config.resolve import cache_root
from zskd.hub.ask import is_callable_name
from zskd.pipeline import distill
from zskd.runs.folder import run_path
from zskd.system.formatting import about
from zskd.tasks.defaults import with_task_defaults
from zskd.text.corpus import build_corpus
from zskd.text.shaping import limited_size
from zskd.text.sources import find_sources

REHEARSED = 2_048  # inputs of a rehearsal
_SHARED = ("backbones", "corpora", "words", "starts", "neighbours")  # folders of the cache that it uses


@dataclass(frozen=True)
class Forecast:
    """What a distillation would take.

    Attributes:
        inputs: of the transfer set, as many as the text allows.
        heldout: inputs that are held out.
        single_tokens: of the vocabulary that the teacher is asked for, for the start of a built student.
        steps: optimizer steps.
        seconds: about, by phase; None where a callable teacher would have to be asked to find out.
        cache_bytes, run_bytes: of disk, about; None likewise.
        rehearsal: seconds that finding out took.
    """

    inputs: int
    heldout: int
    single_tokens: int
    steps: int
    seconds: dict[str, float] | None = None
    cache_bytes: int | None = None
    run_bytes: int | None = None
    rehearsal: float = 0.0

    @property
    def queries(self) -> int:
        """Most texts that the teacher is asked for; inputs that repeat another are not asked for again."""
        return self.inputs + self.heldout + self.single_tokens


def forecast(config: DistillConfig) -> Forecast:
    """Find out what a distillation would take. Nothing of it is kept but text and single tokens in the cache.

    Args:
        config: checked options.

    Raises:
        InputError: the text or the teacher are not usable.
    """
    began, config = time.monotonic(), with_task_defaults(config)
    assert config.pool_size is not None
    with tempfile.TemporaryDirectory() as name, _quietly():
        folder, own = Path(name), cache_root(config.cache_dir)
        corpus = build_corpus(find_sources(config.corpus), config.corpus_fraction, own)
        size = limited_size(config.pool_size, corpus.count)
        steps = -(-batches(replace(config, pool_size=size)) // config.gradient_accumulation)
        if is_callable_name(config.teacher):
            return Forecast(size, config.heldout, 0, steps, rehearsal=time.monotonic() - began)
        cache, small = folder / "cache", min(REHEARSED, size)
        _share(own, cache)
        rehearsed = replace(
            config, pool_size=small, checkpoints=1, heldout=min(config.heldout, 256), glue_dir=None, hub_eval=False,
            resume=False, report_to="none", num_processes=None, output_dir=str(folder / "run"), cache_dir=str(cache),
        )  # fmt: skip
        metrics = distill(rehearsed).metrics
        larger, longer = size / small, steps / metrics["steps"]
        asked = (size + config.heldout) / (small + rehearsed.heldout)
        grow = {"shaping": larger, "labelling": asked, "selection": larger, "training": longer}
        seconds = {
            phase: spent * grow.get(phase, 1.0) for phase, spent in metrics["seconds"].items() if phase != "total"
        }
        run = run_path(rehearsed)
        return Forecast(
            inputs=size,
            heldout=config.heldout,
            single_tokens=metrics["teacher_queries_for"]["single_tokens"],
            steps=steps,
            seconds=seconds,
            cache_bytes=round(larger * _size(cache / "pools") + asked * _size(cache / "labels")),
            run_bytes=_size(run) + _size(run / "checkpoints"),  # two are kept, and the rehearsal has one
            rehearsal=time.monotonic() - began,
        )


def words(found: Forecast, config: DistillConfig) -> str:
    """A forecast for people."""
    tokens = f", {found.single_tokens:,} single tokens" if found.single_tokens else ""
    lines = [
        f"inputs           {found.inputs:,} of the transfer set, {found.heldout:,} held out",
        f"teacher queries  at most {found.queries:,} (these{tokens})",
        f"steps            {found.steps:,} of {config.batch_size * config.gradient_accumulation} rows",
    ]
    if found.seconds is None or found.cache_bytes is None or found.run_bytes is None:
        lines.append("time and disk    not known: to find out, the callable teacher would have to be asked")
    else:
        parts = sorted(found.seconds.items(), key=lambda part: -part[1])
        shown = ", ".join(f"{phase} {about(spent)}" for phase, spent in parts if spent >= 1)
        lines += [
            f"time             about {about(sum(found.seconds.values()))} in one process, without cached labels",
            f"                 ({shown})",
            f"disk             about {_megabytes(found.cache_bytes)} in the cache, {_megabytes(found.run_bytes)} in "
            f"{run_path(config)}",
        ]
    lines.append(f"found out in {about(found.rehearsal)}; nothing was started")
    return "\n".join(lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _share(cache: Path, own: Path) -> None:
    """Let a cache of its own use what another one holds of backbones and text."""
    own.mkdir()
    for name in _SHARED:
        (cache / name).mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to((cache / name).absolute())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No log of the rehearsal but its warnings."""
    logger = logging.getLogger("zskd")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
