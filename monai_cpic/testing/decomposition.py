"""What every decomposition must do."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import Decomposition, LatentField

__all__ = ["DecompositionTestCase"]


class DecompositionTestCase:
    """Tests of a decomposition; derive a class whose name begins with ``Test`` and define :meth:`decomposition`.

    The field of the tests is a random linear function of the voxels, so that gradients have somewhere to go.

    Example:
        >>> from monai_cpic.networks import RandomCells
        >>> class TestRandomCells(DecompositionTestCase):
        ...     def decomposition(self) -> Decomposition:
        ...         return RandomCells((8, 8, 4), n_dims=3, cells=16)
        >>> TestRandomCells().test_tensor_trains_are_as_announced()
    """

    def decomposition(self) -> Decomposition:
        """A new decomposition, of a grid of some hundred points."""
        raise NotImplementedError

    def volumes(self, decomposition: Decomposition, count: int = 3) -> list[LazyVolume]:
        """Volumes of its grid, equal in every call."""
        generator = torch.Generator().manual_seed(0)
        return [open_volume(torch.rand(1, *decomposition.spatial_shape, generator=generator)) for _ in range(count)]

    def field(self, decomposition: Decomposition, volumes: Sequence[LazyVolume], weights: Tensor | None = None) -> LatentField:
        """Latent fields of volumes; ``weights [1, n_dims]`` times the voxel."""
        if weights is None:
            weights = torch.linspace(1.0, 2.0, decomposition.n_dims)[None]

        def encode(patches: Tensor, positions: Tensor) -> Tensor:
            return patches.flatten(1) @ weights

        return LatentField(volumes, decomposition.spatial_shape, encode, size=1)

    def test_tensor_trains_are_as_announced(self) -> None:
        decomposition = self.decomposition()
        volumes = self.volumes(decomposition)
        for step in (None, 1):
            trains = decomposition(self.field(decomposition, volumes), step)
            assert len(trains) == len(volumes) and tuple(trains.shape) == tuple(decomposition.mode_sizes)
            assert len(decomposition.ranks) == len(decomposition.mode_sizes) + 1
            assert all(found <= most for found, most in zip(trains.ranks, decomposition.ranks, strict=True))
            assert all(core.dtype == torch.float64 and bool(core.isfinite().all()) for core in trains)

    def test_evaluation_repeats_and_batched_equals_per_item(self) -> None:
        decomposition = self.decomposition()
        volumes = self.volumes(decomposition)
        with torch.no_grad():
            decomposition(self.field(decomposition, volumes), 1)
            together = decomposition(self.field(decomposition, volumes), None).to_dense()
            again = decomposition(self.field(decomposition, volumes), None).to_dense()
            apart = [decomposition(self.field(decomposition, [volume]), None).to_dense() for volume in volumes]
        torch.testing.assert_close(again, together)
        torch.testing.assert_close(torch.cat(apart), together, rtol=1e-3, atol=1e-3)

    def test_only_points_of_the_grid_are_encoded(self) -> None:
        decomposition = self.decomposition()
        field = self.field(decomposition, self.volumes(decomposition))
        decomposition(field, 1)
        for points in field.sampled():
            assert len(points) > 0 and bool((points >= 0).all())
            assert bool((points < torch.tensor(decomposition.spatial_shape)).all())

    def test_gradients_reach_the_field(self) -> None:
        decomposition = self.decomposition()
        for step in (None, 1):
            weights = torch.linspace(1.0, 2.0, decomposition.n_dims)[None].requires_grad_()
            trains = decomposition(self.field(decomposition, self.volumes(decomposition), weights), step)
            trains.inner(trains.detach()).sum().backward()
            assert weights.grad is not None and bool(weights.grad.isfinite().all()) and bool((weights.grad != 0).any())

    def test_fields_of_one_value_have_finite_gradients(self) -> None:
        decomposition = self.decomposition()
        for value in (0.0, 1.0):
            constant = open_volume(torch.full((1, *decomposition.spatial_shape), value))
            weights = torch.ones(1, decomposition.n_dims).requires_grad_()
            trains = decomposition(self.field(decomposition, [constant, constant], weights), 1)
            trains.inner(trains.detach()).sum().backward()
            assert weights.grad is not None and bool(weights.grad.isfinite().all())

    def test_planned_points_are_points_of_the_grid(self) -> None:
        decomposition = self.decomposition()
        (volume,) = self.volumes(decomposition, 1)
        planned = decomposition.planned(volume)
        assert planned is None or bool((planned < torch.tensor(decomposition.spatial_shape)).all())

    def test_it_can_be_copied(self) -> None:
        decomposition = self.decomposition()
        volumes = self.volumes(decomposition)
        twin = copy.deepcopy(decomposition)
        with torch.no_grad():
            expected = decomposition(self.field(decomposition, volumes), None).to_dense()
            torch.testing.assert_close(twin(self.field(decomposition, volumes), None).to_dense(), expected)
