"""A few numbers about a whole scan: how bright it is, how much of it is filled, and how large it is."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["scan_summary", "summary_size"]

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
ROUNDING = 1e-5  # of the root mean square: what is smaller is 0, since machines round differently
FLAT = 1e-6  # a deviation below it is rounding, too, such as that of air after a window


def scan_summary(means: Tensor, extents: Tensor) -> Tensor:
    r"""The distribution of the intensities of each channel, the size of what is not 0, and the extents of the scan.

    Quantiles are in deviations from the mean, and bounded then (by :math:`\sqrt{p / (1 - p)}` or its inverse), so that those of a
    rare bright scan are no outliers; quantiles as they are make ridge regression fail on maps of lesions.

    Args:
        means: over cells of the scan, as the network sees it, float ``[C, N]``.
        extents: the share of each axis of the grid that the scan fills, ``[D]``.

    Returns:
        ``[summary_size(C, D)]``: for each channel the mean, the deviation, seven quantiles, and the ``D``-th root of the share of
        the grid that is not 0; then the logarithms of the extents.  Of a channel that is constant but for rounding, the deviation
        and the quantiles are 0.

    Example:
        >>> found = scan_summary(torch.tensor([[0.0, 0.0, 0.0, 4.0]]), torch.tensor([1.0, 1.0]))
        >>> [round(number, 2) for number in found.tolist()]
        [1.0, 1.73, -0.58, -0.58, -0.58, -0.58, -0.58, 1.73, 1.73, 0.5, 0.0, 0.0]
    """
    small = (ROUNDING * means.square().mean(1, keepdim=True).sqrt()).clamp(min=FLAT)
    mean, deviation = means.mean(1, keepdim=True), means.std(1, correction=0, keepdim=True)
    ranked = means.sort(1).values
    quantiles = torch.stack([ranked[:, round(share * (means.shape[1] - 1))] for share in QUANTILES], 1)
    spread = torch.cat([deviation, (quantiles - mean) / deviation], 1).where(deviation > small, 0.0)
    filled = (means.abs() > small).to(means).mean(1, keepdim=True) * extents.prod()
    channels = torch.cat([mean.where(mean.abs() > small, 0.0), spread, filled ** (1 / len(extents))], 1)
    return torch.cat([channels.flatten(), extents.log()])


def summary_size(channels: int, axes: int) -> int:
    """The number of values of :func:`scan_summary`."""
    return channels * (len(QUANTILES) + 3) + axes
