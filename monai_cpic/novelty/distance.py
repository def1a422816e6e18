"""How far a vector lies from those of a training, and how far new vectors of the same kind usually lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_cpic.extras import extra

__all__ = ["TypicalDistance"]

FOLDS = 20
ROBUST = 1.4826  # standard deviation of a normal distribution divided by its median absolute deviation
SMALLEST = 1e-12


@dataclass(frozen=True)
class TypicalDistance:
    r"""Mahalanobis distance from the mean of the training, divided by :math:`\sqrt p` for ``p`` numbers, and its usual limit.

    The covariance is shrunk, so that fewer vectors than numbers suffice (O. Ledoit, M. Wolf, A well-conditioned estimator for
    large-dimensional covariance matrices, J. Multivariate Analysis 88, 2004).  The limit is a quantile of the distances of
    vectors that are left out of the fit, whose logarithms are taken for normally distributed; median and median absolute
    deviation bear some odd vectors in the training.  No vector of the training is kept.

    Args:
        mean: float64 ``[p]``.
        precision: inverse of the covariance, float64 ``[p, p]``.
        limit: above which a distance is unusual.

    Example:
        >>> typical = TypicalDistance.fit(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)))
        >>> typical(torch.zeros(8)) < typical.limit < typical(torch.full((8,), 9.0))
        True
    """

    mean: Tensor
    precision: Tensor
    limit: float

    fewest = 10  # vectors: of fewer, the limit would be a guess

    @classmethod
    def fit(cls, vectors: Tensor, deviations: float = 3.0) -> TypicalDistance:
        """Fit to the vectors of a training.

        Args:
            vectors: ``[n, p]``.
            deviations: the quantile that is the limit, in standard deviations of a normal distribution; of 3, about 1 in 700
                vectors like those of the training lies beyond.

        Raises:
            ValueError: if there are fewer than ``fewest``.
            ImportError: without scikit-learn.
        """
        with extra("bundles"):  # here, since a distance that has been fitted does without
            from sklearn.covariance import LedoitWolf
            from sklearn.model_selection import KFold

        if len(vectors) < cls.fewest:
            raise ValueError(f"a usual distance needs at least {cls.fewest} vectors, got {len(vectors)}")
        known = vectors.double().cpu().numpy()
        left_out = np.concatenate(
            [
                np.sqrt(LedoitWolf().fit(known[others]).mahalanobis(known[own]) / known.shape[1])
                for others, own in KFold(min(FOLDS, len(known))).split(known)
            ]
        )
        logarithms = np.log(left_out.clip(SMALLEST))
        median = np.median(logarithms)
        spread = ROBUST * np.median(np.abs(logarithms - median))
        fitted = LedoitWolf().fit(known)
        limit = float(np.exp(median + deviations * spread))
        return cls(torch.from_numpy(fitted.location_), torch.from_numpy(fitted.get_precision()), limit)

    def __call__(self, vector: Tensor) -> float:
        """The distance of a vector ``[p]``; about 1 for one of the training."""
        away = vector.double().cpu() - self.mean
        return float((away @ self.precision @ away / len(away)).sqrt())

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> TypicalDistance:
        """The inverse of :meth:`state_dict`; tensors may be on any device."""
        return cls(state["mean"].cpu(), state["precision"].cpu(), state["limit"])
