"""An encoder that does not learn, below a linear layer that does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.devices import constant, move
from monai_cpic.networks.encoders.base import Encoder
from monai_cpic.networks.encoders.vector_memory import VectorMemory

__all__ = ["FrozenEncoder"]

PATCHES_PER_CALL = 256  # of the frozen encoder: bounds its memory
AXIS = 2**20  # voxels, at most: a voxel is an integer of so many digits to this base


class FrozenEncoder(Encoder):
    """The vectors of a pretrained encoder, which stays as it is, and a linear layer that is trained.

    The frozen part is always in evaluation mode and has no gradients, and its running statistics do not change.  The linear layer
    makes few channels of many features, as the latent field needs them.  The frozen part computes in the precision of its
    weights, also under autocast.

    What the frozen part makes of a voxel is kept if the voxel comes again (:meth:`Decomposition.repeats
    <monai_cpic.networks.Decomposition.repeats>`), and is then neither read nor encoded again.  It belongs to the values that the
    scan's handle reads (:attr:`LazyVolume.identity <monai_cpic.data.LazyVolume.identity>`), so that a scan that is flipped has
    vectors of its own, and to the weights: it is forgotten when they change.  Nothing is kept of a scan without a key.  Looking
    up makes the host wait for an accelerator.

    Args:
        encoder: pretrained; its vectors must be functions of the patches alone, so that
            :class:`~monai_cpic.networks.PositionedEncoder` goes around this one, not into it.
        n_dims: length of the latent vectors.
        mebibytes: of vectors that are kept at most, where the weights are; those of other voxels are computed each time.

    Attributes:
        memory: the vectors, with their size and how many were found.

    Example:
        >>> from monai_cpic.networks import PooledEncoder
        >>> encoder = FrozenEncoder(PooledEncoder(n_dims=64), n_dims=8)
        >>> encoder(torch.rand(9, 1, 7, 7, 7)).shape
        torch.Size([9, 8])
        >>> [name for name, weight in encoder.named_parameters() if weight.requires_grad]
        ['linear.weight', 'linear.bias']
    """

    def __init__(self, encoder: Encoder, n_dims: int = 16, mebibytes: float = 1024.0) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.linear = nn.Linear(encoder.n_dims, n_dims)
        self.in_channels = encoder.in_channels
        self.n_dims = n_dims
        self.receptive_field = encoder.receptive_field
        self.steps = encoder.steps
        self.memory = VectorMemory(mebibytes)

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Training mode, except for the frozen part."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        """Latent vectors ``[N, n_dims]`` of patches, or of what the frozen part has made of them, ``[N, features]``."""
        return self.linear(patches if patches.ndim == 2 else self._features(patches))

    @torch.no_grad()
    def read(self, volume: Volume, points: Tensor, again: bool) -> Tensor:
        """The vectors of the frozen part, ``[N, features]``."""
        scan = volume.identity if again else None
        if scan is None:
            return self._read(volume, points)
        self.memory.belong_to(self.encoder)
        digits = [AXIS**axis for axis in range(points.shape[1])]

        def compute(voxels: Tensor) -> Tensor:
            return self._read(volume, torch.stack([voxels // digit % AXIS for digit in digits], 1))

        return self.memory.look_up(scan, (points * constant(digits, points)).sum(1), compute)

    def _read(self, volume: Volume, points: Tensor) -> Tensor:
        patches = move(super().read(volume, points, again=False), self.linear.weight).to(self.linear.weight)
        return torch.cat([self._features(part) for part in patches.split(PATCHES_PER_CALL)])

    def _features(self, patches: Tensor) -> Tensor:
        with torch.autocast(patches.device.type, enabled=False):
            return self.encoder(patches)
