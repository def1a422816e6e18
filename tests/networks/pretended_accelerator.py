"""A training step and an evaluation on an accelerator that does not exist: its tensors have shapes and devices, but no values.

torch raises an error where a value is asked for, where a shape depends on one, and where devices are mixed.  Run in a process of
its own, since the accelerator cannot be unregistered.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from devices_networks import NETWORKS, volumes
from monai.data import set_track_meta
from monai.transforms import ScaleIntensityRange
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from monai_cpic.data import LazyVolume, Sampling, sources
from monai_cpic.networks import TensorizedDecomposition

DEVICE = "pretended"
FLIP_AND_ZOOM = [[1.0, 0, 0, 0], [0, -1, 0, 7], [0, 0, 2.5, 0], [0, 0, 0, 1]]
TURN = [[0.9, 0.3, 0, -1], [-0.3, 0.9, 0.1, 2], [0, 0.2, 1.1, 0.5], [0, 0, 0, 1]]


def move(module: nn.Module, mode: FakeTensorMode) -> None:
    for part in module.modules():
        for one in part.modes if isinstance(part, TensorizedDecomposition) else []:
            object.__setattr__(one, "offsets", mode.from_tensor(one.offsets))  # moved by the network
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(mode.from_tensor(parameter.data).to(DEVICE))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = mode.from_tensor(buffer).to(DEVICE)


def resident(volume: LazyVolume, mode: FakeTensorMode) -> LazyVolume:
    assert isinstance(volume.source, sources.ArraySource)
    values = mode.from_tensor(torch.from_numpy(volume.source.values)).to(DEVICE)
    steps = tuple(resident(step, mode) if isinstance(step, LazyVolume) else step for step in volume.intensity)
    return replace(volume, source=sources.TensorSource(values, scaling=(2.0, -1.0)), intensity=steps)


def on_grids() -> Iterator[LazyVolume]:
    """A masked volume on grids of every kind, interpolated and padded in every way."""
    (volume,) = volumes(1)
    modes: list[str | int] = ["nearest", "bilinear", 0, 1]
    for matrix, padding, interpolation in itertools.product((FLIP_AND_ZOOM, TURN), ("border", "zeros"), modes):
        seen = volume.sampled(Sampling(np.array(matrix), (6, 6, 4), interpolation, padding))
        yield seen.masked(seen).scaled(ScaleIntensityRange(-1000, 400, 0, 1, clip=True))


def main() -> None:
    _setup_privateuseone_for_python_backend(DEVICE)
    getattr(torch, DEVICE).get_amp_supported_dtype = lambda: [torch.bfloat16]  # which autocast asks for
    set_track_meta(False)  # a fake tensor cannot be a MetaTensor as well
    networks = {kind: NETWORKS[kind]() for kind in ("scan and cross", "random cells", "curriculum")}
    arrays, grids = volumes(), list(on_grids())
    no_check = patch.object(LazyVolume, "__post_init__", lambda volume: None)  # of affines, which of levels are fake as well
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, no_check:
        for kind, network in networks.items():
            network.bottleneck._steps = 0  # it asks its buffer once
            move(network, mode)
            scans = [resident(volume, mode) for volume in arrays]
            covariates = torch.zeros(len(scans), 2, device=DEVICE)
            for _ in range(2):
                outputs = network.train()(scans, covariates)
                outputs.square().mean().backward()
            assert {parameter.grad.device.type for parameter in network.parameters() if parameter.grad is not None} == {DEVICE}
            with torch.no_grad():
                field = network.eval().field(scans)
                features = network.projection(field)
                assert network.readout is not None
                predicted = network.readout(field, covariates, torch.arange(len(scans)))
            assert {outputs.device.type, features.device.type, predicted.device.type} == {DEVICE}
            print(kind)
        centres = torch.zeros(5, 3, dtype=torch.int64, device=DEVICE)
        for grid in grids:
            assert resident(grid, mode).gather(centres, 3).device.type == DEVICE
    print("done")


if __name__ == "__main__":
    main()
