"""Vectors of the voxels of scans, kept from one call to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from monai_cpic.networks.weights_version import WeightsVersion
from monai_cpic.tensor_train import Memory

__all__ = ["VectorMemory"]


class VectorMemory:
    """Vectors by scan and voxel, up to a limit.

    Vectors that would exceed the limit are not kept, and those that are kept stay: where scans are visited in turn, as by epochs,
    replacing the oldest would lose each before it is needed.  A copy, such as that of another process, is empty.

    Args:
        mebibytes: the limit.

    Attributes:
        bytes: of the vectors that are kept, with their keys.
        found: number of vectors that were there when they were asked for.
        computed: number of vectors that were not.

    Example:
        >>> import torch
        >>> memory, voxels = VectorMemory(1.0), torch.tensor([4, 8, 4])
        >>> memory.look_up(b"a scan", voxels, lambda new: new[:, None] / 2).tolist()
        [[2.0], [4.0], [2.0]]
        >>> memory.look_up(b"a scan", voxels, lambda new: new[:, None] / 2).tolist(), memory.found, memory.computed
        ([[2.0], [4.0], [2.0]], 2, 2)
    """

    def __init__(self, mebibytes: float) -> None:
        self.mebibytes = mebibytes
        self.bytes = self.found = self.computed = 0
        self._scans: dict[bytes, Memory] = {}
        self._version = WeightsVersion()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.mebibytes,)

    def belong_to(self, module: nn.Module) -> None:
        """Forget all vectors unless this module made them, and its weights have not changed since."""
        if self._version.is_new(module):
            self.bytes, self._scans = 0, {}

    def look_up(self, scan: bytes, voxels: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """The vectors of voxels; those that are not known are computed.

        Args:
            scan: what identifies the scan.
            voxels: int64 ``[N]``.
            compute: from distinct voxels ``[M]`` to their vectors ``[M, F]``.

        Returns:
            ``[N, F]``.
        """
        kept = self._scans.get(scan, Memory(voxels.device))
        distinct, places = voxels.unique(return_inverse=True)
        known, rows = kept.known(distinct)
        new = distinct[~known]
        self.found += len(distinct) - len(new)
        self.computed += len(new)
        if not len(new):
            assert rows is not None
            return rows[places]
        made = compute(new)
        needed = made.nbytes + 2 * new.nbytes
        if self.bytes + needed <= self.mebibytes * 2**20:
            self._scans[scan] = kept
            self.bytes += needed
            return kept.look_up(distinct, lambda _: made)[places]
        vectors = made.new_empty(len(distinct), made.shape[1])
        vectors[~known] = made
        if rows is not None:
            vectors[known] = rows
        return vectors[places]
