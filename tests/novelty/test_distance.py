"""Distances against scikit-learn and the chi distribution, and how often a new vector lies beyond the limit."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
import torch
from scipy.stats import chi
from sklearn.covariance import LedoitWolf

from monai_cpic.novelty import TypicalDistance

MIXED = torch.randn(6, 6, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def vectors(count: int, seed: int) -> torch.Tensor:
    """Correlated normal vectors ``[count, 6]``, away from 0."""
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) @ MIXED + 100


def test_distances_are_scikit_learns() -> None:
    training, new = vectors(30, 0), vectors(5, 1)
    typical = TypicalDistance.fit(training)
    expected = (LedoitWolf().fit(training.numpy()).mahalanobis(new.numpy()) / 6) ** 0.5
    assert [typical(vector) for vector in new] == pytest.approx(expected.tolist())


def test_limit_is_a_high_quantile_of_the_chi_distribution() -> None:
    typical = TypicalDistance.fit(vectors(4000, 0))
    assert chi(6).sf(typical.limit * 6**0.5) < 0.01  # of normal vectors, whose distances have a known distribution
    assert typical.limit * 6**0.5 < chi(6).isf(1e-6)


@pytest.mark.parametrize("count", [10, 40, 160])
def test_few_new_vectors_lie_beyond_the_limit(count: int) -> None:
    beyond, wrong = [], []
    for seed in range(10):
        typical = TypicalDistance.fit(vectors(count, seed))
        beyond += [typical(vector) > typical.limit for vector in vectors(40, 100 + seed)]
        wrong += [typical(vector) > typical.limit for vector in vectors(40, 100 + seed) + 50]
    assert sum(beyond) <= 0.08 * len(beyond) and sum(wrong) > 0.9 * len(wrong)


def test_odd_vectors_in_the_training_do_not_lift_the_limit() -> None:
    clean, odd = vectors(60, 0), vectors(60, 0)
    odd[:4] += 1000
    assert TypicalDistance.fit(odd).limit < 2 * TypicalDistance.fit(clean).limit


def test_more_numbers_than_vectors() -> None:
    training = torch.randn(12, 200, generator=torch.Generator().manual_seed(0))
    typical = TypicalDistance.fit(training)
    assert typical(torch.zeros(200)) < typical.limit < typical(torch.full((200,), 5.0))


def test_equal_vectors_have_no_distance() -> None:
    typical = TypicalDistance.fit(torch.ones(20, 3))
    assert typical(torch.ones(3)) <= typical.limit


def test_a_file_holds_it() -> None:
    typical, file = TypicalDistance.fit(vectors(20, 0)), io.BytesIO()
    torch.save(typical.state_dict(), file)
    file.seek(0)
    read = TypicalDistance.from_state_dict(torch.load(file, weights_only=True))
    assert read(torch.zeros(6)) == typical(torch.zeros(6)) and read.limit == typical.limit


def test_too_few_vectors() -> None:
    with pytest.raises(ValueError, match="at least 10 vectors, got 9"):
        TypicalDistance.fit(vectors(9, 0))


def test_handlers_need_no_scikit_learn() -> None:
    """Which the package without extras does not bring."""
    code = "import sys; sys.modules['sklearn'] = None; import monai_cpic.handlers"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
