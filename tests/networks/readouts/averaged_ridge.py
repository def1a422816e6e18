"""Ridge regressions of scikit-learn with all weights of three parts and all penalties, averaged: an oracle of readouts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from torch import Tensor

from monai_cpic.networks.readouts import kernel_ridge

__all__ = ["Averaged", "few_candidates"]

PENALTIES, SHARES = [0.01, 0.3, 2.0], (0.0, 0.3, 1.0)


def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readouts try as many penalties and weights as this oracle."""
    monkeypatch.setattr(kernel_ridge, "PENALTIES", PENALTIES)
    monkeypatch.setattr(kernel_ridge, "SHARES", SHARES)


class Averaged:
    """The regressions, fitted to parts ``[R, P_k]``, whose weights are those of parts with the mean square 1 of a row.

    Attributes:
        weights: the mean weights of the parts.
        penalty: the geometric mean of the penalties.
        left_out: predictions of the rows of groups that are left out, ``[R, O]``.
    """

    def __init__(self, parts: Sequence[Tensor], target: Tensor, groups: Tensor) -> None:
        self.centres = [part.mean(0) for part in parts]
        deviations = [part - centre for part, centre in zip(parts, self.centres, strict=True)]
        units = [part.square().sum(1).mean() for part in deviations]
        self.units = [unit.where(unit > 0, 1.0).sqrt() for unit in units]
        first, share = ((SHARES if unit > 0 else (1.0,)) for unit in units[1:])  # what says nothing gets no weight
        candidates = {(s * f, s * (1 - f), 1 - s) for s, f in itertools.product(share, first)}
        self.candidates = [(weights, penalty) for weights in candidates for penalty in PENALTIES]
        left_out, self.models = [], []
        for weights, penalty in self.candidates:
            seen = self._columns(parts, weights)
            model = Ridge(penalty)
            each = cross_val_predict(model, seen, target.numpy(), cv=LeaveOneGroupOut(), groups=groups.numpy())
            left_out.append(each.reshape(target.shape))
            self.models.append(model.fit(seen, target.numpy()))
        errors = np.square(np.stack(left_out) - target.numpy()).mean((1, 2))
        likelihood = errors ** (-len(groups.unique()) / 4)
        self.shares = likelihood / likelihood.sum()
        self.left_out = torch.from_numpy(np.tensordot(self.shares, np.stack(left_out), 1))
        self.weights = torch.tensor(self.shares @ np.array([weights for weights, _ in self.candidates]))
        self.penalty = torch.tensor(np.exp(self.shares @ np.log([penalty for _, penalty in self.candidates])))

    def predict(self, parts: Sequence[Tensor]) -> Tensor:
        """The mean of their predictions, ``[N, O]``."""
        each = [
            model.predict(self._columns(parts, weights)).reshape(len(parts[0]), -1)
            for model, (weights, _) in zip(self.models, self.candidates, strict=True)
        ]
        return torch.from_numpy(np.tensordot(self.shares, np.stack(each), 1))

    def _columns(self, parts: Sequence[Tensor], weights: Sequence[float]) -> np.ndarray:
        scaled = zip(parts, self.centres, self.units, weights, strict=True)
        return torch.cat([(part - centre) * weight**0.5 / unit for part, centre, unit, weight in scaled], 1).numpy()
