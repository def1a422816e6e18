"""What every projection must do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_cpic.networks import Projection, SampledField
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.testing.sampled_fields import in_another_gauge, random_fields

__all__ = ["ProjectionTestCase"]


class ProjectionTestCase:
    """Tests of a projection; derive a class whose name begins with ``Test`` and define :meth:`projection`.

    Attributes:
        mode_sizes: mode sizes of the tensor trains of the tests.
        ranks: their bond ranks.
        n_dims: channels of the fields.
        scan_sizes: mode sizes of their scan.

    Example:
        >>> from monai_cpic.networks import ChannelMeans
        >>> class TestChannelMeans(ProjectionTestCase):
        ...     def projection(self) -> Projection:
        ...         return ChannelMeans(self.n_dims)
        >>> TestChannelMeans().test_features_are_as_announced()
    """

    mode_sizes: Sequence[int] = (4, 3, 6)
    ranks: Sequence[int] = (1, 2, 2, 1)
    n_dims = 3
    scan_sizes: Sequence[int] = (5, 4)

    def projection(self) -> Projection:
        """A new projection of such fields, of at least 6 fields in a training batch."""
        raise NotImplementedError

    def fields(self, count: int = 6, seed: int = 0) -> SampledField:
        """Random fields, equal in every call."""
        return random_fields(count, self.mode_sizes, self.ranks, self.n_dims, self.scan_sizes, seed)

    def refreshed(self) -> Projection:
        """A new projection after some training steps and a refresh, in evaluation."""
        projection = self.projection().train()
        with torch.no_grad():
            for seed in range(3):
                projection(self.fields(seed=seed))
        projection.refresh(self.fields(seed=3))
        return projection.eval()

    def test_features_are_as_announced(self) -> None:
        for projection in (self.projection().train(), self.refreshed()):
            assert projection.capacity >= 2
            features = projection(self.fields())
            assert features.shape == (6, projection.features) and features.dtype == torch.float64
            assert bool(features.isfinite().all()) and bool((features.std(0) > 0).any())

    def test_features_do_not_depend_on_the_gauge(self) -> None:
        fields, evaluated = self.fields(), self.refreshed()
        torch.testing.assert_close(evaluated(in_another_gauge(fields)), evaluated(fields))
        trained = self.projection().train()(fields)
        torch.testing.assert_close(self.projection().train()(in_another_gauge(fields)).abs(), trained.abs())  # a basis may flip

    def test_evaluation_depends_on_the_field_and_buffers_alone(self) -> None:
        projection, fields = self.refreshed(), self.fields(seed=9)
        with torch.no_grad():
            expected = projection(fields)
            torch.testing.assert_close(torch.cat([projection(fields[[b]]) for b in range(len(fields))]), expected)
            twin = self.projection()
            twin.load_state_dict(projection.state_dict())
            torch.testing.assert_close(twin.eval()(fields), expected)
            torch.testing.assert_close(projection(fields), expected)

    def test_a_saved_projection_continues_its_training(self) -> None:
        projection, twin = self.refreshed().train(), self.projection().train()
        twin.load_state_dict(projection.state_dict())
        torch.testing.assert_close(twin(self.fields(seed=9)), projection(self.fields(seed=9)))

    def test_batches_of_one(self) -> None:
        projection = self.projection().train()
        for seed in range(4):
            leaves = _leaves(self.fields(1, seed))
            features = projection(_field(leaves, len(self.mode_sizes)))
            assert features.shape == (1, projection.features) and bool(features.isfinite().all())
            features.sum().backward()
            assert all(leaf.grad is None or bool(leaf.grad.isfinite().all()) for leaf in leaves)

    def test_gradients_in_evaluation_are_those_of_finite_differences(self) -> None:
        projection = self.refreshed()
        assert torch.autograd.gradcheck(lambda *leaves: projection(_field(leaves, len(self.mode_sizes))), _leaves(self.fields(2)))

    def test_gradients_in_training_reach_the_field(self) -> None:
        projection, leaves = self.projection().train(), _leaves(self.fields())
        features = projection(_field(leaves, len(self.mode_sizes)))
        (features * torch.linspace(1.0, 2.0, features.numel()).reshape(features.shape)).square().sum().backward()
        reached = [leaf.grad for leaf in leaves if leaf.grad is not None]
        assert all(bool(gradient.isfinite().all()) for gradient in reached)
        assert any(bool((gradient != 0).any()) for gradient in reached)

    def test_fields_that_are_all_the_same(self) -> None:
        for projection in (self.projection().train(), self.refreshed()):
            leaves = _leaves(self.fields()[[0] * 6])
            features = projection(_field(leaves, len(self.mode_sizes)))
            features.sum().backward()
            assert bool(features.isfinite().all())
            assert all(leaf.grad is None or bool(leaf.grad.isfinite().all()) for leaf in leaves)


def _leaves(field: SampledField) -> tuple[Tensor, ...]:
    """Means, maxima, and the cores of tensor trains and scan, as tensors that collect gradients."""
    return tuple(part.clone().requires_grad_() for part in (field.means, field.maxima, *field.trains, *field.scan))


def _field(leaves: Sequence[Tensor], cores: int) -> SampledField:
    """The field of some leaves, of which ``cores`` are those of the tensor trains."""
    means, maxima, *others = leaves
    return SampledField(TensorTrain(others[:cores]), means, maxima, TensorTrain(others[cores:]))
