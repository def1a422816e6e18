"""Handles: opening arrays, passing processes, batches, grids on grids."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, list_data_collate
from monai.transforms import Lambdad, ScaleIntensityRange
from numpy.typing import NDArray
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import default_collate

from monai_cpic.data import LazyVolume, Sampling, list_collate, open_function, open_volume, sources
from monai_cpic.data.sources import mapped
from monai_cpic.testing import ReaderTestCase, VolumeTestCase


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Volumes of different shapes."""
    paths = [tmp_path / f"{number}.npy" for number in range(5)]
    for number, path in enumerate(paths):
        np.save(path, np.full((1, 6, 5, 4 + number), number, np.int16))
    return paths


def middle(volume: LazyVolume) -> float:
    return volume.gather(torch.tensor(volume.shape[1:])[None] // 2, 3).mean().item()


# ---- arrays --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uint8", "int16", "int64", "float16", "bfloat16", "float64", "bool"])
def test_tensors_of_any_type(name: str) -> None:
    values = torch.randint(0, 2, (2, 5, 4, 3)).to(getattr(torch, name))
    patches = open_volume(values).gather(torch.tensor([[2, 2, 1]]), (5, 4, 3))
    assert patches.dtype == torch.float32
    assert torch.equal(patches[0], values.float())


def test_tensors_are_shared_and_may_have_gradients() -> None:
    values = torch.zeros(1, 4, 4, 4, requires_grad=True)
    volume = open_volume(values)
    with torch.no_grad():
        values += 1
    assert middle(volume) == 1


@pytest.mark.parametrize("mode", ["nearest", "bilinear", 3])
def test_tensors_on_an_accelerator_are_read_there(mode: str | int) -> None:
    values = torch.randint(-1000, 1000, (2, 9, 8, 7), dtype=torch.int16)
    turn = np.array([[0.9, 0.3, 0, -1], [-0.3, 0.9, 0.1, 2], [0, 0.2, 1.1, 0.5], [0, 0, 0, 1]])
    sampling = Sampling(turn, (9, 8, 7), mode)
    centres = torch.randint(-4, 12, (50, 3))
    expected = open_volume(values)
    there = LazyVolume(sources.TensorSource(values), expected.affine)  # any device: here the one that is at hand
    assert there.source.dtype == np.int16
    assert torch.equal(there.gather(centres, 5), expected.gather(centres, 5))
    found = there.sampled(sampling).gather(centres, 3)
    torch.testing.assert_close(found, expected.sampled(sampling).gather(centres, 3), atol=1e-3, rtol=0)  # of values up to 1000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tensors_on_a_gpu() -> None:
    values = torch.randint(-1000, 1000, (2, 9, 8, 7), dtype=torch.int16)
    volume = open_volume(MetaTensor(values.cuda()))
    assert isinstance(volume.source, sources.TensorSource)
    centres = torch.randint(-4, 12, (50, 3))
    assert torch.equal(volume.gather(centres.cuda(), 5), open_volume(values).gather(centres, 5))


def test_reversed_and_expanded_arrays() -> None:
    values = np.arange(60.0).reshape(1, 5, 4, 3)
    assert open_volume(values[:, ::-1]).gather(torch.zeros(1, 3, dtype=torch.int64), 1).item() == 48
    assert middle(open_volume(torch.tensor(7.0).expand(1, 100, 100, 100))) == 7


def test_affines_of_meta_tensors() -> None:
    affine = torch.diag(torch.tensor([2.0, 3, 4, 1], dtype=torch.float64))
    assert torch.equal(open_volume(MetaTensor(torch.zeros(1, 4, 4, 4), affine=affine)).affine, affine)
    assert open_volume(MetaTensor(torch.zeros(1, 4, 4))).affine.shape == (3, 3)
    assert open_volume(torch.zeros(1, 4, 4)).affine.shape == (3, 3)


class TestArray(VolumeTestCase):
    shape = (2, 7, 6, 5)
    pickled_bytes = None

    def make(self, values: NDArray[Any], folder: Path) -> LazyVolume:
        return open_volume(values)


class TestTensor(TestArray):
    def make(self, values: NDArray[Any], folder: Path) -> LazyVolume:
        return open_volume(torch.from_numpy(values))


class TestNpy(ReaderTestCase):
    shape = (2, 7, 6, 5)

    @pytest.fixture(params=["u1", "<i2", ">f4", "<f8"])
    def dtype(self, request: pytest.FixtureRequest) -> np.dtype[Any]:
        return np.dtype(request.param)

    def write(self, values: NDArray[Any], folder: Path) -> Path:
        np.save(folder / "scan.npy", values)
        return folder / "scan.npy"


class TestFortranNpy(TestNpy):
    def write(self, values: NDArray[Any], folder: Path) -> Path:
        return super().write(np.asfortranarray(values), folder)


def test_refused_arrays(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 4\)"):
        open_volume(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="none of them empty"):
        open_volume(torch.zeros(1, 4, 0, 4))
    with pytest.raises(ValueError, match="complex64"):
        open_volume(torch.zeros(1, 4, 4, 4, dtype=torch.complex64))
    pending = MetaTensor(torch.zeros(1, 4, 4, 4))
    pending.push_pending_operation({})
    with pytest.raises(ValueError, match="pending operations"):
        open_volume(pending)
    np.save(tmp_path / "scan.npy", np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"scan.npy has the shape \(3, 3\)"):
        open_volume(tmp_path / "scan.npy")


def test_refused_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.nii does not exist"):
        open_volume(tmp_path / "gone.nii")
    (tmp_path / "scan.txt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"scan.txt: unknown kind"):
        open_volume(tmp_path / "scan.txt")
    with pytest.raises(TypeError, match="int"):
        open_volume(3)  # type: ignore[arg-type]  # as a user may


BROKEN = {
    "has numbers that are not finite": [np.nan, np.inf, -np.inf],
    "is singular": [0.0],
}


@pytest.mark.parametrize(("fault", "value"), [(fault, value) for fault, values in BROKEN.items() for value in values])
def test_affines_that_place_no_voxel_are_refused(tmp_path: Path, fault: str, value: float) -> None:
    affine = np.diag([0.7, value, 2.5, 1.0])
    with pytest.raises(ValueError, match=f"the volume: its affine .*{fault}"):
        open_volume(MetaTensor(torch.zeros(1, 4, 4, 4), affine=torch.from_numpy(affine)))
    with pytest.raises(ValueError, match=f"the volume: its affine .*{fault}"):
        open_function(lambda x, y, z: x + y + z, (1, 4, 4, 4), torch.from_numpy(affine))
    content = bytearray(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes())
    content[296:312] = affine[1].astype("<f4").tobytes()  # srow_y
    for name, packed in {"scan.nii": bytes(content), "scan.nii.gz": gzip.compress(bytes(content))}.items():
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(ValueError, match=f"{name}: its affine .*{fault}"):
            open_volume(tmp_path / name, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_any_spacing_and_shear_that_is_not_singular() -> None:
    for affine in (np.diag([1e-200, 1e200, 1, 1.0]), np.array([[1, 0.9, 0, 0], [0, 0.1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])):
        open_function(lambda x, y, z: x + y + z, (1, 4, 4, 4), torch.from_numpy(affine))
    with pytest.raises(ValueError, match="ends in a row other"):
        open_function(lambda x, y, z: x + y + z, (1, 4, 4, 4), 2 * torch.eye(4))


def test_options_that_nobody_has_are_refused(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"0.npy: got an unexpected keyword argument 'spacings': .npy has no such option"):
        open_volume(files[0], spacings=2)
    with pytest.raises(TypeError, match=r"an array has no options, got \{'cache_dir': 'cache'\}"):
        open_volume(torch.zeros(1, 4, 4, 4), cache_dir="cache")
    opened = open_volume(files[0], cache_dir=tmp_path / "cache")
    with pytest.raises(TypeError, match=r"0.npy'\) has been opened: give it fill=3.0"):
        open_volume(opened, fill=3.0)
    opened.coarser(2).gather(torch.tensor([[1, 1, 1]]), 1)
    assert (tmp_path / "cache").exists()


NPY_HEADERS = [
    b"{'descr'",
    b"{" * 20,
    b"\xff" * 6,
    b"{'descr': '<i2', 'fortran_order': False, 'shape': (1, 9e99, 4, 4)}",
    b"(" * 99,
]


@pytest.mark.parametrize("header", NPY_HEADERS)
def test_damaged_npy_headers_are_named(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, np.zeros((1, 4, 4, 4), np.int16))
    content = path.read_bytes()
    path.write_bytes(content[:10] + header.ljust(118) + content[128:])
    with pytest.raises(ValueError, match=r"scan.npy is not a readable .npy file"):
        open_volume(path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "scan.nii.gz")
    with pytest.raises(ValueError, match=r"scan.nii.gz is neither a file nor a folder, but a pipe"):
        open_volume(tmp_path / "scan.nii.gz", cache_dir=tmp_path / "cache")


MANY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np, torch
from monai_cpic.data import open_volume
volumes = []
for number in range(150):
    path = f"{sys.argv[1]}/{number}.npy"
    np.save(path, np.full((1, 4, 4, 4), number, np.int16))
    volumes.append(open_volume(path))
for _ in range(2):
    assert [int(volume.gather(torch.tensor([[1, 1, 1]]), 2).mean()) for volume in volumes] == list(range(150))
"""


def test_more_scans_than_a_process_may_have_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MANY, str(tmp_path)], check=True)


# ---- reading -------------------------------------------------------------------------------------------------------------


def test_the_first_voxel_is_the_centre_less_half_the_size() -> None:
    volume = open_volume(torch.arange(20.0).expand(1, 2, 20))
    assert volume.gather(torch.tensor([[0, 10]]), (1, 4)).flatten().tolist() == [8, 9, 10, 11]
    assert volume.gather(torch.tensor([[0, 10]]), (1, 5)).flatten().tolist() == [8, 9, 10, 11, 12]
    assert volume.gather(torch.tensor([[0, -30]]), (1, 2)).flatten().tolist() == [0, 0]


@pytest.mark.parametrize(("centres", "size"), [((4, 2), 3), ((4, 3), (3, 3)), ((3,), 3), ((4, 3), 0), ((4, 3), (3, 3, -1))])
def test_wrong_shapes(centres: tuple[int, ...], size: int | tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positive edges"):
        open_volume(torch.zeros(1, 4, 4, 4)).gather(torch.zeros(centres, dtype=torch.int64), size)


def test_intensities_apply_in_order_and_give_plain_tensors() -> None:
    volume = open_volume(torch.full((1, 4, 4, 4), 3.0)).scaled(torch.square).scaled(ScaleIntensityRange(0, 10, 0, 1))
    patches = volume.gather(torch.zeros(2, 3, dtype=torch.int64), 2)
    assert type(patches) is torch.Tensor
    torch.testing.assert_close(patches, torch.full((2, 1, 2, 2, 2), 0.9))


def test_grids_on_grids_compose() -> None:
    values = torch.rand(1, 12, 12, 12)
    shift, flip = np.eye(4), np.diag([-1.0, 1, 1, 1])
    shift[1, 3], flip[0, 3] = 2, 11
    volume = open_volume(values).sampled(Sampling(flip, (12, 12, 12))).sampled(Sampling(shift, (12, 10, 12)))
    assert volume.shape == (1, 12, 10, 12)
    assert torch.equal(volume.gather(torch.tensor([[6, 5, 6]]), (12, 10, 12))[0], values.flip(1)[:, :, 2:])
    np.testing.assert_allclose(volume.affine, flip @ shift)


def test_the_number_of_open_files_is_bounded(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapped._mapped.cache_info().maxsize == mapped.OPEN_MAPS
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    volumes = [open_volume(path) for path in files]
    copies = [pickle.loads(pickle.dumps(volume)) for volume in volumes for _ in range(40)]
    assert [middle(volume) for volume in copies[::40]] == [0, 1, 2, 3, 4]
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + len(files)


# ---- passing on ----------------------------------------------------------------------------------------------------------


def test_handles_pickle_as_paths(files: list[Path]) -> None:
    volume = open_volume(files[3]).scaled(ScaleIntensityRange(0, 6, 0, 1))
    middle(volume)
    pickled = pickle.dumps(volume)
    assert len(pickled) < 4000
    assert middle(pickle.loads(pickled)) == 0.5


def test_copies_are_the_handle_itself() -> None:
    volume = open_volume(torch.zeros(1, 50, 50, 50))
    assert copy.deepcopy({"image": volume})["image"] is volume


def test_removed_file(files: list[Path]) -> None:
    volume = open_volume(files[0])
    files[0].unlink()
    with pytest.raises(FileNotFoundError):
        middle(volume)


@pytest.mark.parametrize("collate", [default_collate, list_data_collate])
def test_batches_keep_handles_apart(files: list[Path], collate: Callable[..., Any]) -> None:
    volumes = [open_volume(path) for path in files[:2]]
    batch = collate([{"image": volume, "age": torch.tensor(60 + n)} for n, volume in enumerate(volumes)])
    assert batch["image"] == volumes
    assert batch["age"].tolist() == [60, 61]


def test_list_collate_stacks_nothing() -> None:
    batch = list_collate([{"weeks": torch.zeros(2)}, {"weeks": torch.zeros(3)}])
    assert [len(weeks) for weeks in batch["weeks"]] == [2, 3]


@pytest.mark.parametrize("loader", [DataLoader, TorchDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_data_loaders(files: list[Path], loader: type, workers: int) -> None:
    items = [{"image": str(path), "label": float(number)} for number, path in enumerate(files)]
    dataset = CacheDataset(items, Lambdad("image", open_volume), num_workers=None, progress=False)
    for volume in (dataset[0]["image"], dataset[4]["image"]):
        middle(volume)  # maps that the workers inherit
    options = {"multiprocessing_context": "fork"} if workers else {}
    seen = []
    for batch in loader(dataset, batch_size=2, num_workers=workers, **options):
        assert [middle(volume) for volume in batch["image"]] == batch["label"].tolist()
        seen += batch["label"].tolist()
    assert seen == [0, 1, 2, 3, 4]


class Middles(torch.utils.data.Dataset[float]):
    """Reads in the workers."""

    def __init__(self, volumes: list[LazyVolume]) -> None:
        self.volumes = volumes

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, number: int) -> float:
        return middle(self.volumes[number])


def test_forked_workers_read(files: list[Path]) -> None:
    volumes = [open_volume(path) for path in files]
    middle(volumes[0])
    loader = TorchDataLoader(Middles(volumes), num_workers=2, multiprocessing_context="fork")
    assert torch.cat(list(loader)).tolist() == [0, 1, 2, 3, 4]
