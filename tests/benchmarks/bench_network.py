"""Speed and memory of CPICNet against ResNet-34 on the same scan, and against itself at higher resolutions.

    python tests/benchmarks/bench_network.py [--threads 1] [--network default|cells|cross] [--json FILE]
    python tests/benchmarks/bench_network.py --shape 64 64 16 --edges 32 64 --huge 512  # everything, small: a few minutes

``default`` is CPICNet as it is, a scan and the cross that it seeds; ``cells`` has random cells instead; ``cross`` is the network
of the paper with 1.5-fold oversampling.  ``--stages`` chooses parts.

Scans of one channel, int16, in ``.npy`` files that the system has in its cache; both networks read them through the same handle,
ResNet-34 whole.  Batches of one scan.  Seconds are medians of repetitions that take turns in one process, after a warm-up: for
CPICNet 40 steps, until its projection fills its bank; ResNet-34 trains for a single step, without a warm-up.  CPU seconds, of
all threads, tell whether other work disturbed the clock.  Memory is the largest of a process of its own above that after the
imports: with weights, optimizer, and code loaded at the first use; resident, which counts the pages of the scan that the system
has in its cache, and private, which does not.
At 512×512×32 the step of ResNet-34 takes about seven minutes and 11 GB; the whole about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from memory import Peaks
from monai.transforms import ScaleIntensityRange
from tqdm import tqdm

from monai_cpic.data import LazyVolume, open_function, open_volume
from monai_cpic.networks import (
    CPICNet,
    PooledEncoder,
    PositionedEncoder,
    ResNetRegressor,
    VolumeRegressor,
    paper_net,
    random_cells_net,
)

T = TypeVar("T")

REPEATS = 9
REPEATS_RESNET = 3
WARM_UP = 40
RESNET_BYTES, RESNET_BYTES_PER_VOXEL = 2**30, 1600  # that a training step needs: weights and optimizer, activations


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 32), help="the scan that both networks see")
    parser.add_argument("--edges", type=int, nargs=2, default=(256, 512), help="of the cubes that CPICNet sees with 8 channels")
    parser.add_argument("--huge", type=int, default=8192, help="edge of the cube that no memory holds")
    parser.add_argument("--network", choices=["default", "cells", "cross"], default="default")
    parser.add_argument("--stages", nargs="+", choices=["CPICNet", "huge", "against ResNet-34"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        **vars(arguments),
    }
    del results["json"]
    with tempfile.TemporaryDirectory() as folder:
        work, shape = Path(folder), tuple(arguments.shape)
        ours = arguments.network
        small, large = Case(work, shape, ours), Case(work, tuple(2 * n for n in shape), ours)
        cubes = [Case(work, (edge,) * 3, ours, n_dims=8) for edge in arguments.edges]
        resnet = Case(work, shape, "resnet")
        for case in (small, large, *cubes):
            write(case)
            prepare(case)
        prepare(resnet)
        stages: dict[str, Callable[[], dict[str, Any]]] = {
            "CPICNet": lambda: scales([small, large, *cubes], arguments.threads),
            "huge": lambda: huge(work, arguments.huge, ours, arguments.threads),
            "against ResNet-34": lambda: against(resnet, small, arguments.threads),
        }
        for name in (bar := tqdm(arguments.stages or stages, disable=None)):
            bar.set_description(name)
            results[name] = stages[name]()
            print(json.dumps({name: results[name]}, indent=2, ensure_ascii=False), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, ensure_ascii=False))


# ---- what is measured -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A network and a scan.

    Args:
        work: folder of the scan and the checkpoint.
        shape: of the scan and the network's grid.
        network: ``"default"``, ``"cells"``, ``"cross"`` or ``"resnet"``.
        n_dims: latent channels.
        kind: of the scan: ``"stored"``, ``"sparse"`` (a file of zeros that takes no room) or ``"function"``.
    """

    work: Path
    shape: tuple[int, ...]
    network: str
    n_dims: int = 16
    kind: str = "stored"

    @property
    def name(self) -> str:
        return f"{'×'.join(map(str, self.shape))}, n_dims {self.n_dims}"

    @property
    def scan(self) -> Path:
        return self.work / f"{self.kind} {self.name}.npy"

    @property
    def checkpoint(self) -> Path:
        return self.work / f"{self.network} {self.name}.pt"

    def volume(self) -> LazyVolume:
        """The scan, opened anew."""
        volume = open_function(waves, (1, *self.shape)) if self.kind == "function" else open_volume(self.scan)
        return volume.scaled(ScaleIntensityRange(-1000, 1000, 0, 1, True))

    def build(self) -> VolumeRegressor:
        """The network, of the checkpoint if there is one."""
        torch.manual_seed(0)
        network = self._new()
        if self.checkpoint.exists():
            network.load_state_dict(torch.load(self.checkpoint, weights_only=True))
        return network

    def _new(self) -> VolumeRegressor:
        if self.network == "resnet":
            return ResNetRegressor(self.shape)
        if self.network == "cross":
            return paper_net(self.shape, n_dims=self.n_dims, oversampling=1.5)
        if self.network == "cells":
            return random_cells_net(self.shape, n_dims=self.n_dims)
        encoder = PositionedEncoder(PooledEncoder(n_dims=self.n_dims, steps=(1, 4, 16)))
        return CPICNet(self.shape, encoder=encoder)


