"""What every decomposition must do."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import Decomposition, LatentField, SampledField
from monai_cpic.networks.grid import finite_patches

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

        return LatentField(volumes, decomposition.spatial_shape, partial(finite_patches, size=1), encode)

    def test_tensor_trains_are_as_announced(self) -> None:
        decomposition = self.decomposition()
        volumes = self.volumes(decomposition)
        for step in (None, 1):
            found = decomposition(self.field(decomposition, volumes), step)
            assert len(found) == len(volumes) and tuple(found.trains.shape) == tuple(decomposition.mode_sizes)
            assert len(decomposition.ranks) == len(decomposition.mode_sizes) + 1
            assert all(rank <= most for rank, most in zip(found.trains.ranks, decomposition.ranks, strict=True))
            assert len(found.scan) == len(volumes) and tuple(found.scan.shape) == tuple(decomposition.scan_sizes)
            assert found.means.shape == found.maxima.shape == (len(volumes), decomposition.n_dims)
            for part in (*found.trains, *found.scan, found.means, found.maxima):
                assert part.dtype == torch.float64 and bool(part.isfinite().all())

    def test_maxima_are_those_of_the_points_encoded(self) -> None:
        """In a training step.  An evaluation may take a mean over several draws of points, which lies between their values."""
        decomposition = self.decomposition()
        for step in (None, 1):
            field = self.field(decomposition, self.volumes(decomposition))
            found = decomposition(field, step).maxima
            values = [field[[b]].at(points[None])[0].double() for b, points in enumerate(field.sampled())]
            largest, least = (torch.stack([each(vectors, 0) for vectors in values]) for each in (torch.amax, torch.amin))
            assert bool((found <= largest + 1e-6).all()) and bool((found >= least - 1e-6).all())
            if step is not None:
                torch.testing.assert_close(found, largest)

    def test_means_and_maxima_of_fields_of_one_value(self) -> None:
        decomposition = self.decomposition()
        for value in (0.0, 1.0):
            constant = open_volume(torch.full((1, *decomposition.spatial_shape), value))
            for step in (None, 1):
                found = decomposition(self.field(decomposition, [constant, constant]), step)
                expected = value * torch.linspace(1.0, 2.0, decomposition.n_dims).double().expand(2, -1)
                torch.testing.assert_close(found.means, expected, rtol=1e-3, atol=1e-3)
                torch.testing.assert_close(found.maxima, expected)

    def test_evaluation_repeats_and_batched_equals_per_item(self) -> None:
        decomposition = self.decomposition()
        volumes = self.volumes(decomposition)
        with torch.no_grad():
            decomposition(self.field(decomposition, volumes), 1)
            together = _dense(decomposition(self.field(decomposition, volumes), None))
            again = _dense(decomposition(self.field(decomposition, volumes), None))
            apart = [_dense(decomposition(self.field(decomposition, [volume]), None)) for volume in volumes]
        torch.testing.assert_close(again, together)
        for part, expected in together.items():
            torch.testing.assert_close(torch.cat([one[part] for one in apart]), expected, rtol=1e-3, atol=1e-3)

    def test_volumes_of_several_sizes(self) -> None:
        decomposition = self.decomposition()
        shapes = [[-(-size // part) for size in decomposition.spatial_shape] for part in (1, 2)]
        volumes = [open_volume(torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))) for shape in shapes]
        with torch.no_grad():
            together = _dense(decomposition(self.field(decomposition, volumes), None))
            apart = [_dense(decomposition(self.field(decomposition, [volume]), None)) for volume in volumes]
        for part, expected in together.items():
            torch.testing.assert_close(torch.cat([one[part] for one in apart]), expected, rtol=1e-3, atol=1e-3)

    def test_only_points_of_the_grid_are_encoded(self) -> None:
        decomposition = self.decomposition()
        field = self.field(decomposition, self.volumes(decomposition))
        decomposition(field, 1)
        for points in field.sampled():
            assert len(points) > 0 and bool((points >= 0).all())
            assert bool((points < torch.tensor(decomposition.spatial_shape)).all())

    def test_gradients_reach_the_field(self) -> None:
        """From means and maxima, and from tensor trains and scan if they have any."""
        decomposition = self.decomposition()
        for step in (None, 1):
            weights = torch.linspace(1.0, 2.0, decomposition.n_dims)[None].requires_grad_()
            found = decomposition(self.field(decomposition, self.volumes(decomposition), weights), step)
            assert found.means.requires_grad and found.maxima.requires_grad
            for part, norm in _norms(found).items():
                (gradient,) = torch.autograd.grad(norm, weights, retain_graph=True)
                assert bool(gradient.isfinite().all()) and bool((gradient != 0).any()), part

    def test_fields_of_one_value_have_finite_gradients(self) -> None:
        decomposition = self.decomposition()
        for value in (0.0, 1.0):
            constant = open_volume(torch.full((1, *decomposition.spatial_shape), value))
            weights = torch.ones(1, decomposition.n_dims).requires_grad_()
            found = decomposition(self.field(decomposition, [constant, constant], weights), 1)
            for part, norm in _norms(found).items():
                (gradient,) = torch.autograd.grad(norm, weights, retain_graph=True)
                assert bool(gradient.isfinite().all()), part

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
            expected = _dense(decomposition(self.field(decomposition, volumes), None))
            torch.testing.assert_close(_dense(twin(self.field(decomposition, volumes), None)), expected)


def _dense(found: SampledField) -> dict[str, Tensor]:
    """The four parts as tensors that do not depend on the gauge."""
    return {"trains": found.trains.to_dense(), "means": found.means, "maxima": found.maxima, "scan": found.scan.to_dense()}


def _norms(found: SampledField) -> dict[str, Tensor]:
    """The sum of the squares of each part that has a gradient."""
    return {part: values.square().sum() for part, values in _dense(found).items() if values.requires_grad}
