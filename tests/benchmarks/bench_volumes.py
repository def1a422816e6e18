"""Reading patches: all kinds of volumes against slicing one by one, resampling against whole volumes, memory, size, prefetching.

    pip install -c constraints.txt -e ".[bundles,zarr]"
    python tests/benchmarks/bench_volumes.py [--threads 1] [--steps 1000] [--json FILE]

Makes its files in a temporary folder: 0.25 GiB of noise for 512³, 2 GiB for 1024³, sparse files for 8192³.  Ratios are of medians
of interleaved repetitions in one process; the slow ways read fewer patches.  About a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
import torch
import zarr
from memory import Peaks, status
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, Identityd, LoadImage, RandAffined, ScaleIntensityRange
from torch import Tensor
from tqdm import tqdm

from monai_cpic.data import LazyVolume, open_function, open_volume
from monai_cpic.networks import CrossApproximation, IndexStore, PatchEncoder, TTBottleneck
from monai_cpic.tensor_train import Sweep, qtt_modes
from monai_cpic.tensor_train.indices import initial_indices
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed, ReadAheadd


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {"processor": platform.processor() or platform.machine(), "threads": arguments.threads}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["MONAI_CPIC_CACHE"] = str(work / "cache")
        for edge in (512, 1024):
            path = make(work, edge)
            results[f"{edge}"] = readers(path, edge) | {"in no cache": footprints(path, edge)}
            print(json.dumps({edge: results[f"{edge}"]}, indent=2), flush=True)
        results["resampling"] = resampling(work / "512.nii")
        results["huge"] = huge(work)
        results["memory"] = memory(work / "1024.nii", arguments.steps)
        results["prefetch"] = prefetch(work)
    print(json.dumps(results, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


# ---- volumes and points ----------------------------------------------------------------------------------------------


def make(work: Path, edge: int) -> Path:
    """``EDGE.nii`` of int16 noise, and an OME-Zarr of it in chunks of 32³ beside it."""
    path = work / f"{edge}.nii"
    header = nibabel.Nifti1Header()
    header.set_data_shape((edge,) * 3)
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    random = np.random.default_rng(0)
    group = zarr.open_group(work / f"{edge}.zarr", mode="w", zarr_format=2)
    stored = group.create_array("0", shape=(edge,) * 3, chunks=(32,) * 3, dtype="<i2")
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    datasets: list[dict[str, Any]] = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    with path.open("wb") as file:
        header.write_to(file)
        file.write(b"\0" * (352 - file.tell()))
        for first in tqdm(range(0, edge, 32), f"{edge}³", leave=False, disable=None):
            slab = random.integers(-1000, 400, (32, edge, edge), np.int16)
            file.write(slab.tobytes())
            stored[first : first + 32] = slab
    return path


def centres_of(edge: int, count: int = 5000) -> dict[str, Tensor]:
    """Scattered ones, and those that passes of cross-approximation ask for."""
    generator = torch.Generator().manual_seed(0)
    scattered = torch.randint(edge, (count, 3), generator=generator)
    asked: list[Tensor] = []

    def field(coordinates: Tensor) -> Tensor:
        asked.append(coordinates[0, :, :3])
        return torch.sin(coordinates.double() @ torch.tensor([0.7, 1.3, 2.1, 0.0], dtype=torch.double))

    modes = qtt_modes((edge,) * 3)
    sweep, indices = Sweep(field, modes), initial_indices(modes, 10)
    while sum(map(len, asked)) < count:
        _, indices = sweep(indices)
    return {"scattered": scattered, "cross": torch.cat(asked)[:count]}


Read = Callable[[Tensor, int], object]


def rate(read: Read, centres: Tensor, size: int) -> float:
    """Patches per second."""
    start = time.perf_counter()
    read(centres, size)
    return len(centres) / (time.perf_counter() - start)


def inside(centre: Tensor, size: int, edge: int) -> tuple[slice, ...]:
    """The part of a cube that lies in the volume."""
    return tuple(slice(max(c - size // 2, 0), min(c - size // 2 + size, edge)) for c in centre.tolist())


def ways(path: Path, edge: int) -> dict[str, tuple[int, Callable[[], Read]]]:
    """Ways to read patches: of how many at a time, and what opens the volume and gives the function of centres and size."""

    def lazy(opened: Callable[[], LazyVolume]) -> tuple[int, Callable[[], Read]]:
        return 5000, lambda: opened().gather

    def nibabel_slices() -> Read:
        image = nibabel.Nifti1Image.from_filename(path)
        return lambda centres, size: [np.asarray(image.dataobj[inside(centre, size, edge)]) for centre in centres]

    def zarr_slices() -> Read:
        store = zarr.open_array(path.with_suffix(".zarr") / "0", mode="r")
        return lambda centres, size: [store[inside(centre, size, edge)[::-1]] for centre in centres]

    def simpleitk() -> Read:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))

        def read(centres: Tensor, size: int) -> None:
            for centre in centres:
                box = inside(centre, size, edge)
                reader.SetExtractIndex([b.start for b in box])
                reader.SetExtractSize([b.stop - b.start for b in box])
                SimpleITK.GetArrayFromImage(reader.Execute())

        return read

    def whole() -> Read:
        def read(centres: Tensor, size: int) -> None:
            array = LoadImage(image_only=True)(path)
            for centre in centres:
                array[inside(centre, size, edge)].clone()

        return read

    result = {
        "mapped NIfTI": lazy(lambda: open_volume(path)),
        "OME-Zarr": lazy(lambda: open_volume(path.with_suffix(".zarr"))),
        "function": lazy(lambda: open_function(lambda x, y, z: x + y + z, (1, *[edge] * 3))),
        "nibabel, patch by patch": (1000, nibabel_slices),
        "zarr-python, patch by patch": (300, zarr_slices),
        "SimpleITK, patch by patch": (100, simpleitk),
    }
    if edge == 512:  # the others do not fit, or take too long
        result["memory"] = lazy(lambda: open_volume(np.array(nibabel.Nifti1Image.from_filename(path).dataobj)[None]))
        result["MONAI LoadImage and crops"] = (5000, whole)
    return result


def readers(path: Path, edge: int) -> dict[str, Any]:
    """Patches per second of every way to read them, with everything in the caches."""
    reads = {name: (count, opened()) for name, (count, opened) in ways(path, edge).items()}
    result: dict[str, Any] = {}
    for kind, centres in centres_of(edge).items():
        for size in (9, 17):
            rates: dict[str, list[float]] = {name: [] for name in reads}
            for _ in range(4):  # the first fills caches
                for name, (count, read) in reads.items():
                    rates[name].append(rate(read, centres[:count], size))
            middle = {name: statistics.median(values[1:]) for name, values in rates.items()}
            result[f"{kind} {size}³"] = {
                "patches per second": {name: round(value) for name, value in middle.items()},
                "mapped / nibabel": middle["mapped NIfTI"] / middle["nibabel, patch by patch"],
                "OME-Zarr / zarr-python": middle["OME-Zarr"] / middle["zarr-python, patch by patch"],
            }
    return result


def footprints(path: Path, edge: int) -> dict[str, Any]:
    """Memory and MiB from the disk that each way takes for scattered patches of 9³ of a volume that is in no cache."""
    result = {}
    for name, (count, _) in ways(path, edge).items():
        forget(path, *path.with_suffix(".zarr").rglob("*"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result[name] = {"patches": count} | pool.apply(footprint, (path, edge, name))
    return result


def footprint(path: Path, edge: int, name: str) -> dict[str, float]:
    """The same of one way, in this process."""
    count, opened = ways(path, edge)[name]
    centres = centres_of(edge)["scattered"][:count]
    disk = disk_bytes()
    with Peaks() as peaks:
        opened()(centres, 9)
    return peaks.above_start() | {"MiB from the disk": (disk_bytes() - disk) / 2**20}


def forget(*paths: Path) -> None:
    """Take files out of the system's cache."""
    os.sync()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_bytes() -> int:
    """What this process made the system fetch from disks, through mapped files too."""
    return next(int(line.split()[1]) for line in open("/proc/self/io") if line.startswith("read_bytes"))