class Training:
    """A network with its optimizer, and its two uses."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.network = case.build()
        self.optimizer = torch.optim.RAdam(self.network.parameters())

    def step(self) -> None:
        """Forward, backward and optimizer step of one scan."""
        output = self.network.train()([self.case.volume()])
        self.optimizer.zero_grad()
        output.square().sum().backward()
        self.optimizer.step()

    @torch.no_grad()
    def predict(self) -> None:
        """Prediction of a scan that the network has not seen."""
        self.network.eval()([self.case.volume()])

    def encoded(self) -> int:
        """How many voxels a prediction encodes."""
        points = self.network.sampled_points(self.case.volume())
        assert points is not None, f"{self.network.name} sees all voxels"
        return len(points)


def waves(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Structure at several scales, -1000 … 1000."""
    fine, coarse = np.sin(0.4 * x + 0.3 * y) * np.sin(0.5 * z + 0.2 * y), np.sin(0.02 * x) * np.sin(0.015 * y + 0.03 * z)
    return (500 * fine + 500 * coarse).astype(np.int16)


def write(case: Case) -> None:
    """Make the scan's file: waves and noise."""
    random = np.random.default_rng(0)
    stored = np.lib.format.open_memmap(case.scan, "w+", np.int16, (1, *case.shape))
    y, z = np.ogrid[: case.shape[1], : case.shape[2]]
    for x in tqdm(range(case.shape[0]), case.name, leave=False, disable=None):
        stored[0, x] = waves(np.array(x), y, z) + random.integers(-100, 100, case.shape[1:], np.int16)


def prepare(case: Case) -> None:
    """Make the checkpoint: for CPICNet after its warm-up."""
    training = Training(case)
    if case.network != "resnet":
        for _ in tqdm(range(WARM_UP), f"{case.name}, warm-up", leave=False, disable=None):
            training.step()
    torch.save(training.network.state_dict(), case.checkpoint)


# ---- figures --------------------------------------------------------------------------------------------------------------


def scales(cases: Sequence[Case], threads: int) -> dict[str, Any]:
    """Seconds and memory of CPICNet at four sizes, and ratios of the second to the first and the fourth to the third."""
    trainings = {case.name: Training(case) for case in cases}
    result: dict[str, Any] = {
        **medians("training step", {name: t.step for name, t in trainings.items()}, REPEATS),
        **medians("prediction", {name: t.predict for name, t in trainings.items()}, REPEATS),
        "voxels encoded by a prediction": {name: t.encoded() for name, t in trainings.items()},
        **memory("training step", {case.name: apart(training_memory, case, threads) for case in cases}),
        **memory("prediction", {case.name: apart(prediction_memory, case, threads) for case in cases}),
    }
    names = list(trainings)
    for figures in result.values():
        for small, large in (names[:2], names[2:]):
            figures[f"{large} / {small}"] = figures[large] / figures[small]
    return result


