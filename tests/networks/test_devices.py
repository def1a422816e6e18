"""Everything is made where the network is, and the host waits for no value of a step."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import devices_networks
import pytest
import torch
from devices_networks import NETWORKS
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from monai_cpic import devices
from monai_cpic.data import LazyVolume
from monai_cpic.losses import CensoredMSELoss, JointMean, PinballLoss, QuantileRateLoss
from monai_cpic.networks import CPICNet, CrossApproximation, IndexStore, PooledEncoder, ResNetRegressor, ScanCross, latent_field
from monai_cpic.tensor_train import qtt_modes

WAITING = {  # operations of which an accelerator must tell the host a value, or check one
    "_local_scalar_dense",
    "nonzero",
    "_unique2",
    "unique_consecutive",
    "masked_select",
    "equal",
    "_linalg_svd",
    "_linalg_eigh",
}


@pytest.mark.parametrize(
    ("amp", "gibibytes", "said"),
    [
        (False, 0, "Device: cpu; mixed precision: off; scans are read from disk"),
        (True, 2.5, "Device: cpu; mixed precision: on; up to 2.5 GiB of scans stay there"),
    ],
)
def test_a_run_says_where_it_computes(amp: bool, gibibytes: float, said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        devices.announce("cpu", amp, gibibytes)
    assert caplog.messages == [said]


def test_scans_may_take_half_of_what_is_free_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * 2**30, 12 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2**30)
    assert [devices.memory_for_scans(device) for device in ("cpu", "cuda", torch.device("cuda", 1))] == [0, 4, 4]
    assert devices.memory_for_scans("cuda", num_workers=2) == 0


class Waits(TorchDispatchMode):
    """Counts the operations for which the host would wait."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not declare it
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put_") and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in WAITING or masks:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def step(network: CPICNet, volumes: list[LazyVolume]) -> Tensor:
    """One training step; the outputs."""
    network.train()
    covariates = torch.linspace(-1, 1, 2 * len(volumes), device="cpu").reshape(-1, 2)
    outputs: Tensor = network(volumes, devices.move(covariates, next(network.parameters())))
    network.zero_grad()
    outputs.square().mean().backward()
    return outputs.detach()


def life(network: CPICNet, volumes: list[LazyVolume]) -> list[Tensor]:
    """Two training steps, a refresh with the fit of the readout, and predictions by head and readout."""
    found = [step(network, volumes), step(network, volumes[:3])]
    covariates = torch.linspace(-1, 2, 2 * len(volumes), device="cpu").reshape(-1, 2)
    outputs = network.head.out_channels
    target = covariates[:, :1].sin() if outputs == 1 else torch.stack([covariates[:, 0].cos(), covariates[:, 1].sin()], 1)
    with torch.no_grad():
        found.append(network.eval()(volumes, covariates))
        network.refresh([(volumes[:3], target[:3], covariates[:3]), (volumes[3:], target[3:], covariates[3:])])
        found.append(network(volumes, covariates))
    return [*found, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("kind", NETWORKS)
def test_nothing_is_made_on_the_default_device(kind: str) -> None:
    network, volumes = NETWORKS[kind](), devices_networks.volumes(6)
    expected = life(copy.deepcopy(network), volumes)
    with torch.device("meta"):
        found = life(network, volumes)
        assert len(network.bottleneck.sampled) == len(volumes)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_dense_networks_and_losses_make_nothing_on_the_default_device() -> None:
    network, scans = ResNetRegressor((8, 8, 4)), torch.rand(2, 1, 8, 8, 4)
    prediction, target = torch.rand(3, 4, requires_grad=True), torch.rand(3, 2)
    with torch.device("meta"):
        network.eval()(scans).sum().backward()
        QuantileRateLoss()(prediction, target).backward()
        JointMean(PinballLoss((0.2, 0.4, 0.6, 0.8)))(prediction, target[:, 0]).backward()
        CensoredMSELoss()(prediction[:, :1], target).backward()
    assert prediction.grad is not None and prediction.grad.isfinite().all()


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is treated as an accelerator, whose values it must not ask for."""
    for module in (devices, latent_field):
        monkeypatch.setattr(module, "on_host", lambda values: False)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_accelerator_computes_the_same(kind: str, checkpointing: bool, request: pytest.FixtureRequest) -> None:
    network, volumes = NETWORKS[kind]().double(), devices_networks.volumes(6)
    network.bottleneck.checkpointing = checkpointing
    there, resident = copy.deepcopy(network), [volume.to("cpu") for volume in volumes]
    expected = life(network, volumes)
    points = network.bottleneck.sampled
    request.getfixturevalue("accelerated")
    for a, b in zip(life(there, resident), expected, strict=True):
        torch.testing.assert_close(a, b)
    for own, others in zip(there.bottleneck.sampled, points, strict=True):
        assert torch.equal(own, others)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_host_waits_for_no_value_of_a_step(kind: str, accelerated: None) -> None:
    counts = []
    for number in (2, 6):
        network, volumes = NETWORKS[kind](), [volume.to("cpu") for volume in devices_networks.volumes(number)]
        step(network, volumes)  # asks how many steps there have been
        with Waits() as waits:
            step(network, volumes)
        counts.append(waits.found)
    principal = kind in ("cross", "svd")  # TTProjection: eigenvectors, and which places of the bank are taken
    assert principal or not counts[0], counts[0]
    if kind != "svd":  # one decomposition for each volume
        assert counts[0] == counts[1]


def test_longer_tensor_trains_cost_no_more_waits(accelerated: None) -> None:
    volumes = [volume.to("cpu") for volume in devices_networks.volumes(2)]
    for modes in (qtt_modes((64, 32, 8), 16, radix=4), qtt_modes((64, 32, 8), 16)):
        encoder = PooledEncoder(1, 16, steps=(1, 4))
        network = CPICNet(encoder=encoder, decomposition=ScanCross(modes, cells=16)).train()
        network(volumes)
        with Waits() as waits:
            network(volumes).sum().backward()
        assert not waits.found


def test_on_an_accelerator_that_refuses_to_wait() -> None:
    """torch knows the shapes and devices of its fake tensors, but no values: a step that asks for one fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).with_name("pretended_accelerator.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split("\n")[-2] == "done"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", ["scan and cross", "random cells", "curriculum"])
