"""Averages of ridge regressions, against the regressions that are averaged."""

from __future__ import annotations

import averaged_ridge
import pytest
import torch

from monai_cpic.networks.readouts import kernel_ridge
from monai_cpic.networks.readouts.kernel_ridge import averaged_fit, centred, left_out_errors, members_of, unit_kernel


def parts(rows: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, columns, dtype=torch.float64, generator=generator) for columns in (9, 4, 2)]


def test_all_penalties_and_weights_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaged_ridge, "PENALTIES", [10.0 ** (k / 4) for k in range(-20, 13)])
    monkeypatch.setattr(averaged_ridge, "SHARES", (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0))
    known = [part if k else part * 0 for k, part in enumerate(parts(6))]  # of the second and the third, 231 regressions
    target = known[1][:, :1] + known[2][:, :1] + torch.randn(6, 1, dtype=torch.float64)
    kernels = [unit_kernel(centred(part @ part.mT))[0] for part in (known[1], known[2], known[0])]
    found = averaged_fit((kernels[0], kernels[1], kernels[2]), target, members_of(torch.arange(6)))
    expected = averaged_ridge.Averaged([known[1], known[2], known[0]], target, torch.arange(6))
    torch.testing.assert_close(found.weights, expected.weights)
    torch.testing.assert_close(found.penalty, expected.penalty)
    torch.testing.assert_close(found.left_out, expected.left_out, rtol=1e-6, atol=1e-8)


def test_a_regression_that_is_not_finite_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known, members = parts(8), members_of(torch.arange(8))
    kernels = tuple(unit_kernel(centred(part @ part.mT))[0] for part in known)
    target = known[0][:, :1]

    def fit(broken: bool) -> torch.Tensor:
        def errors(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            residuals, duals = left_out_errors(*given)
            residuals[0] = duals[0] = torch.nan if broken else 1e30  # of one penalty
            return residuals, duals

        monkeypatch.setattr(kernel_ridge, "left_out_errors", errors)
        found = averaged_fit((kernels[0], kernels[1], kernels[2]), target, members)
        return torch.cat([found.left_out, *found.duals])

    assert fit(broken=True).isfinite().all()
    torch.testing.assert_close(fit(broken=True), fit(broken=False))


@pytest.mark.parametrize("target", [0.0, 0.1])
def test_a_constant_target_is_predicted(target: float) -> None:
    kernels = tuple(unit_kernel(centred(part @ part.mT))[0] for part in parts(7))
    known = torch.full((7, 2), target, dtype=torch.float64)
    found = averaged_fit((kernels[0], kernels[1], kernels[2]), known, members_of(torch.arange(7)))
    torch.testing.assert_close(found.left_out, known)
    torch.testing.assert_close(found.duals, torch.zeros(3, 7, 2, dtype=torch.float64))
