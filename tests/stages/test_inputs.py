"""The first stages: what is found wrong before text is read, and inputs that leave room for the methods."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from small_encoder import corpus as corpus_of_words
from small_encoder import encoder

from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import method_queries
from zskd.errors import InputError
from zskd.models.sentence_encoder import SentenceEncoder
from zskd.stages import inputs
from zskd.stages.inputs import begin, limit_pool, read_corpus, settle_language, shape
from zskd.stages.request import make_request
from zskd.tasks.defaults import with_task_defaults
from zskd.text.shaping import INPUTS_PER_SENTENCE
from zskd.text.wide_pairs import SYNONYMS


def ready(config: DistillConfig, **changes: object) -> DistillConfig:
    return with_task_defaults(replace(config, **changes))


def test_a_setting_is_that_of_the_options(tiny_config: DistillConfig) -> None:
    setting = begin(make_request(tiny_config).config)
    assert (setting.task.name, setting.length, setting.pool_size, setting.processes) == ("sst2", 32, 640, 1)
    assert str(setting.folder.path) == tiny_config.output_dir and not setting.folder.path.exists()


def test_a_pool_too_small_for_the_adversary_is_found_before_text_is_read(tiny_config: DistillConfig) -> None:
    config = ready(tiny_config, perturb="adversarial", fresh_share=0.9, corpus=["absent.txt"])
    with pytest.raises(InputError, match="--pool-size 640: expected more than"):
        begin(config)


def test_an_objective_that_is_another_one_here_is_said(
    tiny_config: DistillConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "zskd"):
        begin(ready(tiny_config, objective="kd-topk", top_k=2))
    assert "going on with kd-topk" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "zskd"):
        begin(ready(tiny_config, objective="kd"))
    assert "going on with" not in caplog.text


def test_a_small_corpus_limits_the_pool_and_what_was_asked_for_is_kept(
    tiny_config: DistillConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting = begin(ready(tiny_config, pool_size=10**6))
    corpus = read_corpus(setting)
    limited = limit_pool(setting, corpus)
    assert limited.pool_size == INPUTS_PER_SENTENCE * corpus.count
    assert limited.folder.config.pool_size == 10**6, "the run's config.yaml"
    assert "instead of --pool-size 1000000" in caplog.text
    assert limit_pool(limited, corpus) == limited


@pytest.mark.parametrize("perturb", ["none", "random", "adversarial"])
def test_shaped_and_written_inputs_are_as_many_as_asked_for(tiny_config: DistillConfig, perturb: str) -> None:
    setting = begin(ready(tiny_config, perturb=perturb))
    pools = shape(setting, read_corpus(setting))
    asked = method_queries(setting.config)
    assert (asked > 0) == (perturb == "adversarial")
    assert len(pools.transfer) + asked == setting.pool_size
    assert all(0 < len(pool) <= setting.config.heldout // 2 for pool in (pools.select, pools.report))
    both = {*pools.transfer["text"]} & {*pools.select["text"], *pools.report["text"]}
    assert all(len(text.split()) == 2 for text in both), "of other documents; two words may stand in several"


def test_too_little_text_is_refused(tiny_config: DistillConfig, tmp_path: Path) -> None:
    path = tmp_path / "few.txt"
    path.write_text("\n".join(f"sentence number {i} of this small file" for i in range(20)) + "\n", encoding="utf-8")
    setting = begin(ready(tiny_config, corpus=[str(path)]))
    with pytest.raises(InputError, match="sentences"):
        read_corpus(setting)
    assert read_corpus(setting, least=20).count == 20


def test_the_language_is_guessed_or_asked_for_and_kept(tiny_config: DistillConfig, tmp_path: Path) -> None:
    german = tmp_path / "german.txt"
    german.write_text("\n".join(f"Über {i} Äcker führt der Weg zum Fluss." for i in range(400)), encoding="utf-8")
    found = {}
    for name, changes in {
        "auto": {},
        "en": {"language": "en"},
        "other": {"language": "other"},
        "German": {"corpus": [str(german)]},
        "German, said": {"corpus": [str(german)], "language": "de"},
        "German, taken for English": {"corpus": [str(german)], "language": "en"},
    }.items():
        setting = begin(ready(tiny_config, **changes))
        corpus = read_corpus(setting)
        settled = settle_language(setting, corpus)
        assert settled.folder.config.language == changes.get("language", "auto"), "the run's config.yaml"
        assert settle_language(settled, corpus) == settled
        pools = shape(setting, corpus)
        assert pools.fingerprint == shape(settled, corpus).fingerprint
        found[name] = (settled.config.language, pools.fingerprint)
    assert [language for language, _ in found.values()] == ["en", "en", "other", "other", "de", "en"]
    assert found["auto"] == found["en"] and found["German"][1] == found["German, said"][1]


def test_a_corpus_of_which_much_is_dropped_is_said(
    tiny_config: DistillConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "few.txt"
    path.write_text("\n".join(f"sentence number {i} of this file\nword {i}\n12 34 56 {'7 ' * 60}" for i in range(300)))
    with caplog.at_level(logging.INFO, "zskd"):
        read_corpus(begin(ready(tiny_config, corpus=[str(path)])))
    assert "corpus: 300 sentences; dropped: 300 too few letters (19,800 characters), 300 too short" in caplog.text
    assert "of the characters were dropped" in caplog.text


def test_wide_pairs_of_a_text_that_is_guessed_not_to_be_english_are_an_error(
    tiny_config: DistillConfig, own_tasks: dict[str, str], tmp_path: Path
) -> None:
    german = tmp_path / "german.txt"
    german.write_text("\n".join(f"Über {i} Äcker führt der Weg zum Fluss." for i in range(400)), encoding="utf-8")
    wide = {"task": own_tasks["answers"], "corpus": [str(german)], "pairs": "wide"}
    setting = begin(ready(tiny_config, **wide))
    corpus = read_corpus(setting)
    for ask in (settle_language, shape):
        with pytest.raises(InputError, match=r"--pairs wide: expected English text.*--pairs plain, or --language en"):
            ask(setting, corpus)
    plain = begin(ready(tiny_config, **{**wide, "pairs": "plain", "output_dir": str(tmp_path / "plain")}))
    assert settle_language(plain, corpus).config.language == "other"


def test_wide_pairs_are_made_with_the_embedded_encoder(
    tiny_config: DistillConfig, own_tasks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def small(cache: Path) -> SentenceEncoder:
        asked.append(cache)
        return encoder()

    monkeypatch.setattr(inputs, "embedded_encoder", small)
    text = corpus_of_words(tmp_path)
    found = {}
    for pairs in ("plain", "wide"):
        changes = {"corpus": list(text.sources), "pairs": pairs, "language": "en", "output_dir": str(tmp_path / pairs)}
        setting = begin(ready(tiny_config, task=own_tasks["answers"], **changes))
        found[pairs] = set(shape(setting, read_corpus(setting)).transfer["family"])
    assert asked == [setting.cache]
    assert not found["plain"] & SYNONYMS.keys() and found["wide"] >= SYNONYMS.keys()