def test_a_gpu_is_not_waited_for(kind: str) -> None:
    network = NETWORKS[kind]().cuda()
    volumes = [volume.to("cuda") for volume in devices_networks.volumes()]
    for _ in range(2):
        step(network, volumes)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(network, volumes)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="streams and the order of their work need CUDA")
def test_a_gpu_computes_with_copies_that_have_arrived() -> None:
    device, slow = torch.device("cuda"), torch.rand(2**26).pin_memory()

    def copies(number: float) -> Tensor:
        return torch.cat([slow.to(device, non_blocking=True), torch.full((5,), number, device=device)])

    for number in range(4):
        values = devices.side_by_side(partial(copies, float(number)), device)
        total = values[-5:].sum()
        del values  # its memory serves the next copies, which must wait for the sum
        assert total.item() == 5 * number


def test_a_gpu_waits_for_copies_on_their_stream_and_keeps_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch is asked for, and when; the test above needs a GPU, since only there it takes time."""
    asked: list[tuple[Any, ...]] = []

    class Stream:
        def wait_stream(self, other: object) -> None:
            asked.append(("wait", self, other))

    copies, computation = Stream(), Stream()

    @contextlib.contextmanager
    def on(stream: Stream) -> Iterator[None]:
        asked.append(("begin", stream))
        yield
        asked.append(("end", stream))

    def make() -> Tensor:
        asked.append(("make",))
        return torch.ones(2, device="cpu")

    monkeypatch.setattr(devices, "_stream_of_copies", lambda device: copies)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computation)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(Tensor, "record_stream", lambda values, stream: asked.append(("keep", stream)))
    devices.side_by_side(make, torch.device("cuda"))
    assert asked == [("begin", copies), ("make",), ("end", copies), ("wait", computation, copies), ("keep", computation)]


def test_values_reach_a_gpu_through_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch is asked for; it can be asked without a GPU as well."""
    asked: list[tuple[Any, ...]] = []

    def pin_memory(values: Tensor) -> Tensor:
        asked.append(("pin", values.is_contiguous()))
        return values

    def to(values: Tensor, device: torch.device, non_blocking: bool) -> Tensor:
        asked.append((device.type, non_blocking))
        return values

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(Tensor, "to", to)
    overlapping = torch.ones(1, 2, device="cpu").expand(3, 2)  # whose memory CUDA does not pin
    for device in ("cuda", "cpu"):
        assert torch.equal(devices.move(overlapping, torch.device(device)), overlapping)
    assert asked == [("pin", True), ("cuda", True), ("cpu", False)]


@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=pytest.mark.skipif("not torch.cuda.is_available()"))])
def test_checkpoints_move_between_devices(device: str) -> None:
    network, volumes = NETWORKS["cross"](), devices_networks.volumes()
    step(network, volumes)
    store = _indices(network)
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "indices": store.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, map_location=device, weights_only=True)
    again = NETWORKS["cross"]().to(device)
    again.load_state_dict(state["network"])
    moved = _indices(again)
    moved.load_state_dict(state["indices"])
    assert {value.device.type for value in again.state_dict().values()} == {device}
    for where in ("meta", device):
        indices = moved.get("0", where)
        assert indices is not None and {table.device.type for table in indices.sets} == {where}
    file.seek(0)
    again = NETWORKS["cross"]()
    state = torch.load(file, map_location="cpu", weights_only=True)
    again.load_state_dict(state["network"])
    _indices(again).load_state_dict(state["indices"])
    torch.testing.assert_close(step(again, volumes), step(network, volumes))


def _indices(network: CPICNet) -> IndexStore:
    decomposition = network.bottleneck.decomposition
    assert isinstance(decomposition, CrossApproximation)
    return decomposition.indices
