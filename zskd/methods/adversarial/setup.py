"""Set up the adversary's writer for a run: load or build the generator, warm it up, connect it with the teacher."""

from __future__ import annotations

import logging

import numpy as np

from zskd.config.methods.adversarial import AdversarialOptions
from zskd.errors import InputError
from zskd.methods.adversarial.candidates import CandidateAdversary
from zskd.methods.adversarial.generator import build_generator, load_generator
from zskd.methods.adversarial.gradient import GradientAdversary
from zskd.methods.adversarial.warmup import warm_up
from zskd.methods.adversarial.writer import Writer
from zskd.methods.context import Run
from zskd.models.loading import count_parameters, model_fingerprint
from zskd.models.positions import length_problem
from zskd.models.vocabulary import require_one_vocabulary
from zskd.system.precision import gradient_precision

logger = logging.getLogger(__name__)


def prepare_writer(options: AdversarialOptions, run: Run) -> Writer:
    """Load or build the generator, warm it up and connect it with the teacher.

    Args:
        run: needs teacher and tokenizer; with a warm-up also corpus, task and cache.

    Raises:
        InputError: the generator does not load or has too few positions, vocabularies that must be equal differ, or
            `run` lacks a part.
    """
    if run.teacher is None or run.tokenizer is None:
        raise InputError("adversarial: expected a teacher and the student's tokenizer, found none; give it a writer")
    teacher, student_tokenizer = run.teacher, run.tokenizer
    if options.generator == "build":
        model = teacher.require_weights("--generator build")
        generator, tokenizer = build_generator(model), model.tokenizer
    else:
        generator, tokenizer = load_generator(options.generator, options.generator_revision)
        shown, limit = f"--generator {options.generator}", tokenizer.model_max_length
        # Without a task a Trainer brings rows of its own, whose length is not known here.
        problem = length_problem(generator.config.to_dict(), limit, shown, run.max_length) if run.task else None
        if problem:
            raise InputError(problem)
    require_one_vocabulary(tokenizer, student_tokenizer, why=f"--generator {options.generator}", left="the generator")
    if options.adversary == "gradient":
        why = "--adversary gradient (use --adversary candidates for other vocabularies)"
        model = teacher.require_weights("--adversary gradient")
        require_one_vocabulary(model.tokenizer, student_tokenizer, why=why)
    if options.generator_warmup:
        if run.corpus is None or run.task is None or run.cache is None:
            raise InputError(
                "--generator-warmup: expected a corpus, a task and a cache folder, found none; set it to 0"
            )
        warm_up(
            generator,
            student_tokenizer,
            run.corpus,
            pairs=run.task.is_pair,
            steps=options.generator_warmup,
            max_length=run.max_length,
            precision=gradient_precision(run.precision),
            fingerprint=model_fingerprint(generator),
            cache=run.cache,
        )
    logger.info("generator: %s, %s parameters", options.generator, f"{count_parameters(generator):,}")
    if options.adversary == "gradient":
        return GradientAdversary(
            generator,
            teacher.require_weights("--adversary gradient"),
            options,
            temperature=run.temperature,
            precision=run.precision,
        )
    quick = teacher.for_inference(run.precision)

    def judge(texts: tuple[list[str], ...]) -> np.ndarray:
        return quick.logits(texts, max_length=run.max_length, precision=run.precision)

    return CandidateAdversary(
        generator, student_tokenizer, judge, options, temperature=run.temperature, precision=run.precision
    )
