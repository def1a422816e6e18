"""Why a prediction: what each voxel that was encoded contributes to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.devices import move
from monai_cpic.networks.encoders import Encoder
from monai_cpic.networks.grid import finite_patches

if TYPE_CHECKING:
    from monai_cpic.networks.nets.cpic import CPICNet

__all__ = ["Attribution", "attribute"]

NODES = 8  # of the integral along the path from a flat patch to the patch
PATCHES_PER_CALL = 256


@dataclass(frozen=True)
class Attribution:
    """What the structure around each encoded voxel contributes to a prediction.

    Attributes:
        prediction: the output that is explained.
        points: the voxels, int64 ``[N, D]``; several networks may have encoded the same.
        values: their contributions, float64 ``[N]``, in the unit of the output.
        shares: how the contribution of a point is spread over the voxels of its patches, float32 ``[N, L, *size]``, for each of
            ``L`` steps; the sum over all but the first axis is ``values``.
        steps: distances between the voxels of the patches.
    """

    prediction: float
    points: Tensor
    values: Tensor
    shares: Tensor
    steps: Sequence[int]

    @property
    def constant(self) -> float:
        """The rest of the prediction: contributions and constant add up to it."""
        return self.prediction - float(self.values.sum())

    @staticmethod
    def mean(parts: Sequence[Attribution]) -> Attribution:
        """The attribution of the mean of several networks' outputs, whose patches have the same steps."""
        points, values, shares = (torch.cat([getattr(part, name) for part in parts]) for name in ("points", "values", "shares"))
        number = len(parts)
        return Attribution(
            sum(part.prediction for part in parts) / number, points, values / number, shares / number, parts[0].steps
        )

    def scaled(self, unit: float) -> Attribution:
        """The same in another unit, of which the output's is ``unit``."""
        return Attribution(unit * self.prediction, self.points, unit * self.values, unit * self.shares, self.steps)


def attribute(network: CPICNet, volume: Volume, covariates: Tensor | None = None, output: int = 0) -> Attribution:
    r"""The contribution of each encoded voxel to one output: by how much the output would change if its patch were flat.

    A flat patch has its own mean everywhere, for each channel and step, so that the contribution is that of structure: of edges
    and texture, within the patch.  With the latent vector :math:`v_p` of the patch, :math:`v_p^0` of the flat one, and the
    gradient :math:`g_p` of the output :math:`y` with respect to :math:`v_p`, it is :math:`c_p = g_p \cdot (v_p - v_p^0)`.  Where
    the output is linear in the latent vectors this is exact: with any number of patches flat, :math:`y` changes by the sum of
    their contributions.  It is so for :class:`~monai_cpic.networks.RidgeReadout` and
    :class:`~monai_cpic.networks.TimeCourseReadout` with the scan and the means of :class:`~monai_cpic.networks.ScanCross` and
    :class:`~monai_cpic.networks.RandomCells`; a maximum is that of the place where it was found.  With a head, or with tensor
    trains of a cross-approximation, it is the change to first order.  What a :class:`~monai_cpic.networks.CoarseReadout` reads is
    not encoded, and part of the constant.

    Within a patch the contribution is spread by integrated gradients, from the flat patch to the patch (M. Sundararajan, A. Taly,
    Q. Yan, "Axiomatic attribution for deep networks", ICML 2017); what the integral misses is spread in proportion.

    It takes about ten times as long as a prediction.

    Args:
        network: the network, which is then in evaluation mode.
        volume: the scan.
        covariates: of the prediction, ``[1, P]``; a network that takes none ignores them.
        output: the column of the outputs.

    Example:
        >>> from monai_cpic.data import open_volume
        >>> from monai_cpic.networks import random_cells_net
        >>> network = random_cells_net((16, 16, 8), cells=32)
        >>> found = attribute(network, open_volume(torch.rand(1, 16, 16, 8)))
        >>> found.points.shape[1], abs(found.constant + float(found.values.sum()) - found.prediction) < 1e-6
        (3, True)
    """
    network.eval()
    with _encoded(network.encoder) as calls, torch.enable_grad():
        predicted = network([volume], covariates if network.head.covariates else None)[0, output]
        if predicted.requires_grad:  # not if the readout uses nothing that is encoded
            predicted.backward()
    network.zero_grad(set_to_none=True)
    prediction = float(predicted.detach())
    used = [(latent.grad.abs().amax(1) > 0, positions, latent.grad) for positions, latent in calls if latent.grad is not None]
    if not any(bool(rows.any()) for rows, _, _ in used):  # nothing of the scan enters the prediction
        return _nothing(network, prediction)
    positions = torch.cat([where[rows] for rows, where, _ in used])
    gradients = torch.cat([gradient[rows] for rows, _, gradient in used]).double()
    shape = torch.tensor(network.bottleneck.decomposition.spatial_shape, device="cpu")
    points = ((positions.cpu().double() + 1) * shape / 2).long()  # the inverse of grid_positions
    size, steps = network.encoder.receptive_field, network.encoder.steps
    found = []
    for own, *part in zip(*(part.split(PATCHES_PER_CALL) for part in (points, positions, gradients)), strict=True):
        patches = move(finite_patches(volume, own, size, steps), positions).to(positions)
        found.append(_of_patches(network.encoder, patches, *part))
    values, shares = torch.cat([value for value, _ in found]), torch.cat([share for _, share in found])
    return Attribution(prediction, points, values, shares.unflatten(1, (len(steps), -1)).sum(2), steps)


@contextmanager
def _encoded(encoder: Encoder) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Positions and latent vectors of all calls of an encoder; gradients stop at the vectors."""
    calls: list[tuple[Tensor, Tensor]] = []

    def record(_: nn.Module, given: tuple[Any, ...], latent: Tensor) -> Tensor:
        leaf = latent.detach().requires_grad_()
        calls.append((given[1].detach(), leaf))
        return leaf

    hook = encoder.register_forward_hook(record)
    try:
        yield calls
    finally:
        hook.remove()


def _of_patches(encoder: Encoder, patches: Tensor, positions: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Contributions ``[N]`` of patches, and their parts ``[N, L·C, *size]`` of each voxel."""
    flat = patches.mean(tuple(range(2, patches.ndim)), keepdim=True).expand_as(patches)
    away = patches - flat

    def change(given: Tensor) -> Tensor:
        return (encoder(given, positions).double() * gradients).sum(1)

    with torch.no_grad():
        values = change(patches) - change(flat)
    shares = torch.zeros_like(patches, dtype=torch.float64)
    places, weights = np.polynomial.legendre.leggauss(NODES)
    with torch.enable_grad():
        for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
            given = (flat + float(place) * away).requires_grad_()
            (slope,) = torch.autograd.grad(change(given).sum(), given)
            shares += float(weight) * (slope * away).double()
    size = shares.abs().flatten(1).sum(1).clamp(min=torch.finfo(torch.float64).tiny)
    missing = (values - shares.flatten(1).sum(1)) / size
    shares += shares.abs() * missing.reshape(-1, *[1] * (shares.ndim - 1))
    return values.cpu(), shares.float().cpu()


def _nothing(network: CPICNet, prediction: float) -> Attribution:
    axes, steps = len(network.bottleneck.decomposition.spatial_shape), network.encoder.steps
    size = [network.encoder.receptive_field] * axes
    nowhere = torch.empty(0, axes, dtype=torch.int64, device="cpu")
    none = torch.empty(0, dtype=torch.float64, device="cpu")
    return Attribution(prediction, nowhere, none, torch.empty(0, len(steps), *size, device="cpu"), steps)
