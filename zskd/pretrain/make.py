"""`pretrain`: from a backbone and plain text to a start, kept in the cache by what it is made of."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PreTrainedConfig, set_seed

from zskd.config.pretraining import PretrainConfig
from zskd.config.resolve import cache_root
from zskd.errors import InputError
from zskd.models.backbones import known_backbone
from zskd.models.lengths import record_length, save_tokenizer
from zskd.models.loading import count_parameters, model_fingerprint
from zskd.models.quiet import quiet_transformers
from zskd.models.vocabulary import vocabulary_fingerprint, vocabulary_size
from zskd.pretrain.backbone import LoadedBackbone, load_backbone
from zskd.pretrain.learner import EMPTY, StateLearner, make_body, moments
from zskd.pretrain.problems import problems
from zskd.pretrain.shaped import Inputs, Rows, encode_inputs, make_inputs
from zskd.pretrain.start_trainer import Trained, train
from zskd.runs.folder import versions
from zskd.runs.start_record import EMPTY_COLUMNS, RECORD, SENTENCES, Start, read_start, start_path, write_record
from zskd.runs.training_folder import steps_saved
from zskd.student.shape import special_values, student_config
from zskd.student.word_features import single_tokens, state_components
from zskd.system.arrow import shortest_first
from zskd.system.files import replacing
from zskd.system.machine import machine
from zskd.system.os_faults import writing
from zskd.system.precision import check_finite
from zskd.system.processes import check_shared, join, main_first, on_main
from zskd.system.seeds import Stream, seed_of
from zskd.system.unfinished import clear_unfinished
from zskd.text.corpus import Corpus, build_corpus, log_corpus
from zskd.text.language import resolve_language
from zskd.text.sentence_hashes import sentence_hashes
from zskd.text.sources import find_sources
from zskd.transfer.collator import TransferCollator

logger = logging.getLogger(__name__)

# Increase it when the same options would give another start.
FORMAT = 3
FOLDER = "starts"  # of the cache
# Shapes leave room for the head of a task of three classes.
_HEAD = {"num_labels": 3, "id2label": {0: "0", 1: "1", 2: "2"}, "label2id": {"0": 0, "1": 1, "2": 2}}
_SHAPE = ("model_type", "hidden_size", "embedding_size", "num_hidden_layers", "intermediate_size", "vocab_size")
# Options that a start depends on, beside text, shape, steps and precision, which are compared themselves.
_OPTIONS = ("inputs", "batch_size", "learning_rate", "warmup", "weight_decay", "max_length", "seed", "optimizer")


def pretrain(config: PretrainConfig) -> Start:
    """Distil a start from a backbone's token states on plain text, and save it with a record of how it was made.

    What a start is made of (backbone, shape, inputs, steps, options) is its key in the cache, where it is kept too. One
    that was ended goes on with ``config.resume``, and is that of an undisturbed training, bit for bit on one kind of
    machine.

    Raises:
        InputError: an option, backbone or text are not usable, the budget does not hold the vocabulary, or the same
            training is there, unfinished, and ``config.resume`` is not set.
        RunError: training ended in weights that are no numbers, or no checkpoint is as it was written.
    """
    if found := problems(config):
        raise InputError(found)
    output, cache = start_path(config), cache_root(config.cache_dir)
    processes = join(config.num_processes).num_processes
    if config.batch_size % processes:  # of a launcher
        raise InputError(
            f"--batch-size {config.batch_size}: expected a multiple of the {processes} processes that share it"
        )
    check_shared(cache, "--cache-dir")
    check_shared(output.absolute().parent, "--output-dir")
    on_main(lambda: clear_unfinished(cache, deep=True))
    name, revision = config.backbone, config.backbone_revision
    two = config.inputs != "one"
    backbone = main_first(lambda: load_backbone(name, revision, config.precision, config.max_length, cache, two=two))
    shape = _shape(config, backbone)
    corpus = _read_corpus(config, cache)
    language = resolve_language(config.language, corpus.sentences)
    inputs = make_inputs(config, corpus, language, backbone.tokenizer, cache)
    made_of = _made_of(config, backbone, shape, corpus, inputs, language)
    kept = cache / FOLDER / hashlib.sha256(json.dumps([FORMAT, made_of], sort_keys=True).encode()).hexdigest()[:32]
    if on_main(lambda: _is_kept(kept)):
        logger.info("pretraining: this start is in the cache already, in %s", kept)
    else:
        work = kept.with_name(f"{kept.name}.training")
        on_main(lambda: _check_unfinished(config, work))
        with writing(cache):
            rows = encode_inputs(inputs, backbone.tokenizer, config.max_length, work)
            learner = _new_learner(config, backbone, shape, rows)
            trained = train(config, learner, backbone, rows, inputs.steps, work)
        on_main(lambda: _keep(kept, learner, backbone, corpus, made_of, trained))
        on_main(lambda: shutil.rmtree(work, ignore_errors=True))
    on_main(lambda: _copy(kept, output))
    return Start(output, read_start(output, flag="--output-dir"))


def _read_corpus(config: PretrainConfig, cache: Path) -> Corpus:
    sources = on_main(lambda: find_sources(config.corpus))  # so that what it warns of is said once
    corpus = on_main(lambda: build_corpus(sources, config.corpus_fraction, cache))
    log_corpus(corpus, warn=PartialState().is_main_process)
    return corpus


def _check_unfinished(config: PretrainConfig, work: Path) -> None:
    step = steps_saved(work)
    if step is not None and not config.resume:
        raise InputError(
            f"--resume: this pretraining is in {work}, unfinished, with a checkpoint of step {step:,}; pass --resume "
            "to continue it, or remove that folder to train from the beginning"
        )


def _is_kept(folder: Path) -> bool:
    """Whether a start is in the cache; a damaged one is removed."""
    if not folder.is_dir():
        return False
    try:
        read_start(folder, flag="cache")
    except InputError as error:
        logger.warning("%s; it is made anew", error)
        shutil.rmtree(folder)
        return False
    return True


def _shape(config: PretrainConfig, backbone: LoadedBackbone) -> PreTrainedConfig:
    """Configuration of the largest start within the budget."""
    shown = f"--compression {config.compression:g}"
    if config.parameters is not None:
        shown = f"--parameters {config.parameters}"
    budget, two = config.parameters or int(backbone.parameters / config.compression), config.inputs != "one"
    special = special_values(backbone.tokenizer, two=two)
    size = vocabulary_size(backbone.tokenizer)
    shape = student_config(size, budget, two=two, labels=_HEAD, special=special, shown=shown, advice="allow more")
    record_length(shape, config.max_length)
    return shape


def _made_of(
    config: PretrainConfig,
    backbone: LoadedBackbone,
    shape: PreTrainedConfig,
    corpus: Corpus,
    inputs: Inputs,
    language: str,
) -> dict[str, Any]:
    """What a start depends on: its identity, and a part of its record."""
    known = known_backbone(backbone.name)
    return {
        "backbone": {
            "name": known.repo_id if known else _public(backbone.name),
            "revision": backbone.revision,
            "fingerprint": backbone.fingerprint,
            "tokenizer": backbone.tokenizer_fingerprint,
        },
        "shape": {name: getattr(shape, name) for name in _SHAPE},
        "text": {
            "corpus": corpus.fingerprint,
            "inputs": inputs.fingerprint,
            "heldout": inputs.heldout,
            "language": language,
        },
        "objective": "token states",
        "options": {name: getattr(config, name) for name in _OPTIONS},
        "steps": inputs.steps,
        "precision": backbone.precision,
    }


def _public(name: str) -> str:
    """A name without a path of this machine."""
    return Path(name).name if Path(name).is_absolute() else name


@torch.no_grad()
def _new_learner(config: PretrainConfig, backbone: LoadedBackbone, shape: PreTrainedConfig, rows: Rows) -> StateLearner:
    """The learner before its first step. A checkpoint replaces all of it, the moments of the states included."""
    tokens, _ = single_tokens(backbone.model, backbone.tokenizer, backbone.name, backbone.precision, "backbone")
    collate, ordered = TransferCollator.of(backbone.tokenizer), shortest_first(rows.heldout)
    found = []
    for start in range(0, len(ordered), 64):
        batch = collate([ordered[i] for i in range(start, min(start + 64, len(ordered)))])
        batch = {name: value.to(backbone.model.device) for name, value in batch.items()}
        found.append(backbone.states(batch)[batch["attention_mask"].bool()].cpu())
    states = torch.cat(found)
    check_finite(states.numpy(), backbone.name, backbone.precision)
    mean, deviation = moments(states)
    set_seed(seed_of(Stream.START, config.seed))
    columns = shape.embedding_size - EMPTY
    return StateLearner(make_body(shape, state_components(tokens, columns)), mean, deviation)


def _keep(
    kept: Path,
    learner: StateLearner,
    backbone: LoadedBackbone,
    corpus: Corpus,
    made_of: dict[str, Any],
    trained: Trained,
) -> None:
    """Write the body, its tokenizer, its record and hashes; the map to the backbone's states is left out."""
    body, known = learner.body.cpu(), known_backbone(backbone.name)
    with replacing(kept) as temporary, quiet_transformers():
        body.save_pretrained(temporary)
        save_tokenizer(backbone.tokenizer, body.config, temporary)
        sentence_hashes(corpus.sentences["text"]).tofile(temporary / SENTENCES)
        record = {
            "inputs": made_of["options"]["inputs"],
            EMPTY_COLUMNS: EMPTY,
            "vocabulary": vocabulary_fingerprint(backbone.tokenizer),
            "fingerprint": model_fingerprint(body),
            "parameters": count_parameters(body),
            "made_of": made_of,
            "sources": {_public(name): identity for name, identity in corpus.sources.items()},
            "trained_on": known.trained_on if known else None,
            "tokens": trained.tokens,
            "seconds": round(trained.seconds, 1),
            "heldout_error": {str(step): round(error, 4) for step, error in trained.errors.items()},
            "machine": machine(),
            "versions": versions(),
        }
        write_record(temporary, record)


def _copy(kept: Path, output: Path) -> None:
    with replacing(output) as temporary:
        shutil.copytree(kept, temporary)
    logger.info("pretraining: the start is in %s, what it was made of in %s", output, output / RECORD)
