"""From options to inputs: the settings of a run, its corpus and its pools."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import PartialState

from zskd.checks import check_batch_size
from zskd.config.cost import cost_warnings
from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import method_queries
from zskd.config.resolve import cache_root
from zskd.errors import InputError
from zskd.models.sentence_encoder import embedded_encoder
from zskd.runs.folder import RunFolder
from zskd.stages.texts import check_kept
from zskd.system.processes import check_shared, join, on_main
from zskd.system.unfinished import clear_unfinished
from zskd.tasks.defaults import input_length
from zskd.tasks.query_plan import QueryPlan
from zskd.tasks.task import Task, find_task
from zskd.text.corpus import Corpus, build_corpus, log_corpus
from zskd.text.language import AUTO, language_problems, resolve_language
from zskd.text.shaping import INPUTS_PER_SENTENCE, Pools, build_pools, limited_size
from zskd.text.sources import find_sources
from zskd.training.objective import coinciding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """What all stages of a run share.

    Attributes:
        config: the options. `limit_pool` lowers ``pool_size`` to what the corpus can fill, and `settle_language` puts
            the language of the text in place of ``auto``.
        folder: the run folder.
        processes: number of processes that share the run.
        plan: what ``--query-budget`` is divided into (`zskd.stages.budget.divide`); None without a budget.
    """

    config: DistillConfig
    task: Task
    cache: Path
    folder: RunFolder
    processes: int
    plan: QueryPlan | None = None

    @property
    def length(self) -> int:
        """Maximum length of an input, in tokens."""
        return input_length(self.config)

    @property
    def pool_size(self) -> int:
        """Inputs that the teacher labels, including those that methods ask for during training."""
        assert self.config.pool_size is not None  # the task's default
        return self.config.pool_size


def begin(config: DistillConfig) -> Setting:
    """Join the other processes and check that all of them use the same folders and equal parts of a batch.

    Raises:
        InputError: the processes disagree, or ``pool_size`` is too small for the queries of the methods.
    """
    task, cache, folder = find_task(config.task), cache_root(config.cache_dir), RunFolder(config)
    state = join(config.num_processes)
    if problems := check_batch_size(config, state.num_processes):
        raise InputError(problems)
    check_shared(cache, "--cache-dir")
    check_shared(folder.path.absolute().parent, "--output-dir")
    on_main(folder.clear)
    on_main(lambda: clear_unfinished(cache, deep=True))
    assert config.objective is not None  # the task's default
    if same := coinciding(config.objective, task.num_labels, config.top_k, gold=config.gold_labels is not None):
        logger.info("objective: %s; going on with %s", same, config.objective)
    if state.is_main_process:
        for line in cost_warnings(config, task.num_labels, len(task.text_columns)):
            logger.warning(line)
    method_queries(config)  # raises before the corpus is read if the pool is too small
    return Setting(config, task, cache, folder, state.num_processes)


def read_corpus(setting: Setting, least: int | None = None) -> Corpus:
    """Read the distinct sentences of the text.

    Args:
        least: smallest number of sentences that is accepted; None for `zskd.text.corpus.MIN_SENTENCES`.
    """
    config = setting.config
    sources = on_main(lambda: find_sources(config.corpus))  # so that what it warns of is said once
    check_kept(sources, setting.cache)
    corpus = on_main(lambda: build_corpus(sources, config.corpus_fraction, setting.cache, least=least))
    log_corpus(corpus, warn=PartialState().is_main_process)
    return corpus


def settle_language(setting: Setting, corpus: Corpus) -> Setting:
    """Guess the language where it was not given. The run's ``config.yaml`` keeps what was asked for.

    Raises:
        InputError: it is not English, and ``--pairs wide`` needs English text.
    """
    if setting.config.language != AUTO:
        return setting
    language = resolve_language(setting.config.language, corpus.sentences)
    if problems := language_problems(setting.config.pairs, language):
        raise InputError(problems)
    return replace(setting, config=replace(setting.config, language=language))


def limit_pool(setting: Setting, corpus: Corpus) -> Setting:
    """Lower the pool size to what the corpus can fill. The run's ``config.yaml`` keeps the size that was asked for."""
    size = limited_size(setting.pool_size, corpus.count)
    if size < setting.pool_size and PartialState().is_main_process:
        logger.warning(
            "shaping: %d inputs instead of %s%d: at most %d for each of the %d sentences; add text for more",
            size,
            "--pool-size " if setting.plan is None else "",
            setting.pool_size,
            INPUTS_PER_SENTENCE,
            corpus.count,
        )
    return replace(setting, config=replace(setting.config, pool_size=size))


def shape(setting: Setting, corpus: Corpus) -> Pools:
    """Shape the inputs: a transfer pool, less the inputs that methods will query later, and two held-out pools."""
    config = settle_language(setting, corpus).config
    assert config.heldout is not None  # the task's default
    heldout = config.heldout
    # The others get the paths of the files, which the main process has looked at.
    pools = on_main(
        lambda: build_pools(
            corpus,
            inputs=setting.task.inputs,
            size=setting.pool_size - method_queries(config),
            heldout=heldout,
            perturb=config.shaping,
            seed=config.shaping_seed,
            cache=setting.cache,
            language=config.language,
            encoder=embedded_encoder(setting.cache) if config.pairs == "wide" else None,
        )
    )
    logger.info("shaping: %s inputs for the transfer set, perturbation %s", f"{len(pools.transfer):,}", config.perturb)
    logger.info("held out: %d inputs to choose the checkpoint, %d for agreement", len(pools.select), len(pools.report))
    return pools
