"""What every encoder must do."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_cpic.networks import Encoder

__all__ = ["EncoderTestCase"]


class EncoderTestCase:
    """Tests of an encoder; derive a class whose name begins with ``Test`` and define :meth:`encoder`.

    Example:
        >>> from monai_cpic.networks import PooledEncoder
        >>> class TestPooledEncoder(EncoderTestCase):
        ...     def encoder(self) -> Encoder:
        ...         return PooledEncoder(in_channels=2, n_dims=4)
        >>> TestPooledEncoder().test_a_vector_for_each_patch()
    """

    spatial_dims = 3

    def encoder(self) -> Encoder:
        """A new encoder."""
        raise NotImplementedError

    def patches(self, encoder: Encoder, count: int = 6) -> Tensor:
        """Random patches that an encoder takes."""
        return torch.rand(count, len(encoder.steps) * encoder.in_channels, *(encoder.receptive_field,) * self.spatial_dims)

    def positions(self, count: int = 6) -> Tensor:
        """Positions of patches, equal in every call."""
        return torch.linspace(-1, 1, count * self.spatial_dims).reshape(count, self.spatial_dims)

    def test_a_vector_for_each_patch(self) -> None:
        encoder = self.encoder().eval()
        vectors = encoder(self.patches(encoder), self.positions())
        assert vectors.shape == (6, encoder.n_dims) and bool(vectors.isfinite().all())

    def test_batched_equals_per_item(self) -> None:
        encoder = self.encoder().eval()
        patches = self.patches(encoder)
        with torch.no_grad():
            each = torch.cat([encoder(patch[None], place[None]) for patch, place in zip(patches, self.positions(), strict=True)])
            torch.testing.assert_close(encoder(patches, self.positions()), each, rtol=1e-4, atol=1e-5)

    def test_gradients_reach_every_parameter(self) -> None:
        encoder = self.encoder().eval()
        encoder(self.patches(encoder).requires_grad_(), self.positions()).square().sum().backward()
        for name, parameter in encoder.named_parameters():
            assert not parameter.requires_grad or (parameter.grad is not None and bool(parameter.grad.isfinite().all())), name

    def test_patches_of_one_value(self) -> None:
        encoder = self.encoder().eval()
        for value in (0.0, 1.0):
            assert bool(encoder(torch.full_like(self.patches(encoder), value), self.positions()).isfinite().all())

    def test_double_precision(self) -> None:
        encoder = self.encoder().eval()
        patches = self.patches(encoder)
        with torch.no_grad():
            single = encoder(patches, self.positions())
            double = encoder.double()(patches.double(), self.positions().double())
        assert double.dtype == torch.float64
        torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)
