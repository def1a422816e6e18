"""The bottleneck against the dense field."""

from __future__ import annotations

import pytest
import torch
from gradients import gradient
from monai.transforms import Compose, Flipd

from monai_cpic.data import ArraySource, LazyVolume, open_volume
from monai_cpic.networks import (
    TTSVD,
    CrossApproximation,
    Decomposition,
    PatchEncoder,
    RandomCells,
    ScanCross,
    TTBottleneck,
    VoxelEncoder,
)
from monai_cpic.tensor_train import Mode, qtt_modes, tt_modes
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed

SHAPE = (8, 16, 16)
QTT = qtt_modes(SHAPE, channels=4)


def bottleneck(decomposition: Decomposition | None = None) -> TTBottleneck:
    torch.manual_seed(0)
    module = TTBottleneck(PatchEncoder(n_dims=4), decomposition or CrossApproximation(QTT, rank=6))
    module.train()(volumes(2))  # running statistics
    return module.eval()


def volumes(count: int) -> list[LazyVolume]:
    return [open_volume(torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(b))) for b in range(count)]


@pytest.mark.parametrize("modes", [tt_modes(SHAPE, 4), QTT], ids=["tt", "qtt"])
def test_full_rank_svd_is_the_standardised_encoder_output(modes: list[Mode]) -> None:
    module = bottleneck(TTSVD(modes, rank=10**4))
    volume = volumes(1)[0]
    points = torch.cartesian_prod(*(torch.arange(n) for n in SHAPE))
    latent = module.standardise(module.encoder(volume.gather(points, 9)))
    field = module([volume])
    found = field.trains.to_dense().reshape(*SHAPE, 4)  # both tensorizations are in row-major order
    torch.testing.assert_close(found, latent.reshape(*SHAPE, 4).double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(field.means[0], latent.double().mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(field.maxima[0], latent.double().amax(0), rtol=1e-4, atol=1e-4)


def test_cross_approaches_the_svd_with_the_rank() -> None:
    coarse = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = [open_volume(v) for v in torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear")]
    exact = bottleneck(TTSVD(QTT, rank=10**4))(smooth).trains.to_dense().flatten(1)
    errors = []
    for rank in (2, 8, 24):
        found = bottleneck(CrossApproximation(QTT, rank, oversampling=2.0))(smooth).trains.to_dense().flatten(1)
        errors.append(((found - exact).norm() / exact.norm()).item())
    assert errors[2] < errors[1] < errors[0] < 0.8 and errors[2] < 0.2


def test_batched_equals_per_item_and_evaluation_repeats() -> None:
    module, batch = bottleneck(), volumes(3)
    with torch.no_grad():
        together = module(batch).trains.to_dense()
        sampled = module.sampled
        for b, volume in enumerate(batch):
            torch.testing.assert_close(module([volume]).trains.to_dense(), together[b : b + 1], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(module(batch).trains.to_dense(), together)
    assert all(torch.equal(a, b) for a, b in zip(sampled, module.sampled, strict=True))


def test_evaluation_has_gradients_too() -> None:
    """Several passes, of which the first have no graph: the last must not take their values."""
    module = bottleneck()
    module(volumes(1)).trains.norm().sum().backward()
    assert all(gradient(p).abs().sum() > 0 for p in module.encoder.parameters())


def test_smaller_volumes_are_padded_virtually() -> None:
    module = bottleneck()
    small = torch.rand(1, 5, 16, 9)
    padded = torch.nn.functional.pad(small[None], (0, 7, 0, 0, 0, 3), mode="replicate")[0]
    with torch.no_grad():
        a = module([open_volume(small)]).trains.to_dense()
        b = module([open_volume(padded)]).trains.to_dense()
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_volumes_of_one_value_have_finite_gradients(value: float) -> None:
    module = bottleneck().train()
    trains = module([open_volume(torch.full((1, *SHAPE), value))] * 2).trains
    trains.inner(trains.detach()).sum().backward()
    assert all(gradient(p).isfinite().all() for p in module.parameters())


def test_what_does_not_fit_is_refused() -> None:
    module = bottleneck()
    with pytest.raises(ValueError, match="2 channels"):
        module([open_volume(torch.rand(2, *SHAPE))])
    with pytest.raises(ValueError, match="larger than the grid"):
        module([open_volume(torch.rand(1, 9, 16, 16))])
    with pytest.raises(ValueError, match="makes 4 latent channels, the decomposition expects 3"):
        bottleneck(RandomCells(SHAPE, n_dims=3))


@pytest.mark.parametrize("decomposition", [CrossApproximation(QTT, rank=6), RandomCells(SHAPE, n_dims=4)], ids=["cross", "cells"])
def test_nothing_that_is_not_finite_reaches_the_running_statistics(decomposition: Decomposition) -> None:
    module = bottleneck(decomposition).train()
    before = {name: value.clone() for name, value in module.named_buffers()}
    scan = torch.rand(1, *SHAPE)
    scan[0, :4] = torch.inf
    broken = LazyVolume(ArraySource(scan.numpy()), torch.eye(4, dtype=torch.float64), "broken.nii")
    with pytest.raises(ValueError, match=r"broken.nii has voxels that are NaN or infinite"):
        module([*volumes(1), broken])
    with torch.no_grad():
        next(module.encoder.parameters()).mul_(torch.inf)
    with pytest.raises(FloatingPointError, match=r"a volume, a volume: the encoder gives values that are NaN or infinite"):
        module(volumes(2))
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())


def test_a_flip_of_the_scan_flips_the_positions() -> None:
    """A field that is its own position: the same for every scan, and for a scan that is flipped by a lazy transform."""

    class Position(VoxelEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.n_dims = 3

        def forward(self, patches: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
            assert positions is not None
            return positions + 0 * patches.flatten(1)

    modes = tt_modes(SHAPE, channels=3)
    module = TTBottleneck(Position(), TTSVD(modes, rank=10**4)).eval()
    scan = torch.rand(1, *SHAPE)
    flipped = Compose([LoadLazyVolumed("image"), Flipd("image", 0), FreezeLazyVolumed("image")], lazy=True)({"image": scan})
    with torch.no_grad():
        found = [module([volume]).trains.to_dense().reshape(*SHAPE, 3) for volume in (open_volume(scan), flipped["image"])]
    centres = [(2 * torch.arange(n) + 1) / n - 1 for n in SHAPE]
    expected = torch.stack(torch.meshgrid(*centres, indexing="ij"), -1).double() / (1 + module.standardise.eps) ** 0.5
    for field in found:
        torch.testing.assert_close(field, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "decomposition",
    [
        RandomCells(SHAPE, 4, cells=32),
        CrossApproximation(QTT, rank=4, passes=2),
        ScanCross(QTT, rank=4),
        TTSVD(QTT, rank=4),
    ],
    ids=lambda decomposition: type(decomposition).__name__,
)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_autocast_trains_every_weight_of_the_encoder(decomposition: Decomposition, checkpointing: bool) -> None:
    module = TTBottleneck(PatchEncoder(n_dims=4), decomposition, checkpointing).train()
    caching: list[bool] = []  # some versions of torch would keep what is cast under no_grad
    module.encoder.register_forward_pre_hook(lambda *_: caching.append(torch.is_autocast_cache_enabled()))
    with torch.autocast("cpu", torch.bfloat16):
        field = module(volumes(2))
    (field.means.square().sum() + field.maxima.square().sum()).backward()
    for name, parameter in module.encoder.named_parameters():
        assert gradient(parameter).isfinite().all() and gradient(parameter).abs().max() > 0, name
    assert caching and not any(caching)
