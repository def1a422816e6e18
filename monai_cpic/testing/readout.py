"""What every readout must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from monai_cpic.networks import Readout, SampledField
from monai_cpic.testing.sampled_fields import in_another_gauge, random_fields

__all__ = ["ReadoutTestCase"]


class Known(NamedTuple):
    """What a readout is fitted to, see :meth:`~monai_cpic.networks.Readout.fit`."""

    field: SampledField
    target: Tensor
    covariates: Tensor
    rows: Tensor


class ReadoutTestCase:
    """Tests of a readout; derive a class whose name begins with ``Test`` and define :meth:`readout`.

    Attributes:
        mode_sizes: mode sizes of the scans of the tests.
        n_dims: channels of the fields.
        covariates: number of covariates.
        targets: number of columns of the target; the last is the same in all rows of a field.

    Example:
        >>> from monai_cpic.networks import RidgeReadout
        >>> class TestRidgeReadout(ReadoutTestCase):
        ...     def readout(self) -> Readout:
        ...         return RidgeReadout(self.targets, self.covariates, self.n_dims, self.mode_sizes)
        >>> TestRidgeReadout().test_a_prediction_for_each_row()
    """

    mode_sizes: Sequence[int] = (4, 3)
    n_dims = 3
    covariates = 2
    targets = 2

    def readout(self) -> Readout:
        """A new readout of such fields, covariates and targets."""
        raise NotImplementedError

    def fields(self, count: int, seed: int = 0) -> SampledField:
        """Random fields, equal in every call."""
        return random_fields(count, (4, 6), (1, 3, 1), self.n_dims, self.mode_sizes, seed)

    def known(self, count: int = 8, seed: int = 0) -> Known:
        """Fields of which each has one row or two, with targets that depend on fields and covariates."""
        field, generator = self.fields(count, seed), torch.Generator().manual_seed(seed)
        rows = torch.arange(count).repeat(2)[: count + count // 2]
        covariates = torch.randn(len(rows), self.covariates, generator=generator)
        shared = (field.scan.to_dense().flatten(1).mean(1) + field.means[:, 0]).float()[rows, None]
        own = shared + covariates.sum(1, keepdim=True) + torch.randn(len(rows), self.targets - 1, generator=generator)
        return Known(field, torch.cat([own, shared], 1), covariates, rows)

    def fitted(self, known: Known) -> Readout:
        """A new readout, fitted."""
        readout = self.readout()
        readout.fit(*known)
        return readout

    def predicted(self, readout: Readout, known: Known) -> Tensor:
        """Predictions for the rows."""
        with torch.no_grad():
            return readout(known.field, known.covariates, known.rows)

    def test_a_prediction_for_each_row(self) -> None:
        readout, known = self.readout(), self.known()
        assert not readout.fitted
        left_out = readout.fit(*known)
        assert readout.fitted and readout.summary
        assert left_out is None or (len(left_out) == len(known.rows) and bool(left_out.isfinite().all()))
        predictions = self.predicted(readout, known)
        assert predictions.ndim == 2 and len(predictions) == len(known.rows) and bool(predictions.isfinite().all())
        assert bool((predictions.std(0) > 0).any())

    def test_a_row_is_predicted_from_its_own_field_and_covariates(self) -> None:
        known = self.known()
        readout = self.fitted(known)
        for row, prediction in enumerate(self.predicted(readout, known)):
            alone = Known(known.field[[int(known.rows[row])]], known.target[:1], known.covariates[[row]], torch.zeros(1).long())
            torch.testing.assert_close(self.predicted(readout, alone)[0], prediction, rtol=1e-4, atol=1e-5)

    def test_one_row_for_each_field_and_covariates_of_zero_are_the_default(self) -> None:
        known = self.known()
        readout, zeros = self.fitted(known), torch.zeros(len(known.field), self.covariates)
        with torch.no_grad():
            expected = readout(known.field, zeros, torch.arange(len(known.field)))
            torch.testing.assert_close(readout(known.field, zeros), expected)
            torch.testing.assert_close(readout(known.field), expected)

    def test_predictions_do_not_depend_on_the_gauge(self) -> None:
        known = self.known()
        readout = self.fitted(known)
        again = known._replace(field=in_another_gauge(known.field))
        torch.testing.assert_close(self.predicted(readout, again), self.predicted(readout, known))

    def test_predictions_depend_on_the_state_dict_alone(self) -> None:
        readout, new, twin = self.fitted(self.known()), self.known(5, seed=1), self.readout()
        twin.load_state_dict(readout.state_dict())
        assert twin.fitted
        torch.testing.assert_close(self.predicted(twin, new), self.predicted(readout, new))

    def test_a_fit_depends_on_its_data_alone(self) -> None:
        known, readout = self.known(), self.fitted(self.known(7, seed=1))
        readout.fit(*known)
        torch.testing.assert_close(self.predicted(readout, known), self.predicted(self.fitted(known), known))

    def test_few_fields(self) -> None:
        fewest = self.readout().fewest
        known = self.known(fewest)
        assert bool(self.predicted(self.fitted(known), known).isfinite().all())
        if fewest > 1:
            with pytest.raises(ValueError):
                self.fitted(self.known(fewest - 1))

    def test_fields_that_are_all_the_same(self) -> None:
        known = self.known()
        known = known._replace(field=known.field[[0] * len(known.field)])
        assert bool(self.predicted(self.fitted(known), known).isfinite().all())
