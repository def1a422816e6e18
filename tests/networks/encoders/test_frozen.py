"""Encoders that do not learn, and what is kept of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Flipd, RandFlipd
from torch import Tensor

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import (
    CPICNet,
    CrossApproximation,
    Decomposition,
    Encoder,
    FrozenEncoder,
    IndexStore,
    PooledEncoder,
    PositionedEncoder,
    RandomCells,
    ScanCross,
    attribute,
)
from monai_cpic.tensor_train import qtt_modes
from monai_cpic.testing import EncoderTestCase
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed

SHAPE = (16, 16, 8)


class TestFrozenEncoder(EncoderTestCase):
    def encoder(self) -> Encoder:
        return FrozenEncoder(PooledEncoder(in_channels=2, n_dims=12, steps=(1, 4)), n_dims=3)


class TestPositionedFrozenEncoder(EncoderTestCase):
    def encoder(self) -> Encoder:
        return PositionedEncoder(FrozenEncoder(PooledEncoder(n_dims=12), n_dims=3))


def frozen(n_dims: int = 4, mebibytes: float = 16.0) -> FrozenEncoder:
    """Of a pretrained encoder, with running statistics of its own."""
    torch.manual_seed(0)
    pretrained = PooledEncoder(n_dims=12)
    for layer in pretrained.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean, layer.running_var = torch.rand(2, layer.num_features) + 0.5
    return FrozenEncoder(pretrained, n_dims, mebibytes)


def net(decomposition: Decomposition, mebibytes: float = 16.0) -> CPICNet:
    return CPICNet(encoder=PositionedEncoder(frozen(mebibytes=mebibytes)), decomposition=decomposition)


def cells() -> RandomCells:
    return RandomCells(SHAPE, n_dims=4, cells=32)


def scan_cross() -> ScanCross:
    return ScanCross(qtt_modes(SHAPE, 4, radix=4), rank=3, cells=32)


def volumes(count: int = 2) -> list[LazyVolume]:
    """Scans with keys."""
    generator = torch.Generator().manual_seed(1)
    return [replace(open_volume(torch.rand(1, 16, 14, 8, generator=generator)), key=str(b)) for b in range(count)]


@contextmanager
def counted(network: CPICNet) -> Iterator[list[int]]:
    """The numbers of patches that the frozen part encodes."""
    counts: list[int] = []
    part = memory_of(network).encoder
    hook = part.register_forward_hook(lambda _, given, vectors: counts.append(len(vectors)))
    try:
        yield counts
    finally:
        hook.remove()


def memory_of(network: CPICNet) -> FrozenEncoder:
    (found,) = [module for module in network.modules() if isinstance(module, FrozenEncoder)]
    return found


def test_training_changes_what_is_above_it_only() -> None:
    network = net(scan_cross())
    part = memory_of(network).encoder
    before = copy.deepcopy(part.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        network.train()
        assert not any(module.training for module in part.modules())
        optimizer.zero_grad()
        network(volumes()).square().sum().backward()
        optimizer.step()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in part.parameters())
    assert all(torch.equal(value, before[name]) for name, value in part.state_dict().items())
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize("decomposition", [cells, scan_cross])
def test_predictions_are_those_without_a_memory_and_items_are_independent(decomposition: type[Decomposition]) -> None:
    network, scans = net(decomposition()), volumes(3)
    network.train()(scans)
    without = copy.deepcopy(network.eval())
    memory_of(without).memory.mebibytes = 0.0
    with torch.no_grad(), counted(network) as counts:
        first, encoded = network(scans), sum(counts)
        again = network(scans)
        assert sum(counts) == encoded > 0
        each = torch.cat([network([scan]) for scan in scans])
        assert sum(counts) == encoded
        torch.testing.assert_close(first, without(scans), rtol=1e-5, atol=1e-6)
    assert torch.equal(again, first)
    torch.testing.assert_close(each, first, rtol=1e-5, atol=1e-6)
    memory = memory_of(network).memory
    assert memory.computed == encoded and 0 < memory.bytes <= 2**24
    assert memory_of(without).memory.bytes == 0


def test_points_of_a_training_are_kept_if_they_come_again() -> None:
    scans = volumes()
    repeating = net(CrossApproximation(qtt_modes(SHAPE, 4), rank=3, indices=IndexStore(hold=3)))
    changing = net(cells())
    for network, expected in ((repeating, True), (changing, False)):
        network.train()(scans)
        with counted(network) as counts:
            network(scans).sum().backward()
        statistics = 2 * 100
        assert (sum(counts) == statistics) == expected
        assert (memory_of(network).memory.bytes > 0) == expected
    assert all(parameter.grad is not None for parameter in repeating.parameters() if parameter.requires_grad)


def test_the_memory_stays_within_its_limit() -> None:
    network, scans = net(cells(), mebibytes=0.01), volumes(4)
    with torch.no_grad(), counted(network.eval()) as counts:
        first = network(scans)
        encoded = sum(counts)
        torch.testing.assert_close(network(scans), first)
    memory = memory_of(network).memory
    assert 0 < memory.bytes <= 0.01 * 2**20 and memory.found > 0
    assert encoded < sum(counts) < 2 * encoded


def test_what_is_seen_otherwise_is_encoded_anew(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).random((1, *SHAPE), np.float32))
    network = net(cells()).eval()

    def predicted(*transforms: Callable[..., Any]) -> tuple[Tensor, int]:
        load = Compose([LoadLazyVolumed("image"), *transforms, FreezeLazyVolumed("image")], lazy=True)
        with torch.no_grad(), counted(network) as counts:
            return network([load({"image": str(tmp_path / "scan.npy")})["image"]]), sum(counts)

    plain, encoded = predicted()
    assert encoded > 0 and predicted()[1] == 0
    flipped, encoded = predicted(Flipd("image", 0))
    assert encoded > 0 and not torch.allclose(flipped, plain)
    found, encoded = predicted(RandFlipd("image", prob=1.0, spatial_axis=0))
    assert encoded == 0 and torch.equal(found, flipped)
    np.save(tmp_path / "scan.npy", np.random.default_rng(1).random((1, *SHAPE), np.float32))
    changed, encoded = predicted()
    assert encoded > 0 and not torch.allclose(changed, plain)


def test_nothing_is_kept_of_a_scan_without_a_key_or_of_other_weights() -> None:
    network, scans = net(cells()).eval(), volumes()
    with torch.no_grad():
        network([replace(scan, key=None) for scan in scans])
        assert memory_of(network).memory.bytes == 0
        network(scans)
        other = net(cells()).eval()
        for parameter in other.parameters():
            parameter.mul_(1.5)
        network.load_state_dict(other.state_dict())
        torch.testing.assert_close(network(scans), other(scans))
        torch.testing.assert_close(network.double()(scans), other.double()(scans))


def test_contributions_reach_the_voxels() -> None:
    network, scans = net(cells()), volumes()
    network.train()(scans)
    network.eval()
    with torch.no_grad():
        network(scans)
    kept = attribute(network, scans[0])
    memory_of(network).memory.mebibytes = 0.0
    torch.testing.assert_close(attribute(copy.deepcopy(network), scans[0]).shares, kept.shares)
    assert kept.values.abs().max() > 0 and kept.shares.shape[2:] == (7, 7, 7)


def test_a_position_belongs_around_it() -> None:
    with pytest.raises(ValueError, match="needs the positions"):
        FrozenEncoder(PositionedEncoder(PooledEncoder(n_dims=4)))(torch.rand(2, 1, 7, 7, 7))
