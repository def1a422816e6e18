"""The tensor train format, batched: evaluation, inner products, rounding and TT-SVD (Oseledets 2011)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from monai_cpic.devices import move
from monai_cpic.tensor_train.modes import Mode, flat_index, grid_shape

__all__ = ["DigitPositions", "TensorTrain", "bond_ranks", "digit_positions", "multiply_core"]


class TensorTrain:
    """A batch of tensors in the tensor train format.

    ``X[b, i_1, …, i_D] = Q_1[b, :, i_1, :] Q_2[b, :, i_2, :] … Q_D[b, :, i_D, :]`` (paper, eq. 1), with bond ranks
    ``r_0 = r_D = 1``.  All operations are differentiable with respect to the cores.

    Args:
        cores: ``D`` tensors ``[B, r_{k-1}, n_k, r_k]`` of one dtype and device.

    Raises:
        ValueError: if there is no core, or neighbouring cores do not fit.

    Example:
        >>> x = torch.einsum("i,j,k->ijk", torch.arange(2.0), torch.arange(3.0), torch.ones(4))[None]
        >>> tt = TensorTrain.from_dense(x, (2, 3, 4), rank=1)
        >>> torch.allclose(tt.to_dense(), x, atol=1e-6), tt.ranks
        (True, (1, 1, 1, 1))
    """

    def __init__(self, cores: Sequence[Tensor]) -> None:
        self.cores: tuple[Tensor, ...] = tuple(cores)
        shapes = [tuple(core.shape) for core in self.cores]
        if not shapes or any(len(shape) != 4 for shape in shapes):
            raise ValueError(f"a tensor train needs cores [B, r, n, r'], got {shapes}")
        bonds = [shape[1] for shape in shapes] + [1], [1] + [shape[3] for shape in shapes]
        if bonds[0] != bonds[1] or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"the cores' bonds or batch sizes do not fit: {shapes}")

    # ---- description ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Mode sizes ``(n_1, …, n_D)``."""
        return tuple(core.shape[2] for core in self.cores)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Bond ranks ``(r_0, …, r_D)``."""
        return (1, *(core.shape[3] for core in self.cores))

    @property
    def batch_size(self) -> int:
        """Number of tensors in the batch."""
        return len(self.cores[0])

    def __len__(self) -> int:
        return self.batch_size

    def __repr__(self) -> str:
        return f"TensorTrain(batch_size={self.batch_size}, shape={self.shape}, ranks={self.ranks})"

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> TensorTrain:
        """Some tensors of the batch, by a slice, a list of positions or a boolean mask."""
        return self._map(lambda core: core[index])

    # ---- constructors and conversions ----------------------------------------------------------------------------------

    @classmethod
    def from_dense(cls, x: Tensor, modes: Sequence[Mode] | Sequence[int], rank: int) -> TensorTrain:
        """TT-SVD: the quasi-optimal tensor train of bond rank at most ``rank`` (Oseledets 2011, algorithm 1).

        Differentiable where the singular values of the unfoldings are distinct: those of real scans are, those of a constant are
        not.

        Args:
            x: ``[B, *shape]`` or ``[B, *shape, channels]``.
            modes: modes that tensorize the grid, or mode sizes into which ``x[b]`` is reshaped in row-major order.
            rank: upper bound of all bond ranks.

        Raises:
            ValueError: if ``rank`` is below 1, or ``x`` does not have the modes' shape.
        """
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        sizes = [mode if isinstance(mode, int) else len(mode) for mode in modes]
        tables = [mode for mode in modes if isinstance(mode, Mode)]
        rest = _tensorize(x, tables) if tables else x.reshape(len(x), -1)
        if rest[0].numel() != torch.Size(sizes).numel():
            raise ValueError(f"a tensor {tuple(x.shape)} does not fit modes of sizes {sizes}")
        bonds = bond_ranks(sizes, rank)
        cores = []
        for k, size in enumerate(sizes[:-1]):
            matrix = rest.reshape(len(x), bonds[k] * size, -1)
            u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
            cores.append(u[..., : bonds[k + 1]].reshape(len(x), bonds[k], size, bonds[k + 1]))
            rest = s[:, : bonds[k + 1], None] * vh[:, : bonds[k + 1]]
        cores.append(rest.reshape(len(x), bonds[-2], sizes[-1], 1))
        return cls(cores)

    def to_dense(self) -> Tensor:
        """All entries, ``[B, n_1, …, n_D]``."""
        dense = self.cores[0].new_ones(self.batch_size, 1, 1)
        for core in self.cores:
            dense = torch.einsum("bmi,binj->bmnj", dense, core).flatten(1, 2)
        return dense.reshape(self.batch_size, *self.shape)

    def evaluate(self, digits: Tensor) -> Tensor:
        """Entries at given multi-indices.

        Args:
            digits: multi-indices, int64 ``[P, D]``, the same for all tensors of the batch.

        Returns:
            ``[B, P]``.

        Raises:
            ValueError: if there is not one digit for each mode, or a digit is out of range.
        """
        if digits.ndim != 2 or digits.shape[1] != len(self.cores):
            raise ValueError(f"{len(self.cores)} cores need digits [P, {len(self.cores)}], got {tuple(digits.shape)}")
        row = self.cores[0].new_ones(self.batch_size, len(digits), 1)
        for k, core in enumerate(self.cores):
            row = multiply_core(row, core, digit_positions(digits[:, k], core.shape[2]))
        return row[..., 0]

    # ---- algebra -------------------------------------------------------------------------------------------------------

    def __add__(self, other: TensorTrain) -> TensorTrain:
        """The sum, tensor by tensor.  Bond ranks add up (:meth:`round` lowers them).  A batch of one is added to every tensor."""
        if self.shape != other.shape:
            raise ValueError(f"sum of tensor trains of different shapes: {self.shape} and {other.shape}")
        if 1 not in (len(self), len(other)) and len(self) != len(other):
            raise ValueError(f"sum of batches of {len(self)} and {len(other)} tensor trains")
        batch, last = max(len(self), len(other)), len(self.cores) - 1
        cores = []
        for k, (a, b) in enumerate(zip(self.cores, other.cores, strict=True)):
            a, b = a.expand(batch, -1, -1, -1), b.expand(batch, -1, -1, -1)
            if last == 0:
                cores.append(a + b)
            elif k in (0, last):
                cores.append(torch.cat([a, b], 3 if k == 0 else 1))
            else:
                upper = torch.cat([a, a.new_zeros(*a.shape[:3], b.shape[3])], 3)
                lower = torch.cat([b.new_zeros(*b.shape[:3], a.shape[3]), b], 3)
                cores.append(torch.cat([upper, lower], 1))
        return TensorTrain(cores)

    def __mul__(self, factor: float | Tensor) -> TensorTrain:
        """The tensors, scaled.

        Args:
            factor: a number, or one for each tensor, ``[B]``.
        """
        factor = torch.as_tensor(factor, dtype=self.cores[0].dtype, device=self.cores[0].device)
        return TensorTrain([self.cores[0] * factor.reshape(-1, 1, 1, 1), *self.cores[1:]])

    __rmul__ = __mul__

    def __sub__(self, other: TensorTrain) -> TensorTrain:
        """The difference, tensor by tensor."""
        return self + -1.0 * other

    def inner(self, other: TensorTrain) -> Tensor:
        """Inner products of all pairs of the two batches, ``[B, B']``, at cost ``B B' D n r³``."""
        if self.shape != other.shape:
            raise ValueError(f"inner product of tensor trains of different shapes: {self.shape} and {other.shape}")
        # The first mode may be long: its cores are contracted directly, without a product for each pair of tensors.
        product = torch.einsum("pink,qinl->pqkl", self.cores[0], other.cores[0])
        for a, b in zip(self.cores[1:], other.cores[1:], strict=True):
            half = torch.einsum("pqij,pink->pqjnk", product, a)
            product = torch.einsum("pqjnk,qjnl->pqkl", half, b)
        return product[..., 0, 0]

    def norm(self) -> Tensor:
        """Frobenius norms, ``[B]``."""
        product = self.cores[0].new_ones(self.batch_size, 1, 1)
        for core in self.cores:
            half = torch.einsum("bij,bink->bjnk", product, core)
            product = torch.einsum("bjnk,bjnl->bkl", half, core)
        square = product[:, 0, 0]
        positive = square > 0
        return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)  # the gradient at zero is zero

    def round(self, rank: int | None = None, tol: float | None = None) -> TensorTrain:
        """Lower the bond ranks: orthogonalise right to left, then truncate by SVD left to right (Oseledets 2011, algorithm 2).

        Args:
            rank: upper bound of all bond ranks.
            tol: bound of the relative Frobenius error, met by every tensor of the batch.

        Raises:
            ValueError: if neither or both are given, ``rank`` is below 1 or ``tol`` is negative.
        """
        if (rank is None) == (tol is None):
            raise ValueError("round to either a rank or a tolerance")
        if (rank is not None and rank < 1) or (tol is not None and tol < 0):
            raise ValueError(f"rank must be at least 1 and the tolerance not negative, got {rank}, {tol}")
        cores = list(self.cores)
        for k in range(len(cores) - 1, 0, -1):
            b, left, n, right = cores[k].shape
            q, upper = torch.linalg.qr(cores[k].reshape(b, left, n * right).mT)
            cores[k] = q.mT.reshape(b, -1, n, right)
            cores[k - 1] = torch.einsum("bink,bjk->binj", cores[k - 1], upper)
        budget = None if tol is None else tol * self.norm() / max(len(cores) - 1, 1) ** 0.5
        for k in range(len(cores) - 1):
            b, left, n, right = cores[k].shape
            u, s, vh = torch.linalg.svd(cores[k].reshape(b, left * n, right), full_matrices=False)
            if budget is None:
                keep = min(s.shape[1], rank or 1)
            else:
                tail = s.square().flip(1).cumsum(1).flip(1).sqrt()  # the error if this value and all smaller ones are dropped
                needed = tail > budget[:, None]
                keep = max(int(needed.sum(1).max()), 1)
                s = s * needed  # all tensors of a batch share the rank; one that needs less gets zeros
            cores[k] = u[..., :keep].reshape(b, left, n, keep)
            cores[k + 1] = torch.einsum("bij,bjnk->bink", s[:, :keep, None] * vh[:, :keep], cores[k + 1])
        return TensorTrain(cores)

    @staticmethod
    def cat(trains: Sequence[TensorTrain]) -> TensorTrain:
        """Concatenate batches of tensor trains of equal shapes and ranks."""
        return TensorTrain([torch.cat(cores) for cores in zip(*(train.cores for train in trains), strict=True)])

    # ---- movement ------------------------------------------------------------------------------------------------------

    def detach(self) -> TensorTrain:
        """The same tensor train, detached from the autograd graph."""
        return self._map(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> TensorTrain:
        """Convert to another dtype or device; the arguments are those of ``torch.Tensor.to``."""
        return self._map(lambda core: core.to(*args, **kwargs))

    def state_dict(self) -> dict[str, Tensor]:
        """The cores by name, for ``torch.save``."""
        return {f"core_{k}": core for k, core in enumerate(self.cores)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> TensorTrain:
        """The inverse of :meth:`state_dict`."""
        return cls([state[f"core_{k}"] for k in range(len(state))])

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.cores)

    def _map(self, function: Callable[[Tensor], Tensor]) -> TensorTrain:
        return TensorTrain([function(core) for core in self.cores])


class DigitPositions(NamedTuple):
    """Positions of the multi-indices, grouped by their digit in one mode.

    Attributes:
        of: for each digit, the positions that have it, int64.
        back: the permutation that undoes the grouping.
    """

    of: list[Tensor]
    back: Tensor


def digit_positions(digits: Tensor, size: int) -> DigitPositions:
    """Group positions by digit, so that each slice of a core is multiplied once.

    Args:
        digits: of one mode, int64 ``[P]``.
        size: of the mode.

    Raises:
        ValueError: if a digit is not in ``0 … size - 1``.
    """
    of = [(digits == digit).nonzero()[:, 0] for digit in range(size)]
    if sum(len(where) for where in of) < len(digits):
        raise ValueError(f"digits from {int(digits.min())} to {int(digits.max())} of a mode of size {size}")
    return DigitPositions(of, torch.cat(of).argsort())


def multiply_core(vectors: Tensor, core: Tensor, positions: DigitPositions) -> Tensor:
    """Multiply row vectors ``[B, P, r]`` by the slices of a core at their digits, ``[B, P, r']``."""
    return torch.cat([vectors[:, where] @ core[:, :, digit] for digit, where in enumerate(positions.of)], 1)[:, positions.back]


def bond_ranks(sizes: Sequence[int], rank: int) -> list[int]:
    """Bond ranks ``[r_0, …, r_D]``: ``rank``, or less where the modes on one side of a bond have fewer entries."""
    ranks = [1] * (len(sizes) + 1)
    for k in range(1, len(sizes)):
        ranks[k] = min(ranks[k - 1] * sizes[k - 1], rank)
    for k in range(len(sizes) - 1, 0, -1):
        ranks[k] = min(ranks[k], ranks[k + 1] * sizes[k])
    return ranks


def _tensorize(x: Tensor, modes: Sequence[Mode]) -> Tensor:
    """``x[b]`` flattened in the lexicographic order of the modes' multi-indices."""
    shape = grid_shape(modes)
    if x.ndim == len(shape):
        x = x[..., None]
    if tuple(x.shape[1:]) != shape:
        raise ValueError(f"the modes tensorize a grid {shape} (channels last), got {tuple(x.shape[1:])}")
    index = torch.zeros(1, dtype=torch.int64, device=x.device)
    for mode in modes:
        index = (index[:, None] + flat_index(modes, move(mode.offsets, x))).flatten()
    return x.reshape(len(x), -1)[:, index]
