"""The interface of encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.networks.grid import finite_patches

__all__ = ["Encoder"]


class Encoder(nn.Module, ABC):
    """From the patch of voxels around a grid point to the point's latent vector (paper, section 3.1).

    A new encoder sets the attributes and implements :meth:`forward`.  A latent vector is a function of its patch and the patch's
    position alone, so the encoder always runs in evaluation mode: batch normalization uses running statistics, which
    :class:`~monai_cpic.networks.TTBottleneck` updates once in each training step.  Derive the tests of an encoder from
    :class:`~monai_cpic.testing.EncoderTestCase`.

    Attributes:
        in_channels: channels of the volumes.
        n_dims: length of the latent vectors, the channels of the latent field.
        receptive_field: edge of the patches, in voxels; of an odd one, the patches of a flipped scan are the flipped patches.
        steps: distances between the voxels of a patch, see :meth:`~monai_cpic.data.LazyVolume.gather`; more than one show the
            encoder what is near and what is far.

    Example:
        >>> class MeanEncoder(Encoder):
        ...     in_channels, n_dims, receptive_field = 1, 1, 3
        ...     def forward(self, patches, positions=None):
        ...         return patches.flatten(1).mean(1, keepdim=True)
    """

    in_channels: int
    n_dims: int
    receptive_field: int
    steps: Sequence[int] = (1,)

    @abstractmethod
    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        """Latent vectors ``[N, n_dims]``.

        Args:
            patches: ``[N, len(steps) * in_channels, *(receptive_field,) * D]``: all channels of the first step, then those of the
                second, ….
            positions: of the patches' centres in the grid, ``[N, D]``, -1 to 1 along each axis; most encoders ignore them.
        """

    def read(self, volume: Volume, points: Tensor, again: bool) -> Tensor:
        """What :meth:`forward` is given of a volume around grid points: the patches.

        Args:
            volume: the volume.
            points: int64 ``[N, D]``.
            again: whether the same points will be asked for in later calls.

        Returns:
            ``[N, …]``, on any device.

        Raises:
            ValueError: if a voxel is NaN or infinite.
        """
        return finite_patches(volume, points, self.receptive_field, self.steps)
