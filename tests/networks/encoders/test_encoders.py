"""The encoders that come with the package."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.networks import Encoder, PatchEncoder, PooledEncoder, PositionedEncoder, VoxelEncoder
from monai_cpic.testing import EncoderTestCase


class TestPatchEncoder(EncoderTestCase):
    def encoder(self) -> Encoder:
        return PatchEncoder(in_channels=2, n_dims=3)


class TestPatchEncoderInThePlane(EncoderTestCase):
    spatial_dims = 2

    def encoder(self) -> Encoder:
        return PatchEncoder(n_dims=3, spatial_dims=2)


class TestPooledEncoder(EncoderTestCase):
    def encoder(self) -> Encoder:
        return PooledEncoder(in_channels=2, n_dims=5)


class TestPositionedEncoder(EncoderTestCase):
    def encoder(self) -> Encoder:
        return PositionedEncoder(PooledEncoder(in_channels=2, n_dims=5))


class TestPositionedEncoderInThePlane(EncoderTestCase):
    spatial_dims = 2

    def encoder(self) -> Encoder:
        return PositionedEncoder(PatchEncoder(n_dims=3, spatial_dims=2), spatial_dims=2)


class TestPooledEncoderOfNearAndFar(EncoderTestCase):
    def encoder(self) -> Encoder:
        return PooledEncoder(in_channels=2, n_dims=5, steps=(1, 4, 16))


class TestVoxelEncoder(EncoderTestCase):
    def encoder(self) -> Encoder:
        return VoxelEncoder(in_channels=4)


def test_equal_patches_at_different_positions_have_different_vectors() -> None:
    encoder = PositionedEncoder(PooledEncoder(n_dims=4)).eval()
    patches = torch.rand(1, 1, 7, 7, 7).expand(2, -1, -1, -1, -1)
    left, right = encoder(patches, torch.tensor([[-0.5, 0.1, 0.2], [0.5, 0.1, 0.2]]))
    assert not torch.allclose(left, right)
    with pytest.raises(ValueError, match="needs the positions"):
        encoder(patches)


def test_a_voxels_channels_are_its_vector() -> None:
    patches = torch.rand(7, 2, 1, 1, 1)
    assert torch.equal(VoxelEncoder(2)(patches), patches.flatten(1))


@pytest.mark.parametrize("size", [3, 8])
def test_an_impossible_receptive_field_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"odd and at least 5, got {size}"):
        PooledEncoder(receptive_field=size)
