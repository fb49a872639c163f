"""From options to inputs: the setting of a run, its corpus and its pools."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import PartialState

from zskd.checks import check_batch_size
from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import method_queries
from zskd.config.resolve import cache_root
from zskd.errors import InputError
from zskd.runs.folder import RunFolder
from zskd.system.processes import check_shared, join, main_first
from zskd.tasks.defaults import input_length
from zskd.tasks.task import Task, find_task
from zskd.text.corpus import Corpus, build_corpus
from zskd.text.shaping import INPUTS_PER_SENTENCE, Pools, build_pools, limited_size
from zskd.text.sources import find_sources
from zskd.training.objective import coinciding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """What all stages of a run share.

    Attributes:
        config: with a pool that the corpus can fill, once that is known.
        folder: of the run.
        processes: that work on it.
    """

    config: DistillConfig
    task: Task
    cache: Path
    folder: RunFolder
    processes: int

    @property
    def length(self) -> int:
        """Tokens of an input."""
        return input_length(self.config)

    @property
    def pool_size(self) -> int:
        """Inputs that are labelled, those of the methods included."""
        assert self.config.pool_size is not None  # the task's default
        return self.config.pool_size


def begin(config: DistillConfig) -> Setting:
    """Find the other processes and see that all work in the same folders on equal parts of a batch.

    Raises:
        InputError: they do not, or the pool is too small for what the methods ask for.
    """
    task, cache, folder = find_task(config.task), cache_root(config.cache_dir), RunFolder(config)
    state = join(config.num_processes)
    if problems := check_batch_size(config, state.num_processes):
        raise InputError(problems)
    check_shared(cache, "--cache-dir")
    check_shared(folder.path.absolute().parent, "--output-dir")
    assert config.objective is not None  # the task's default
    if same := coinciding(config.objective, task.num_labels, config.top_k, gold=config.gold_labels is not None):
        logger.info("objective: %s; going on with %s", same, config.objective)
    method_queries(config)  # a pool too small for them is found before the corpus is read
    return Setting(config, task, cache, folder, state.num_processes)


def read_corpus(setting: Setting, least: int | None = None) -> Corpus:
    """The distinct sentences of the text; `least` of them have to be there (None: as many as for any corpus)."""
    config = setting.config
    corpus = main_first(
        lambda: build_corpus(find_sources(config.corpus), config.corpus_fraction, setting.cache, least=least)
    )
    logger.info("corpus: %d sentences (%d duplicates dropped)", corpus.count, corpus.duplicates)
    return corpus


def limit_pool(setting: Setting, corpus: Corpus) -> Setting:
    """The setting with a pool that the corpus can fill; what was asked for stays in the run's ``config.yaml``."""
    size = limited_size(setting.pool_size, corpus.count)
    if size < setting.pool_size and PartialState().is_main_process:
        logger.warning(
            "shaping: %d inputs instead of --pool-size %d: at most %d for each of the %d sentences; add text for more",
            size,
            setting.pool_size,
            INPUTS_PER_SENTENCE,
            corpus.count,
        )
    return replace(setting, config=replace(setting.config, pool_size=size))


def shape(setting: Setting, corpus: Corpus) -> Pools:
    """The inputs: a transfer pool that leaves room for what the methods will ask for, and two held-out pools."""
    config = setting.config
    pools = main_first(
        lambda: build_pools(
            corpus,
            inputs=setting.task.inputs,
            size=setting.pool_size - method_queries(config),
            heldout=config.heldout,
            perturb=config.shaping,
            seed=config.seed,
            cache=setting.cache,
        )
    )
    logger.info("shaping: %d inputs for the transfer set, perturbation %s", len(pools.transfer), config.perturb)
    logger.info("held out: %d inputs to choose the checkpoint, %d for agreement", len(pools.select), len(pools.report))
    return pools
