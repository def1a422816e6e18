"""The paper's projection: a convex problem with a differentiable solver."""

from __future__ import annotations

import torch
from monai.utils import optional_import
from torch import Tensor, nn

__all__ = ["ConvexSolver"]

DAMPING = 1e-9  # makes the coordinates of missing basis tensors 0


class ConvexSolver(nn.Module):
    """Coordinates ``f = argmin ‖Σ_j f_j B_j − T‖² + λ‖f‖²`` by cvxpylayers (paper, section 4, numerical issues).

    For an orthonormal basis these are the inner products ``⟨T, B_j⟩``, which take a tenth of the time; this solver serves for
    comparison.  Gradients pass through the optimality conditions (Agrawal et al., Differentiable convex optimization layers,
    2019).

    Args:
        rank: number of basis tensors.

    Raises:
        OptionalImportError: if cvxpylayers is not installed.
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        cvxpy, _ = optional_import("cvxpy")
        layer, _ = optional_import("cvxpylayers.torch", name="CvxpyLayer")
        coordinates, root, overlap = cvxpy.Variable(rank), cvxpy.Parameter((rank, rank)), cvxpy.Parameter(rank)
        distance = cvxpy.sum_squares(root @ coordinates) - 2 * overlap @ coordinates  # and ‖T‖², which does not matter
        problem = cvxpy.Problem(cvxpy.Minimize(distance + DAMPING * cvxpy.sum_squares(coordinates)))
        # SCS, the default of cvxpylayers, stops at an error of 1e-4 or takes ten times as long
        self.layer = layer(problem, [root, overlap], [coordinates], solver_args={"solve_method": "CLARABEL"})

    def forward(self, overlap: Tensor, gram: Tensor) -> Tensor:
        """Coordinates ``[B, rank]``.

        Args:
            overlap: ``⟨T, B_j⟩``, ``[B, rank]``.
            gram: ``⟨B_i, B_j⟩``, ``[rank, rank]``.
        """
        values, vectors = torch.linalg.eigh(gram)
        root = values.clamp(min=0).sqrt()[:, None] * vectors.mT
        # the tolerances of the solver are absolute
        size = overlap.detach().abs().amax(1, keepdim=True).clamp(min=torch.finfo(overlap.dtype).tiny)
        (coordinates,) = self.layer(root, overlap / size)
        return coordinates * size
