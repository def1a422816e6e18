"""Cox regression with a penalty on squared coefficients, and the survival that it expects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin
from statsmodels.duration.hazard_regression import PHReg

__all__ = ["CoxRegression"]

Array = NDArray[np.float64]


class CoxRegression(RegressorMixin, BaseEstimator):
    """Proportional hazards: the hazard of a patient is :math:`h_0(t) e^{x \\cdot \\beta}`.

    The partial likelihood (with Breslow's treatment of ties) and the baseline hazard (Breslow's estimate) are those of
    statsmodels.  The penalty keeps coefficients finite where a covariate separates the patients.  An estimator of scikit-learn's.

    Reference: D. R. Cox, "Regression models and life-tables", Journal of the Royal Statistical Society B 34(2), 1972.

    Args:
        alpha: penalty: ``alpha`` / 2 times the sum of the squared coefficients is subtracted from the partial log-likelihood.

    Example:
        >>> age, survival = np.array([[-1.0], [0.0], [1.0]]), np.array([[900.0, 1], [600.0, 1], [300.0, 1]])
        >>> cox = CoxRegression(alpha=1.0).fit(age, survival)
        >>> bool(cox.coef_[0] > 0)  # the old have the higher hazard
        True
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, features: Array, survival: Array) -> CoxRegression:
        """Fit the coefficients and the baseline hazard.

        Args:
            features: ``[N, P]``, of similar scale.
            survival: ``[N, 2]``: days until death or until last seen, and 1 if the patient died, else 0.
        """
        model = PHReg(survival[:, 0], features, status=survival[:, 1], ties="breslow")
        found = minimize(
            lambda beta: self.alpha / 2 * beta @ beta - model.loglike(beta),
            np.zeros(features.shape[1]),
            jac=lambda beta: self.alpha * beta - model.score(beta),
            method="BFGS",
        )
        self.coef_ = found.x
        # statsmodels gives the hazard accumulated before each of these days
        ((self.days_, self.hazard_, _),) = model.baseline_cumulative_hazard(self.coef_)
        days, died = survival.T
        at_risk = np.exp(features[days >= self.days_[-1]] @ self.coef_).sum()
        self.total_ = self.hazard_[-1] + died[days == self.days_[-1]].sum() / at_risk  # after the last of them
        return self

    def predict(self, features: Array) -> Array:
        """The expected survival up to the last day of the training patients (restricted mean), days, ``[M]``."""
        surviving = np.exp(-np.exp(np.asarray(features) @ self.coef_)[:, None] * self.hazard_)
        return np.asarray(surviving @ np.diff(self.days_, prepend=0.0))

    def survival(self, features: Array, times: Sequence[float]) -> Array:
        """The probability of surviving the given times, ``[M, T]``."""
        # the hazard before the first day that lies after a time
        hazard = np.append(self.hazard_, self.total_)[np.searchsorted(self.days_, times, side="right")]
        return np.asarray(np.exp(-np.exp(np.asarray(features) @ self.coef_)[:, None] * hazard))
