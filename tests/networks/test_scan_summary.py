"""The summary of a scan against numpy, and what it may and may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_cpic.networks import scan_summary, summary_size
from monai_cpic.networks.scan_summary import QUANTILES


@pytest.mark.parametrize("cells", [101, 67])
def test_it_is_what_numpy_makes_of_the_values(cells: int) -> None:
    means = torch.randn(2, cells, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    means[1, 40:] = 0
    found = scan_summary(means, torch.tensor([0.5, 1.0, 0.25]).double())
    assert found.shape == (summary_size(2, 3),)
    for channel, values in zip(found[:20].view(2, 10), means.numpy(), strict=True):
        assert channel[0].item() == pytest.approx(values.mean())
        assert channel[1].item() == pytest.approx(values.std())
        quantiles = np.quantile(values, QUANTILES, method="nearest")
        np.testing.assert_allclose(channel[2:9].numpy(), (quantiles - values.mean()) / values.std())
    assert found[9].item() == pytest.approx(0.125 ** (1 / 3))
    assert found[19].item() == pytest.approx((0.125 * 40 / cells) ** (1 / 3))
    torch.testing.assert_close(found[20:], torch.tensor([0.5, 1.0, 0.25]).double().log())


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), axes=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_quantiles_are_bounded_whatever_the_values(values: list[float], axes: int) -> None:
    found = scan_summary(torch.tensor([values]).double(), torch.ones(axes).double())
    assert found.isfinite().all()
    assert (found[2:9].abs() <= 10 + 1e-3).all()  # the square root of 0.99 / 0.01, and of ranks beside it
    assert 0 <= found[9] <= 1


def test_the_order_of_the_cells_does_not_matter() -> None:
    means, extents = torch.rand(1, 64), torch.rand(3) + 0.1
    torch.testing.assert_close(scan_summary(means[:, torch.randperm(64)], extents), scan_summary(means, extents))


def test_the_unit_of_a_channel_matters_to_its_mean_and_deviation_alone() -> None:
    means, extents = torch.rand(1, 64).double(), torch.ones(3).double()
    found, small = scan_summary(means, extents), scan_summary(1e-3 * means, extents)
    torch.testing.assert_close(small[:2], 1e-3 * found[:2])
    torch.testing.assert_close(small[2:], found[2:])


@pytest.mark.parametrize("constant", [0.0, 0.7, 123.4, -1000.0])
def test_rounding_leaves_no_trace(constant: float) -> None:
    noise = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    rounded = (constant + 1e-7 * max(abs(constant), 1.0) * noise).double()
    exact, extents = torch.full((1, 64), constant).double(), torch.ones(3).double()
    for values in rounded[:, None]:
        torch.testing.assert_close(scan_summary(values, extents), scan_summary(exact, extents), rtol=1e-6, atol=0)


def test_a_mean_that_is_0_but_for_rounding_is_0() -> None:
    values = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    normalised = (values - values.mean()) / values.std()
    assert scan_summary(normalised + 1e-7, torch.ones(3))[0] == 0


def test_air_after_a_window_is_empty_though_interpolation_has_rounded_it() -> None:
    means = 1e-7 * torch.rand(1, 60, generator=torch.Generator().manual_seed(0)).double()
    means[:, :20] = 0.2
    assert scan_summary(means, torch.ones(3).double())[9].item() == pytest.approx((1 / 3) ** (1 / 3))
