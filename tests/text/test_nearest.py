"""Nearest sentences: bands that are kept, no pair with itself, a bounded search, and a cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_encoder import corpus, encoder

from zskd.models.sentence_encoder import SentenceEncoder
from zskd.text import nearest
from zskd.text.nearest import BANDS, cached_nearest, pairs_in_bands

RNG = np.random.default_rng


def directions(count: int, seed: int = 0) -> np.ndarray:
    """Directions of which many are near each other, the first two the same."""
    made = RNG(seed).normal(size=(count, 6)) + 1.0
    made[1] = made[0]
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 64, 1_000])
def test_pairs_are_of_their_band_and_each_stands_once(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", block)
    rows = directions(300)
    found = pairs_in_bands(rows, RNG(0))
    assert found.keys() == BANDS.keys()
    for name, (pairs, cosines) in found.items():
        low, high = BANDS[name]
        assert len(pairs) > 150 and (pairs[:, 0] < pairs[:, 1]).all()
        assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
        exact = (rows[pairs[:, 0]] * rows[pairs[:, 1]]).sum(axis=1)
        np.testing.assert_allclose(cosines, exact, atol=1e-5)
        assert (exact > low - 1e-5).all() and (exact < high + 1e-5).all()
        # Not only the nearest: they spread over the band.
        assert np.histogram(exact, bins=4, range=(low, high))[0].min() > 0.1 * len(pairs)
    assert [0, 1] not in found["nearest"][0].tolist(), "the same twice"


def test_every_sentence_that_has_another_in_the_band_gets_the_one_nearest_to_what_it_asks_for() -> None:
    angles = np.radians([0.0, 40.0, 50.0, 100.0, 180.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = pairs_in_bands(rows, RNG(0), {"band": (0.6, 0.8)})
    # Cosines of 0.77 (0-1), 0.64 (0-2, 2-3); 0.5 (1-3) and 0.98 (1-2) lie outside.
    assert {(0, 2), (2, 3)} >= {(i, j) for i, j in found["band"][0].tolist()} - {(0, 1)}
    assert {i for pair in found["band"][0].tolist() for i in pair} == {0, 1, 2, 3}


def test_nothing_in_a_band_is_no_pair() -> None:
    rows = np.eye(4, dtype=np.float32)
    assert all(pairs.shape == (0, 2) for pairs, _ in pairs_in_bands(rows, RNG(0)).values())


def test_pairs_are_rows_of_those_that_were_given_at_most_so_many_and_evenly_spaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, small = corpus(tmp_path, 240), encoder()
    given = np.arange(20, 120)
    read: list[str] = []
    encode = SentenceEncoder.texts

    def texts(self: SentenceEncoder, asked: list[str], what: str) -> np.ndarray:
        read.extend(asked)
        return encode(self, asked, what)

    monkeypatch.setattr(SentenceEncoder, "texts", texts)
    found = cached_nearest(made.sentences, made.fingerprint, given, 24, small, tmp_path)
    assert len(read) == 100 and len(found["nearest"]) > 30
    assert set(np.concatenate(list(found.values())).ravel().tolist()) <= set(given.tolist())
    monkeypatch.setattr(nearest, "MOST_SENTENCES", 25)
    read.clear()
    fewer = cached_nearest(made.sentences, made.fingerprint, np.arange(0, 100), 3, small, tmp_path)
    assert read == [" ".join(text.split()[:3]) for text in made.sentences[range(0, 100, 4)]["text"]]
    assert set(np.concatenate(list(fewer.values())).ravel().tolist()) <= set(range(0, 100, 4))


def test_pairs_are_kept_by_content_and_made_anew_where_the_file_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows, small = corpus(tmp_path, 240), np.arange(100), encoder()

    def ask(
        encoder_: SentenceEncoder = small, fingerprint: str = made.fingerprint, given: np.ndarray = rows, most=24
    ) -> dict[str, np.ndarray]:
        return cached_nearest(made.sentences, fingerprint, given, most, encoder_, tmp_path)

    first = ask()
    for more in ({"encoder_": encoder(1)}, {"encoder_": replace(encoder(), precision="bf16")}, {"fingerprint": "f"}):
        ask(**more)  # type: ignore[arg-type]
    ask(given=rows[:90])
    ask(most=10)
    paths = list((tmp_path / "neighbours").glob("*/sentences.arrow"))
    assert len(paths) == 6
    for path in paths:
        path.write_bytes(b"damaged")
    again = ask()
    assert "made anew" in caplog.text
    monkeypatch.setattr(nearest, "pairs_in_bands", lambda *_: pytest.fail("searched again"))
    for found in (again, ask()):
        assert all(np.array_equal(found[name], first[name]) for name in BANDS)
