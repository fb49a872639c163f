"""From a configuration to the adversary of a run: which generator, warmed up on which text, within which budget."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.config.methods.adversarial_schedule import make_schedule
from zskd.config.resolve import DistillConfig, input_length
from zskd.errors import InputError
from zskd.methods.adversarial.candidates import CandidateAdversary
from zskd.methods.adversarial.generator import build_generator, load_generator
from zskd.methods.adversarial.gradient import GradientAdversary
from zskd.methods.adversarial.warmup import warm_up
from zskd.methods.adversarial.writer import Writer
from zskd.models.loading import count_parameters, model_fingerprint
from zskd.models.vocabulary import require_one_vocabulary
from zskd.system.precision import gradient_precision
from zskd.tasks.task import Task
from zskd.teacher.base import Teacher
from zskd.text.corpus import Corpus
from zskd.training.arguments import ZeroShotArguments

logger = logging.getLogger(__name__)

MIN_TRANSFER = 64  # texts of the transfer set that phase 1 needs

MakeAdversary = Callable[[ZeroShotArguments], Writer]


def optimizer_steps(config: DistillConfig, rows: int) -> int:
    """Optimizer steps of ``config.epochs`` passes over `rows` rows, whose last batches need not be whole."""
    return math.ceil(config.epochs * math.ceil(rows / (config.batch_size * config.gradient_accumulation)))


def adversarial_queries(config: DistillConfig) -> int:
    """Texts of ``config.pool_size`` that the generator writes instead of the shaping; 0 unless adversarial.

    Raises:
        InputError: they leave too little for the transfer set.
    """
    if config.perturb != "adversarial":
        return 0
    assert config.pool_size is not None
    steps = optimizer_steps(config, config.pool_size)
    batch = config.batch_size * config.gradient_accumulation
    per_row = config.row_candidates if config.adversary == "candidates" else 1
    queries = make_schedule(config, steps).queries(steps, batch, per_row)
    if config.pool_size - queries < MIN_TRANSFER:
        raise InputError(
            f"--pool-size {config.pool_size}: expected more than the {queries} texts that the generator writes in "
            f"{steps} steps has judged; raise it (a small --corpus limits it), or lower --epochs or --fresh-share"
        )
    return queries


def prepare_adversary(
    config: DistillConfig,
    task: Task,
    teacher: Teacher,
    student_tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    precision: str,
    cache: Path,
) -> MakeAdversary:
    """Load or build the generator, warm it up and join it with the teacher.

    Raises:
        InputError: the generator does not load, or vocabularies differ that have to be one.
    """
    if config.generator == "build":
        source = teacher.require_weights("--generator build")
        generator, tokenizer = build_generator(source), source.tokenizer
    else:
        generator, tokenizer = load_generator(config.generator, config.generator_revision)
    require_one_vocabulary(tokenizer, student_tokenizer, why=f"--generator {config.generator}", left="the generator")
    if config.adversary == "gradient":
        model = teacher.require_weights("--adversary gradient")
        why = "--adversary gradient (use --adversary candidates for other vocabularies)"
        require_one_vocabulary(model.tokenizer, student_tokenizer, why=why)
    if config.generator_warmup:
        warm_up(
            generator,
            student_tokenizer,
            corpus,
            pairs=task.is_pair,
            steps=config.generator_warmup,
            max_length=input_length(config),
            precision=gradient_precision(precision),
            fingerprint=model_fingerprint(generator),
            cache=cache,
        )
    logger.info("generator: %s, %s parameters", config.generator, f"{count_parameters(generator):,}")
    if config.adversary == "gradient":
        return functools.partial(GradientAdversary, generator, model, precision=precision)

    quick = teacher.for_inference(precision)

    def judge(texts: tuple[list[str], ...]) -> np.ndarray:
        return quick.logits(texts, max_length=input_length(config), precision=precision)

    return functools.partial(CandidateAdversary, generator, student_tokenizer, judge, precision=precision)
