"""Contributions against networks whose encoder sees flat patches, and against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import (
    CoarseReadout,
    CPICNet,
    Encoder,
    Ensemble,
    PooledEncoder,
    PositionedEncoder,
    RandomCells,
    ResNetRegressor,
    RidgeReadout,
    ScanCross,
    TimeCourseReadout,
    VoxelEncoder,
    attribute,
    paper_net,
)
from monai_cpic.tensor_train import qtt_modes

SHAPE = (16, 16, 8)
COVARIATES = torch.tensor([[1.0, 0.3]])


class Flat(Encoder):
    """Sees the mean of each patch, for each channel and step, in place of the patch."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.in_channels, self.n_dims = encoder.in_channels, encoder.n_dims
        self.receptive_field, self.steps = encoder.receptive_field, encoder.steps

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        flat: Tensor = self.encoder(patches.mean((2, 3, 4), keepdim=True).expand_as(patches), positions)
        return flat


@pytest.fixture
def volumes() -> list[LazyVolume]:
    return [open_volume(scan) for scan in torch.rand(6, 2, 14, 16, 8)]


def encoder() -> Encoder:
    return PositionedEncoder(PooledEncoder(in_channels=2, n_dims=4, steps=(1, 4)))


def fitted(network: CPICNet, volumes: list[LazyVolume], targets: int) -> CPICNet:
    """A network whose statistics and readout are those of the volumes."""
    network(volumes, COVARIATES.expand(6, -1))
    network.refresh([(volumes, torch.rand(6, 1).expand(-1, targets), torch.rand(6, 2))])
    return network.eval()


def time_course(volumes: list[LazyVolume]) -> CPICNet:
    torch.manual_seed(1)
    cells = RandomCells(SHAPE, n_dims=4, cells=32)
    ridge = RidgeReadout(1, 0, n_dims=4, mode_sizes=cells.scan_sizes)
    readout = TimeCourseReadout((0.2, 0.5, 0.8), 2, ridge)
    network = CPICNet(out_channels=4, covariates=2, encoder=encoder(), decomposition=cells, readout=readout)
    fitted(network, volumes, 2)
    readout.slope[-1] = 0.7  # the scan counts
    ridge.slope[4:] = 0  # the maxima do not
    return network


def test_linear_readouts_are_explained_exactly(volumes: list[LazyVolume]) -> None:
    network = time_course(volumes)
    found = attribute(network, volumes[0], COVARIATES, output=1)
    with torch.no_grad():
        prediction = network([volumes[0]], COVARIATES)[0, 1].item()
        network.bottleneck.encoder = Flat(network.encoder)
        without = network([volumes[0]], COVARIATES)[0, 1].item()
    assert found.prediction == pytest.approx(prediction, abs=1e-6)
    assert found.values.sum().item() == pytest.approx(prediction - without, abs=1e-5) and abs(prediction - without) > 1e-3
    assert found.constant == pytest.approx(without, abs=1e-5)
    torch.testing.assert_close(found.shares.double().sum((1, 2, 3, 4)), found.values, atol=1e-6, rtol=1e-4)
    assert found.shares.shape[1:] == (2, 7, 7, 7) and found.steps == (1, 4)


def test_the_places_are_those_that_were_sampled(volumes: list[LazyVolume]) -> None:
    network = time_course(volumes)
    found = attribute(network, volumes[1], COVARIATES, output=1)
    sampled = {tuple(point) for point in network.sampled_points(volumes[1]).tolist()}
    assert {tuple(point) for point in found.points.tolist()} <= sampled
    assert len(found.points) == len(sampled)


