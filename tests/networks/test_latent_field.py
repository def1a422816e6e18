"""The latent field against the encoder run on every cube."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from gradients import gradient

from monai_cpic.data import ArraySource, LazyVolume, open_volume
from monai_cpic.networks import LatentField, PatchEncoder
from monai_cpic.networks.grid import finite_patches

SHAPE = (6, 7, 8)


def test_values_are_the_encoders_and_each_point_is_encoded_once() -> None:
    encoder, seen = PatchEncoder(in_channels=2, n_dims=3), 0

    def encode(patches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += len(patches)
        return encoder(patches)

    volumes = [open_volume(torch.rand(2, *SHAPE)) for _ in range(3)]
    field = LatentField(volumes, SHAPE, partial(finite_patches, size=encoder.receptive_field), encode)
    coordinates = torch.stack([torch.randint(0, n, (3, 500)) for n in (*SHAPE, 3)], -1)
    for part in coordinates.split(100, dim=1):
        values = field(part)
        for b, volume in enumerate(volumes):
            expected = encoder(volume.gather(part[b, :, :3], 9)).gather(1, part[b, :, 3:]).squeeze(1)
            torch.testing.assert_close(values[b], expected)
    distinct = [torch.unique(c[:, :3], dim=0) for c in coordinates]
    assert seen == sum(map(len, distinct))
    for points, expected in zip(field.sampled(), distinct, strict=True):
        assert torch.equal(torch.unique(points, dim=0), expected)


def test_a_part_of_the_batch_shares_what_is_remembered() -> None:
    volumes = [open_volume(torch.rand(1, *SHAPE)) for _ in range(3)]
    calls: list[int] = []

    def encode(patches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        calls.append(len(patches))
        return patches.flatten(1).mean(1, keepdim=True)

    whole = LatentField(volumes, SHAPE, partial(finite_patches, size=1), encode)
    points = torch.stack([torch.randint(0, n, (3, 20)) for n in SHAPE], -1)
    vectors = whole.at(points)
    encoded = sum(calls)
    part = whole[[2, 0]]
    assert len(part) == 2 and part.volumes == [volumes[2], volumes[0]]
    torch.testing.assert_close(part.at(points[[2, 0]]), vectors[[2, 0]])
    assert sum(calls) == encoded
    assert [len(own) for own in part.sampled()] == [len(whole.sampled()[b]) for b in (2, 0)]


def test_gradients_of_remembered_values_reach_the_encoder() -> None:
    encoder = PatchEncoder(n_dims=2)
    volume = open_volume(torch.rand(1, *SHAPE))
    points = torch.stack([torch.randint(0, n, (1, 40)) for n in SHAPE], -1)
    field = LatentField([volume], SHAPE, partial(finite_patches, size=9), encoder)
    (field.at(points[:, :30]).sum() + field.at(points).square().sum()).backward()
    found = [gradient(p).clone() for p in encoder.parameters()]
    encoder.zero_grad()
    dense = encoder(volume.gather(points[0], 9))
    (dense[:30].sum() + dense.square().sum()).backward()
    for a, p in zip(found, encoder.parameters(), strict=True):
        torch.testing.assert_close(a, gradient(p), rtol=1e-4, atol=1e-5)


def test_a_field_of_several_steps_sees_the_patches_of_all() -> None:
    volume = open_volume(torch.rand(2, *SHAPE))
    points = torch.stack([torch.randint(0, n, (1, 30)) for n in SHAPE], -1)
    field = LatentField(
        [volume], SHAPE, partial(finite_patches, size=3, steps=(1, 2, 4)), lambda patches, positions: patches.flatten(1)
    )
    near, middle, far = field.at(points)[0].reshape(30, 3, 2, 3, 3, 3).unbind(1)
    assert torch.equal(near, volume.gather(points[0], 3))
    for found, step in ((middle, 2), (far, 4)):
        assert torch.equal(found, volume.gather(points[0], 3, steps=(1, step))[:, 2:])


def linear(weights: torch.Tensor, encoded: list[tuple[bool, float]]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """An encoder of single voxels, which notes each voxel that it sees, and whether with a graph."""

    def encode(patches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        encoded.extend((torch.is_grad_enabled(), float(value)) for value in patches.flatten())
        return patches.flatten(1) * weights

    return encode


@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("scanned_with_gradient", [False, True])
def test_maxima_are_those_of_all_points_encoded(with_gradient: bool, scanned_with_gradient: bool) -> None:
    volumes = [open_volume(torch.rand(1, *SHAPE)) for _ in range(3)]
    weights = torch.tensor([[1.0, -2.0, 0.5]]).requires_grad_()
    encoded: list[tuple[bool, float]] = []
    field = LatentField(volumes, SHAPE, partial(finite_patches, size=1), linear(weights, encoded))
    points = torch.stack([torch.randint(0, n, (3, 40)) for n in SHAPE], -1)
    with torch.set_grad_enabled(scanned_with_gradient):
        field.at(points[:, :25])
    with torch.set_grad_enabled(with_gradient):
        field.at(points[:, 20:])
        maxima = field.maxima()
        part = field[[2, 0]].maxima()
    voxels = torch.stack([volume.gather(own, 1).flatten() for volume, own in zip(volumes, points, strict=True)])
    dense = (voxels[:, :, None] * weights).amax(1)
    torch.testing.assert_close(maxima, dense)
    torch.testing.assert_close(part, dense[[2, 0]])
    assert maxima.requires_grad == with_gradient
    if with_gradient:
        found, expected = (torch.autograd.grad(values.square().sum(), weights)[0] for values in (maxima, dense))
        torch.testing.assert_close(found, expected)
    assert len(set(encoded)) == len(encoded), "a point was encoded twice with a graph, or twice without one"


def test_what_has_a_graph_is_not_encoded_again_without_one() -> None:
    volumes = [open_volume(torch.rand(1, *SHAPE)) for _ in range(2)]
    weights = torch.tensor([[1.0, -2.0]]).requires_grad_()
    encoded: list[tuple[bool, float]] = []
    field = LatentField(volumes, SHAPE, partial(finite_patches, size=1), linear(weights, encoded))
    points = torch.stack([torch.randint(0, n, (2, 40)) for n in SHAPE], -1)
    with_graph = field.at(points[:, :30])
    with torch.no_grad():
        without = field.at(points)
        field.maxima()
    torch.testing.assert_close(without[:, :30], with_graph)
    assert not without.requires_grad
    torch.testing.assert_close(without[..., 1], -2 * without[..., 0])
    values = [value for _, value in encoded]
    assert len(set(values)) == len(values) == sum(map(len, field.sampled()))


def test_what_is_not_finite_is_refused_by_name() -> None:
    values, affine = torch.ones(1, *SHAPE), torch.eye(4, dtype=torch.float64)
    values[0, 2, 3, 4] = torch.nan
    clean, broken = (LazyVolume(ArraySource(array.numpy()), affine, "scan.nii") for array in (values.nan_to_num(0), values))
    points = torch.tensor([[[0, 0, 0], [2, 3, 4]]]).expand(2, -1, -1)
    other = open_volume(torch.ones(1, *SHAPE))
    with pytest.raises(ValueError, match=r"scan.nii has voxels that are NaN .* around \[2, 3, 4\]"):
        LatentField([other, broken], SHAPE, partial(finite_patches, size=1), lambda patches, positions: patches.flatten(1)).at(
            points
        )
    with pytest.raises(FloatingPointError, match=r"scan.nii: the encoder gives values that are NaN .* at \[2, 3, 4\]"):
        LatentField([other, clean], SHAPE, partial(finite_patches, size=1), lambda patches, positions: 1 / patches.flatten(1)).at(
            points
        )
