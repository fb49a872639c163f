"""How places are filled: whose the noise is, and that what is written follows the generator's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from test_gradient import adversary, decided_teacher, inputs, place

from zskd.models.soft_tokens import Choice
from zskd.teacher.classifier import Classifier

STEPS = 200


@pytest.fixture(scope="module")
def teacher() -> Classifier:
    """Its first layers are the generator."""
    return decided_teacher()


@pytest.fixture(scope="module")
def choices(teacher: Classifier) -> list[Choice]:
    """Of the whole vocabulary, from a distribution that is far from even."""
    made = adversary(teacher, token_candidates=0, sampling_temperature=0.3)
    with torch.no_grad():
        return [made.fill(inputs(teacher), place(step=step))[0][0] for step in range(STEPS)]


def test_a_token_has_its_noise_whatever_its_rank_and_the_other_candidates(teacher: Classifier) -> None:
    batch = inputs(teacher)
    few, all_of_them = (adversary(teacher, token_candidates=count).fill(batch, place(), 4)[0] for count in (32, 0))
    compared = 0
    for one, other in zip(few, all_of_them, strict=True):
        reachable = (one.candidates == other.tokens[:, None]).any(dim=1)
        assert torch.equal(one.tokens[reachable], other.tokens[reachable])
        assert not reachable.all()
        compared += int(reachable.sum())
    assert compared > 40


def test_logits_that_change_ranks_by_rounding_change_next_to_nothing(teacher: Classifier) -> None:
    batch, made = inputs(teacher), adversary(teacher, token_candidates=64)
    (before,), _ = made.fill(batch, place())
    with torch.no_grad():  # many equal pairs of logits, then the other of each pair a little ahead
        bias = made.generator.get_output_embeddings().bias
        table = made.generator.get_output_embeddings().weight
        table[1::2] = table[:-1:2]
        # No token without its equal, behind which a pair would lie half within the candidates.
        both = made.usable[: len(table) // 2 * 2].view(-1, 2).all(dim=1).repeat_interleave(2)
        made.usable = torch.nn.functional.pad(both, (0, len(table) - len(both)))
        (even,), _ = made.fill(batch, place())
        bias[::2] += 1e-6
        (first,), _ = made.fill(batch, place())
        bias[::2] -= 2e-6
        (second,), _ = made.fill(batch, place())
    assert not torch.equal(before.tokens, even.tokens)
    assert (first.candidates != second.candidates).double().mean() > 0.5
    assert torch.equal(first.tokens, second.tokens)
    dense = [
        torch.zeros(len(each.rows), len(table)).scatter(1, each.candidates, each.probabilities.detach())
        for each in (first, second)
    ]
    torch.testing.assert_close(*dense, rtol=1e-4, atol=1e-6)


def test_what_is_written_follows_the_distribution_of_the_generator(choices: list[Choice]) -> None:
    likelihoods = torch.cat([choice.log_probabilities.exp().double() for choice in choices])
    chosen = torch.cat([choice.tokens for choice in choices])
    expected = likelihoods.sum(dim=0).numpy()
    often = expected > 5
    observed = np.bincount(chosen.numpy(), minlength=len(expected))
    assert observed[~often].sum() <= 1.2 * expected[~often].sum() + 10
    found = observed[often]
    assert chisquare(found, expected[often] * found.sum() / expected[often].sum()).pvalue > 0.01
    assert likelihoods.max(dim=1).values.mean() > 0.1, "not an even distribution"


def test_places_of_a_row_are_filled_independently(choices: list[Choice]) -> None:
    same, expected = [], []
    for choice in choices:
        likelihoods, tokens = choice.log_probabilities.exp().double(), choice.tokens
        for row in choice.rows.unique():
            of_row = (choice.rows == row).nonzero()[:, 0]
            first, second = torch.combinations(of_row).T
            same += (tokens[first] == tokens[second]).tolist()
            expected += (likelihoods[first] * likelihoods[second]).sum(dim=1).tolist()
    chance = np.array(expected)
    deviation = np.sqrt((chance * (1 - chance)).sum())
    assert len(same) > 5000
    assert abs(sum(same) - chance.sum()) < 4 * deviation
