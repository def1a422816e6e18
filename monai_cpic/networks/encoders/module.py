"""Any torch module as an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cpic.networks.encoders.base import Encoder

__all__ = ["ModuleEncoder"]


class ModuleEncoder(Encoder):
    """A module of your own, from patches to vectors, whose weights are trained further.

    :class:`~monai_cpic.networks.FrozenEncoder` keeps them as they are, :class:`~monai_cpic.networks.PositionedEncoder` adds the
    position.  Batch normalization is that of all encoders: running statistics, which the first training step sets anew from the
    scans at hand, also those that come with the weights.

    Args:
        module: from patches ``[N, len(steps) * in_channels, *(receptive_field,) * spatial_dims]`` to vectors ``[N, n_dims]``.
        in_channels: channels of the volumes.
        n_dims: length of the vectors.
        receptive_field: edge of the patches.  Even ones are possible, for modules that take no others.
        steps: distances between the voxels of a patch; more than one give the module more channels.
        spatial_dims: 2 or 3.

    Raises:
        ValueError: if the module does not take such patches, or makes something else of them.

    Example:
        >>> from monai.networks.nets import ResNet
        >>> features = ResNet("basic", [1, 1, 1, 1], [4, 8, 16, 32], n_input_channels=1, feed_forward=False)
        >>> ModuleEncoder(features, in_channels=1, n_dims=32, receptive_field=17)(torch.rand(5, 1, 17, 17, 17)).shape
        torch.Size([5, 32])
    """

    def __init__(
        self,
        module: nn.Module,
        in_channels: int,
        n_dims: int,
        receptive_field: int,
        steps: Sequence[int] = (1,),
        spatial_dims: int = 3,
    ) -> None:
        super().__init__()
        self.module = module
        self.in_channels = in_channels
        self.n_dims = n_dims
        self.receptive_field = receptive_field
        self.steps = tuple(steps)
        self._check((len(self.steps) * in_channels, *(receptive_field,) * spatial_dims))

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        return self.module(patches)

    @torch.no_grad()
    def _check(self, shape: tuple[int, ...]) -> None:
        """Two patches of zeros must become two vectors."""
        name = type(self.module).__name__
        weights = next(self.module.parameters(), torch.empty(0))
        try:
            vectors = self.module.eval()(weights.new_zeros(2, *shape))
        except Exception as error:  # whatever a module of someone else's raises
            raise ValueError(
                f"{name} does not take patches [N, {', '.join(map(str, shape))}], which is what in_channels={self.in_channels}, "
                f"receptive_field={self.receptive_field} and steps={self.steps} make: {error}"
            ) from error
        found = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        if found != (2, self.n_dims):
            raise ValueError(
                f"{name} makes {found} of patches {(2, *shape)}, but an encoder of n_dims={self.n_dims} must make "
                f"{(2, self.n_dims)}: give n_dims the number of its features; a map of features becomes a vector by "
                f"nn.Sequential(module, nn.AdaptiveAvgPool{len(shape) - 1}d(1), nn.Flatten(1))"
            )