def huge(work: Path, edge: int, network: str, threads: int) -> dict[str, Any]:
    """Seconds and memory of the first step on a scan that no memory holds."""
    result = {}
    for kind in ("function", "sparse"):
        case = Case(work, (edge,) * 3, network, kind=kind)
        if kind == "sparse":
            header = np.lib.format.header_data_from_array_1_0(np.empty(0, np.int16)) | {"shape": (1, *case.shape)}
            with case.scan.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                file.truncate(file.tell() + 2 * math.prod(case.shape))
        (seconds, processor), peaks = apart(first_step, case, threads)
        result[f"{kind} {case.name}"] = {"seconds": seconds, "CPU seconds": processor, **peaks}
    return result


def against(resnet: Case, ours: Case, threads: int) -> dict[str, Any]:
    """ResNet-34 and CPICNet, and the ratios of the former to the latter."""
    one, other = Training(resnet), Training(ours)
    result: dict[str, Any] = medians("prediction", {"ResNet-34": one.predict, "CPICNet": other.predict}, REPEATS_RESNET)
    result |= medians("training step", {"CPICNet": other.step}, REPEATS)
    del one
    predictions = {"ResNet-34": resnet, "CPICNet": ours}
    result |= memory("prediction", {name: apart(prediction_memory, case, threads) for name, case in predictions.items()})
    result |= memory("training step", {"CPICNet": apart(training_memory, ours, threads)})
    need, available = RESNET_BYTES + RESNET_BYTES_PER_VOXEL * math.prod(resnet.shape), available_bytes()
    if need > available:
        result["left out"] = f"the step of ResNet-34 needs about {need / 2**30:.1f} GiB, {available / 2**30:.1f} are available"
    else:
        (seconds, processor), peaks = apart(first_step, resnet, threads)
        for unit, value in {"seconds": seconds, "CPU seconds": processor, **peaks}.items():
            result[f"training step, {unit}"]["ResNet-34"] = value
    for figures in result.values():
        if isinstance(figures, dict) and "ResNet-34" in figures:
            figures["ratio"] = figures["ResNet-34"] / figures["CPICNet"]
    return result


def memory(what: str, peaks: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Kind of memory by case instead of case by kind."""
    kinds = next(iter(peaks.values()))
    return {f"{what}, {kind}": {name: found[kind] for name, found in peaks.items()} for kind in kinds}


def medians(what: str, functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds and CPU seconds of functions that take turns; the first turn is a warm-up."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in tqdm(range(repeats + 1), leave=False, disable=None):
        for name, function in functions.items():
            seconds[name].append(elapsed(function))
    return {
        f"{what}, {unit}": {name: statistics.median(value[k] for value in values[1:]) for name, values in seconds.items()}
        for k, unit in enumerate(("seconds", "CPU seconds"))
    }


def elapsed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds and CPU seconds of one call."""
    start, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - processor


# ---- in processes of their own --------------------------------------------------------------------------------------------


def apart(measure: Callable[[Case], T], case: Case, threads: int) -> T:
    """What a new process measures."""
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (threads,)) as pool:
        return pool.apply(measure, (case,))


def training_memory(case: Case) -> dict[str, float]:
    """MiB that a training takes: a cold start and a few steps."""
    with Peaks() as peaks:
        training = Training(case)
        for _ in range(5):
            training.step()
    return peaks.above_start()


def prediction_memory(case: Case) -> dict[str, float]:
    """MiB that a prediction from a checkpoint takes."""
    with Peaks() as peaks, torch.no_grad():
        case.build().eval()([case.volume()])
    return peaks.above_start()


def first_step(case: Case) -> tuple[tuple[float, float], dict[str, float]]:
    """Seconds and CPU seconds of the first step of a training, and MiB that it takes."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # should memory run out, this process ends and no other
    with Peaks() as peaks:
        seconds = elapsed(Training(case).step)
    return seconds, peaks.above_start()


def available_bytes() -> int:
    """Memory of the machine that is free or can be freed."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024


if __name__ == "__main__":
    main()