def test_one_patch_made_flat_changes_the_prediction_by_its_contribution(volumes: list[LazyVolume]) -> None:
    network = time_course(volumes)
    found = attribute(network, volumes[2], COVARIATES, output=1)
    place = int(found.values.abs().argmax())

    class OneFlat(Flat):
        def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
            assert positions is not None
            points = ((positions.double() + 1) * torch.tensor(SHAPE) / 2).long()
            chosen = (points == found.points[place]).all(1)[:, None]
            vectors: Tensor = torch.where(chosen, super().forward(patches, positions), self.encoder(patches, positions))
            return vectors

    with torch.no_grad():
        network.bottleneck.encoder = OneFlat(network.encoder)
        changed = network([volumes[2]], COVARIATES)[0, 1].item()
    assert found.prediction - changed == pytest.approx(found.values[place].item(), rel=2e-2, abs=1e-6)


def test_maxima_belong_to_the_places_where_they_were_found(volumes: list[LazyVolume]) -> None:
    """With maxima alone, at most one place for each channel contributes."""
    torch.manual_seed(2)
    cross = ScanCross(qtt_modes(SHAPE, 4, radix=4), rank=3, cells=32)
    readout = RidgeReadout(1, 2, n_dims=4, mode_sizes=cross.scan_sizes)
    network = CPICNet(covariates=2, encoder=encoder(), decomposition=cross, readout=readout)
    fitted(network, volumes, 1)
    readout.template.keep(readout.template() * 0.0)
    readout.slope[:4], readout.slope[4:8] = 0, 0.5
    found = attribute(network, volumes[0], COVARIATES)
    assert 0 < len(found.points) <= 4 and found.values.abs().max() > 0


def test_a_readout_that_does_not_use_the_scan_has_no_contributions(volumes: list[LazyVolume]) -> None:
    network = time_course(volumes)
    assert isinstance(network.readout, TimeCourseReadout)
    network.readout.slope[-1] = 0
    found = attribute(network, volumes[0], COVARIATES, output=1)
    assert found.values.abs().sum() == 0 and found.constant == found.prediction
    scaled = found.scaled(300.0)
    assert scaled.prediction == pytest.approx(300 * found.prediction)


def test_other_networks_are_explained_to_first_order_or_not_at_all(volumes: list[LazyVolume]) -> None:
    network = paper_net(SHAPE, in_channels=2, n_dims=4, rank=3)
    network(volumes)
    found = network.attributed(volumes[0])
    assert len(found.points) and found.values.isfinite().all()
    assert found.values.sum().item() + found.constant == pytest.approx(found.prediction)
    voxels = CPICNet(encoder=VoxelEncoder(in_channels=2), decomposition=RandomCells(SHAPE, n_dims=2, cells=8))
    assert not attribute(voxels, volumes[0]).values.any()  # a single voxel has no structure
    assert ResNetRegressor(SHAPE, in_channels=2).attributed(volumes[0]) is None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_readout_of_the_coarse_scan_alone_is_a_constant(volumes: list[LazyVolume]) -> None:
    coarse = CoarseReadout(1, 2, SHAPE, in_channels=2)
    network = CPICNet(encoder=encoder(), decomposition=RandomCells(SHAPE, n_dims=4, cells=8), covariates=2, readout=coarse)
    found = attribute(fitted(network, volumes, 1), volumes[0], COVARIATES)
    assert len(found.points) == 0 and found.constant == found.prediction


def test_an_ensemble_is_explained_by_its_members(volumes: list[LazyVolume]) -> None:
    ensemble = Ensemble(time_course(volumes), members=2)
    network = ensemble.networks[1]
    assert isinstance(network, CPICNet) and isinstance(network.readout, TimeCourseReadout)
    network.readout.slope[-1] = -0.2
    found = ensemble.attributed(volumes[0], COVARIATES, output=1)
    assert found is not None
    with torch.no_grad():
        assert found.prediction == pytest.approx(ensemble.eval()([volumes[0]], COVARIATES)[0, 1].item(), abs=1e-5)
    parts = [part.attributed(volumes[0], COVARIATES, 1) for part in ensemble.networks if isinstance(part, CPICNet)]
    assert found.values.sum().item() == pytest.approx(sum(part.values.sum().item() for part in parts) / 2)
    assert Ensemble(ResNetRegressor(SHAPE, in_channels=2), members=2).attributed(volumes[0]) is None