# ---- figures --------------------------------------------------------------------------------------------------------------


def resampling(path: Path) -> dict[str, Any]:
    """3 000 patches of a rotated volume against MONAI's resampling of the whole."""
    rotate = RandAffined("image", prob=1, rotate_range=(0.2, 0.1, 0.3), scale_range=0.1).set_random_state(0)
    lazy = Compose([LoadLazyVolumed("image"), rotate, FreezeLazyVolumed("image")], lazy=True)
    handle = lazy({"image": str(path)})["image"]
    centres = torch.randint(512, (3000, 3), generator=torch.Generator().manual_seed(0))
    ours = [3000 / rate(handle.gather, centres, 9) for _ in range(4)]
    dense = MetaTensor(LoadImage(image_only=True)(path)[None])
    overrides = {"image": {"mode": "bilinear", "padding_mode": "border"}}
    whole = Compose([rotate, Identityd("image")], lazy=True, overrides=overrides)
    start = time.perf_counter()
    whole({"image": dense})
    monai = time.perf_counter() - start
    return {"ours_seconds": sorted(ours[1:])[1], "monai_seconds": monai, "ratio": monai / sorted(ours[1:])[1]}


def huge(work: Path) -> dict[str, Any]:
    """3 000 patches from 8192³, a sparse file and a function, against the same from 1024³."""
    seconds: dict[str, float] = {}
    for edge in (1024, 8192):
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, np.int16)) | {"shape": (1, edge, edge, edge)}
        with (work / f"sparse{edge}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 2 * edge**3)
        centres = torch.randint(edge, (3000, 3), generator=torch.Generator().manual_seed(0))
        volumes = {"sparse": open_volume(work / f"sparse{edge}.npy")}
        volumes["function"] = open_function(lambda x, y, z: x + y + z, (1, *[edge] * 3))
        for name, volume in volumes.items():
            times = [3000 / rate(volume.gather, centres, 9) for _ in range(5)]
            seconds[f"{name} {edge}³"] = sorted(times)[2]
    for name in ("sparse", "function"):
        seconds[f"{name} ratio"] = seconds[f"{name} 8192³"] / seconds[f"{name} 1024³"]
    return seconds


def memory(path: Path, steps: int) -> dict[str, Any]:
    """Memory of a new process above its start, within and after steps of 3 000 patches of 9³ each at other points."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return {"steps": steps} | pool.apply(growth, (path, steps))


def growth(path: Path, steps: int) -> dict[str, float]:
    """The same in this process."""
    torch.set_num_threads(1)
    volume, generator, between = open_volume(path), torch.Generator().manual_seed(0), []
    start = status("VmRSS")
    with Peaks() as peaks:
        for _ in range(steps):
            volume.gather(torch.randint(1024, (3000, 3), generator=generator), 9)
            between.append(status("VmRSS") - start)
    first, tenth, last = (between[step] for step in (0, steps // 10 - 1, -1))
    found = {"after one step": first, "after a tenth": tenth, "after all": last}
    return {f"MiB resident {when}": value for when, value in found.items()} | peaks.above_start()


def prefetch(work: Path, scans: int = 16, edge: int = 512, workers: int = 2) -> dict[str, Any]:
    """An epoch of training on files that the system does not have in its cache, with and without reading ahead."""
    paths = []
    for number in range(scans):
        path = work / f"scan{number}.npy"
        np.save(path, np.random.default_rng(number).integers(-1000, 400, (1, edge, edge, edge), np.int16))
        paths.append({"image": str(path)})
    seconds: dict[str, list[float]] = {"without": [], "ahead": []}
    for name in seconds:
        torch.manual_seed(0)
        indices = IndexStore(4, work / name)
        decomposition = CrossApproximation(qtt_modes((edge,) * 3, 8), indices=indices)
        network = TTBottleneck(PatchEncoder(n_dims=8), decomposition).train()
        steps: list[Any] = [LoadLazyVolumed("image"), FreezeLazyVolumed("image"), windowed]
        if name == "ahead":
            steps.append(ReadAheadd("image", decomposition, network.encoder.receptive_field))
        loader = DataLoader(Dataset(paths, Compose(steps, lazy=True)), batch_size=1, num_workers=workers)
        optimizer = torch.optim.RAdam(network.parameters())
        for _ in range(5):  # one that chooses, three that repeat, one that chooses
            forget(*(Path(item["image"]) for item in paths))
            start = time.perf_counter()
            for batch in loader:
                optimizer.zero_grad()
                field = network(batch["image"])
                field.trains.norm().sum().backward()
                optimizer.step()
            seconds[name].append(time.perf_counter() - start)
    repeated = {name: sorted(times[1:4])[1] for name, times in seconds.items()}
    return {
        "seconds": seconds,
        "ratio_of_repeating_epochs": repeated["without"] / repeated["ahead"],
        "ratio_of_four_epochs": sum(seconds["without"][1:5]) / sum(seconds["ahead"][1:5]),
    }


def windowed(items: dict[str, Any]) -> dict[str, Any]:
    """Hounsfield units to 0 … 1."""
    volume: LazyVolume = items["image"]
    return {**items, "image": volume.scaled(ScaleIntensityRange(-1000, 400, 0, 1, True))}


if __name__ == "__main__":
    main()
