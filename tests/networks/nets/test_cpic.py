"""Whole networks: shapes, gradients, state and the ways to call them."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from gradients import gradient

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import (
    TTSVD,
    CovariatesOnlyNet,
    CPICNet,
    CrossApproximation,
    Decomposition,
    PatchEncoder,
    PooledEncoder,
    RandomCells,
    ResNetRegressor,
    RidgeReadout,
    ScanCross,
    TimeCourseReadout,
    TTBottleneck,
    TwoBranchHead,
    VolumeRegressor,
    VoxelEncoder,
    paper_net,
    random_cells_net,
)
from monai_cpic.tensor_train import qtt_modes, tt_modes

SHAPE = (8, 8, 8)
DECOMPOSITIONS: dict[str, Callable[[Sequence[int], int], Decomposition]] = {
    "cross, QTT": lambda shape, n_dims: CrossApproximation(qtt_modes(shape, n_dims), rank=4),
    "cross, TT": lambda shape, n_dims: CrossApproximation(tt_modes(shape, n_dims), rank=4),
    "SVD, QTT": lambda shape, n_dims: TTSVD(qtt_modes(shape, n_dims), rank=4),
    "SVD, TT": lambda shape, n_dims: TTSVD(tt_modes(shape, n_dims), rank=4),
}


def net(checkpointing: bool = False) -> CPICNet:
    torch.manual_seed(0)
    decomposition = CrossApproximation(qtt_modes(SHAPE, 4), rank=4)
    return CPICNet(encoder=PatchEncoder(n_dims=4), decomposition=decomposition, checkpointing=checkpointing)


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
def test_a_step_trains_everything(decomposition: str) -> None:
    chosen = DECOMPOSITIONS[decomposition](SHAPE, 4)
    module = CPICNet(out_channels=3, covariates=2, encoder=PatchEncoder(n_dims=4), decomposition=chosen)
    module(torch.rand(5, 1, *SHAPE), torch.rand(5, 2)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert gradient(parameter).isfinite().all() and gradient(parameter).abs().max() > 0, name


def test_dense_tensors_and_handles_agree_and_the_checkpoint_predicts_alone() -> None:
    module, x = net(), torch.rand(5, 1, *SHAPE)
    for _ in range(3):
        module(x)
    module.eval()
    with torch.no_grad():
        expected = module(x)
        torch.testing.assert_close(module([open_volume(v) for v in x]), expected)
        twin = net().eval()
        twin.load_state_dict(module.state_dict())
        torch.testing.assert_close(twin(x), expected)
        torch.testing.assert_close(module(x[2:3]), expected[2:3], rtol=1e-3, atol=1e-3)


def test_a_volume_of_several_rows_is_evaluated_once() -> None:
    module = paper_net(SHAPE, covariates=2, n_dims=4, rank=4)
    a, b = (open_volume(v) for v in torch.rand(2, 1, *SHAPE))
    module([a, b], torch.rand(2, 2))
    module.eval()
    covariates = torch.rand(5, 2)
    with torch.no_grad():
        rows = module([a, b, a, a, b], covariates)
        assert len(module.bottleneck.sampled) == 2
        torch.testing.assert_close(
            rows, torch.cat([module([v], c[None]) for v, c in zip([a, b, a, a, b], covariates, strict=True)])
        )


def test_two_dimensions_and_several_channels() -> None:
    module = paper_net((16, 12), in_channels=2, n_dims=3, rank=3)
    assert module(torch.rand(4, 2, 16, 12)).shape == (4, 1)


def test_covariates_may_be_left_out_but_not_miscounted() -> None:
    head = TwoBranchHead(3, 2, 1)
    features = torch.rand(4, 3)
    torch.testing.assert_close(head(features), head(features, torch.zeros(4, 2)))
    with pytest.raises(ValueError, match="takes 2 covariates, got 5"):
        head(features, torch.rand(4, 5))
    with pytest.raises(ValueError, match="features or covariates"):
        TwoBranchHead(0, 0, 1)


def test_covariates_only_does_not_look_at_volumes() -> None:
    module = CovariatesOnlyNet(covariates=2, out_channels=3)
    assert module(None, torch.rand(4, 2)).shape == (4, 3)


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
@pytest.mark.parametrize("channels", [1, 2])
def test_tensor_trains_of_voxels(channels: int, decomposition: str) -> None:
    module = CPICNet(encoder=VoxelEncoder(channels), decomposition=DECOMPOSITIONS[decomposition]((8, 8, 4), channels))
    x = torch.rand(5, channels, 8, 8, 4)
    module(x).square().sum().backward()
    assert all(gradient(parameter).abs().max() > 0 for parameter in module.parameters())
    with torch.no_grad():
        predictions = module.eval()(x)
    assert predictions.shape == (5, 1) and predictions.std() > 0


def test_the_voxels_of_a_tensor_train_of_full_rank_are_the_scan() -> None:
    bottleneck, x = TTBottleneck(VoxelEncoder(2), TTSVD(qtt_modes((8, 4, 4), 2), rank=1000)), torch.rand(3, 2, 8, 4, 4)
    found = bottleneck([open_volume(v) for v in x]).trains.to_dense().reshape(3, 8, 4, 4, 2).movedim(-1, 1)
    standard = bottleneck.standardise
    assert standard.running_mean is not None and standard.running_var is not None
    expected = (x - standard.running_mean.reshape(2, 1, 1, 1)) / (standard.running_var + standard.eps).sqrt().reshape(2, 1, 1, 1)
    torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-5)


def test_resnet_sees_small_volumes_padded_by_their_border_and_each_once() -> None:
    module = ResNetRegressor((16, 16, 8), in_channels=2, out_channels=3, covariates=2).eval()
    x, covariates = torch.rand(2, 2, 13, 16, 7), torch.rand(3, 2)
    padded = torch.nn.functional.pad(x, (0, 1, 0, 0, 0, 3), mode="replicate")
    a, b = (open_volume(v) for v in x)
    with torch.no_grad():
        found = module([a, b, a], covariates)
        torch.testing.assert_close(found, module.head(module.backbone(padded)[[0, 1, 0]], covariates))
        torch.testing.assert_close(found, module(x[[0, 1, 0]], covariates))


def test_a_step_trains_the_whole_resnet() -> None:
    module = ResNetRegressor((16, 16, 8), covariates=2)
    module(torch.rand(3, 1, 16, 16, 8), torch.rand(3, 2)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert gradient(parameter).isfinite().all() and gradient(parameter).abs().max() > 0, name


@pytest.mark.parametrize("network", [CPICNet, ResNetRegressor])
def test_volumes_that_do_not_fit_are_refused(network: type[CPICNet | ResNetRegressor]) -> None:
    module = network(spatial_shape=(16, 16, 8))
    with pytest.raises(ValueError, match=r"\(17, 16, 8\), larger than the grid \(16, 16, 8\)"):
        module(torch.rand(1, 1, 17, 16, 8))
    with pytest.raises(ValueError, match="2 channels, the network takes 1"):
        module(torch.rand(1, 2, 16, 16, 8))


def test_precision_of_the_encoder() -> None:
    x = torch.rand(5, 1, *SHAPE)
    single, double = net(), net().double()
    torch.testing.assert_close(double(x), single(x).double(), rtol=1e-3, atol=1e-3)
    half = net()
    with torch.autocast("cpu", torch.bfloat16):
        output = half(x)
    assert output.isfinite().all()
    output.float().square().sum().backward()
    assert all(gradient(parameter).isfinite().all() for parameter in half.parameters())


def test_checkpointing_gives_the_same_gradients_from_the_memory_of_one_chunk() -> None:
    x, gradients, kept = torch.rand(3, 1, *SHAPE), [], []
    for checkpointing in (False, True):
        module = net(checkpointing)
        sizes: list[int] = []

        def pack(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = module(x)
        output.square().sum().backward()
        gradients.append([gradient(parameter) for parameter in module.parameters()])
        kept.append(sum(sizes))
    torch.testing.assert_close(gradients[1], gradients[0])
    assert kept[1] < kept[0] / 5


def test_weights_stand_once_in_the_state_dict() -> None:
    module = random_cells_net(SHAPE, n_dims=4)
    module.readout = TimeCourseReadout((0.5,), 1, RidgeReadout(1, 0, 4, module.bottleneck.decomposition.scan_sizes))
    tensors = list(module.state_dict().values())
    assert len({tensor.data_ptr() for tensor in tensors if tensor.numel()}) == sum(tensor.numel() > 0 for tensor in tensors)


def test_no_graph_outlives_a_call() -> None:
    class Saved:
        """What a graph keeps for its backward pass, and lets go of with itself."""

        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor.detach()  # else it would keep the graph itself

    module = net()
    kept: weakref.WeakSet[Saved] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> Saved:
        saved = Saved(tensor)
        kept.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        output = module(torch.rand(3, 1, *SHAPE))
    assert kept
    del output
    gc.collect()
    assert not kept


def test_a_part_that_is_not_given_fits_the_others() -> None:
    module = CPICNet(SHAPE, encoder=PooledEncoder(n_dims=5))
    assert module.bottleneck.decomposition.n_dims == 5
    assert module.head.trunk[0].in_features == module.projection.features
    alone = CPICNet(encoder=PooledEncoder(n_dims=5), decomposition=RandomCells(SHAPE, 5))
    assert alone(torch.rand(2, 1, *SHAPE)).shape == (2, 1)


def test_a_network_has_one_grid() -> None:
    with pytest.raises(ValueError, match="spatial_shape=None"):
        CPICNet()
    with pytest.raises(ValueError, match=r"got spatial_shape=\(16, 16, 16\) and a decomposition of the grid \(8, 8, 8\)"):
        CPICNet((16, 16, 16), decomposition=RandomCells(SHAPE, 16))


def test_networks_say_their_name_and_where_they_look() -> None:
    volume = open_volume(torch.rand(1, *SHAPE))
    networks: list[VolumeRegressor] = [net(), ResNetRegressor(SHAPE)]
    assert [network.name for network in networks] == ["C-PIC", "ResNet-34"]
    points, everywhere = (network.sampled_points(volume) for network in networks)
    assert everywhere is None and points is not None and points.shape[1] == 3


def test_features_of_the_scans_of_a_refresh_are_known_until_a_weight_changes(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.random.default_rng(number).random((1, *SHAPE), np.float32))
    scans = [open_volume(tmp_path / f"{number}.npy") for number in range(4)]
    module = CPICNet(SHAPE, readout=RidgeReadout(1, 0, 16, ScanCross(qtt_modes(SHAPE, 16)).scan_sizes))
    module.train()(scans)
    module.refresh([(scans, torch.rand(4, 1), None)])
    calls: list[object] = []
    module.bottleneck.register_forward_hook(lambda *call: calls.append(call))
    with torch.no_grad():
        known = module.features([open_volume(tmp_path / "2.npy"), scans[0]])
        assert not calls
        torch.testing.assert_close(known, module.projection(module.bottleneck([scans[2], scans[0]])))
        calls.clear()
        module.features([scans[0], open_volume(torch.rand(1, *SHAPE))])
        copy.deepcopy(module).features(scans)
        module.train().features(scans)
        assert len(calls) == 3, "another scan, another network, a training step"
        module.eval().features(scans)
        assert len(calls) == 4, "the step has changed the statistics"
    module.refresh([(scans, torch.rand(4, 1), None)])
    calls.clear()
    module.features(scans).sum().backward()
    assert len(calls) == 1, "a gradient is needed"
    with torch.no_grad():
        module.features(scans)
        assert len(calls) == 1
        for parameter in module.encoder.parameters():
            parameter.mul_(1.5)
        module.features(scans)
        assert len(calls) == 2
    module.refresh([(scans, torch.rand(4, 1), None)])
    calls.clear()
    module.bottleneck.decomposition = RandomCells(SHAPE, 16)
    with torch.no_grad():
        module.features(scans)
        assert len(calls) == 1, "other points"


def test_scans_whose_intensities_cannot_be_pickled(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).random((1, *SHAPE), np.float32))
    scan = open_volume(tmp_path / "scan.npy").scaled(lambda patches: patches / 2)
    assert scan.identity is None
    module = net()
    module.refresh([([scan], torch.rand(1, 1), None)])
    with torch.no_grad():
        torch.testing.assert_close(module.features([scan]), module.projection(module.bottleneck([scan])))


def test_a_network_that_was_made_in_inference_mode() -> None:
    with torch.inference_mode():
        module = net().eval()
        assert module.features([open_volume(torch.rand(1, *SHAPE))]).isfinite().all()


def test_refreshing_reads_no_more_batches_than_needed() -> None:
    module = random_cells_net(SHAPE, n_dims=4)
    module.projection.capacity = 3
    read: list[int] = []

    def batches() -> Iterator[tuple[list[LazyVolume], torch.Tensor, None]]:
        for number in range(4):
            read.append(number)
            yield [open_volume(torch.rand(1, *SHAPE)) for _ in range(2)], torch.rand(2, 1), None

    assert module.refresh(batches()) == ["Refreshed the projection from 3 volumes"] and read == [0, 1]
    module.readout = RidgeReadout(1, 0, 4, module.bottleneck.decomposition.scan_sizes)
    done = module.refresh(batches())
    assert "Fitted the readout to 8 rows" in done[1] and read == [0, 1, 0, 1, 2, 3]
    assert module.readout.fitted
    with pytest.warns(UserWarning, match="predictions are the head's"):
        module.refresh([([open_volume(torch.rand(1, *SHAPE))] * 2, torch.rand(2, 1), None)])
    assert not module.readout.fitted
    with pytest.raises(ValueError, match="no batch"):
        module.refresh([])


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="takes 7 features, the projection has 32"):
        CPICNet(SHAPE, head=TwoBranchHead(7, 0, 1))
    with pytest.raises(TypeError, match=r"got 'null'.*\$None"):
        CPICNet(SHAPE, readout="null")  # type: ignore[arg-type]  # as a command line gives it


@pytest.mark.parametrize("fitted", [False, True])
def test_covariates_are_counted_whatever_predicts(fitted: bool) -> None:
    module = random_cells_net(SHAPE, covariates=2, n_dims=4).eval()
    readout = RidgeReadout(1, 2, 4, module.bottleneck.decomposition.scan_sizes)
    readout.fitted.fill_(fitted)
    module.readout = readout
    with pytest.raises(ValueError, match="the head takes 2 covariates, got 3"):
        module(torch.rand(1, 1, *SHAPE), torch.rand(1, 3))


@pytest.mark.parametrize("export", [torch.jit.script, lambda network: torch.jit.trace(network, torch.rand(1, 1, *SHAPE))])
def test_torchscript_is_refused_in_both_modes(export: Callable[[CPICNet], object]) -> None:
    with pytest.raises(RuntimeError, match=r"deploy the weights \(model.pt\) with the bundle's inference.yaml"):
        export(net())
