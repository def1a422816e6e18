"""Features side by side."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.data import open_volume
from monai_cpic.networks import ChannelMaxima, ChannelMeans, CPICNet, JoinedProjection, RandomCells, TTProjection, VoxelEncoder
from monai_cpic.testing import ProjectionTestCase

SHAPE = (8, 8, 4)


class TestMeansAndMaxima(ProjectionTestCase):
    def projection(self) -> JoinedProjection:
        return JoinedProjection([ChannelMeans(self.n_dims), ChannelMaxima(self.n_dims)])


class TestThreeKinds(ProjectionTestCase):
    def projection(self) -> JoinedProjection:
        canonical = TTProjection(2, self.mode_sizes, self.ranks, capacity=12)
        return JoinedProjection([ChannelMaxima(self.n_dims), canonical, ChannelMeans(self.n_dims)])

    def test_features_are_those_of_the_parts_in_their_order(self) -> None:
        joined, field = self.refreshed(), self.fields(seed=5)
        assert isinstance(joined, JoinedProjection)
        assert joined.features == 2 * self.n_dims + 2 and joined.capacity == 1000
        expected = torch.cat([part(field) for part in joined.projections], 1)
        assert torch.equal(joined(field), expected)

    def test_training_and_refresh_reach_every_part(self) -> None:
        """Each part is as if it were alone."""
        joined = self.refreshed()
        assert isinstance(joined, JoinedProjection)
        alone = ChannelMaxima(self.n_dims)
        for seed in range(3):
            alone(self.fields(seed=seed))
        alone.refresh(self.fields(seed=3))
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(joined.projections[0].state_dict()[name], value)


def test_a_network_takes_it() -> None:
    net = CPICNet(
        encoder=VoxelEncoder(2),
        decomposition=RandomCells(SHAPE, 2, cells=16),
        projection=JoinedProjection([ChannelMeans(2), ChannelMaxima(2)]),
    )
    scans = [open_volume(scan) for scan in torch.rand(3, 2, *SHAPE)]
    assert net.features(scans).shape == (3, 4) and net(scans).shape == (3, 1)


def test_there_is_something_to_join() -> None:
    with pytest.raises(ValueError, match="no projection to join"):
        JoinedProjection([])
