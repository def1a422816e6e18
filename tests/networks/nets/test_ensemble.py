"""Networks that predict as one: the mean of the members, whatever they are."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.data import open_volume
from monai_cpic.networks import CPICNet, Ensemble, RandomCells, ResNetRegressor, RidgeReadout


def small(readout: bool = False) -> CPICNet:
    """A network of a small grid."""
    cells = RandomCells((8, 8, 8), 16, 64)
    ridge = RidgeReadout(1, 2, 16, cells.scan_sizes) if readout else None
    return CPICNet(out_channels=1 if readout else 3, covariates=2, decomposition=cells, readout=ridge)


def different(network: CPICNet, members: int) -> Ensemble:
    """An ensemble whose members have other weights each."""
    ensemble = Ensemble(network, members).eval()
    torch.manual_seed(1)
    for parameter in ensemble.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return ensemble


def test_its_output_is_the_mean_of_the_members_outputs() -> None:
    ensemble = different(small(), 3)
    volumes, covariates = torch.rand(4, 1, 8, 8, 8), torch.rand(4, 2)
    outputs = torch.stack([member(volumes, covariates) for member in ensemble.networks])
    assert (outputs.std(0) > 0).all(), "the members differ"
    torch.testing.assert_close(ensemble(volumes, covariates), outputs.sum(0) / 3)
    ordered = outputs.sort(2).values.mean(0)
    assert (ordered.diff(dim=1) >= 0).all()


def test_its_features_and_points_are_those_of_all_members() -> None:
    ensemble = different(small(), 2)
    volume = torch.rand(1, 8, 8, 8)
    first, second = (member for member in ensemble.networks if isinstance(member, CPICNet))
    opened = [open_volume(volume)]
    torch.testing.assert_close(ensemble.features(opened), torch.cat([first.features(opened), second.features(opened)], 1))
    points = ensemble.sampled_points(opened[0])
    assert points is not None
    encoded = {tuple(point) for member in (first, second) for point in member.sampled_points(opened[0]).tolist()}
    assert {tuple(point) for point in points.tolist()} == encoded and len(points) == len(encoded)
    seen: list[torch.Tensor] = []
    ensemble.feature_layer.register_forward_hook(lambda layer, given, found: seen.append(found))
    ensemble(opened * 2, torch.rand(2, 2))
    assert len(seen) == 1 and torch.allclose(seen[0], ensemble.features(opened)), "a hook sees them beside the prediction"
    assert ensemble.name == "C-PIC"


def test_the_readout_of_each_member_is_fitted() -> None:
    ensemble = different(small(readout=True), 2)
    volumes = list(torch.rand(12, 1, 8, 8, 8))
    batch = [open_volume(volume) for volume in volumes], torch.rand(12, 1), torch.rand(12, 2)
    done = ensemble.refresh(iter([batch]))
    readouts = [member.readout for member in ensemble.networks if isinstance(member, CPICNet)]
    assert len(done) == 4 and len(readouts) == 2 and all(readout is not None and readout.fitted for readout in readouts)


def test_networks_that_see_every_voxel() -> None:
    ensemble = Ensemble(ResNetRegressor((8, 8, 8)), 2)
    assert ensemble.name == "ResNet-34" and ensemble.sampled_points(open_volume(torch.rand(1, 8, 8, 8))) is None


def test_no_member() -> None:
    with pytest.raises(ValueError, match="at least one member, got 0"):
        Ensemble(small(), 0)
