"""The simulated OSIC cohort: layout, determinism, truth, and what other software reads from its scans."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK

from monai_cpic.cohorts import OSICCohort
from monai_cpic.phantoms import OSICSimulation
from monai_cpic.phantoms.osic import simulate_visits

PATIENTS, SEED, RESOLUTION = 4, 3, 0.25


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a cohort of four patients with scans of about 60×60×10 voxels."""
    folder = tmp_path_factory.mktemp("cohorts") / "osic"
    return OSICSimulation(PATIENTS, SEED, RESOLUTION).write(folder, progress=False)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def series(simulated: Path, number: int) -> Path:
    return simulated / "train" / pd.read_csv(simulated / "truth.csv")["Patient"][number]


def test_layout_and_reader(simulated: Path) -> None:
    assert sorted(path.name for path in simulated.iterdir()) == sorted(
        ["train.csv", "train", "test.csv", "test", "truth.csv", "simulation.json"]
    )
    train = OSICCohort().read(simulated)
    assert [item["patient"] for item in train] == pd.read_csv(simulated / "truth.csv")["Patient"].tolist()
    assert all(6 <= len(item["weeks"]) <= 9 for item in train)
    for item in train:
        assert len(item["patient"]) == 25 and item["patient"].startswith("ID") and item["patient"][2:].isdigit()
        names = sorted((path.name for path in Path(item["image"]).iterdir()), key=lambda name: int(name[:-4]))
        assert names == [f"{number}.dcm" for number in range(1, len(names) + 1)]
    test = OSICCohort(split="test", weeks=range(-12, 134)).read(simulated)
    assert [item["baseline_fvc"] for item in test] == [item["baseline_fvc"] for item in train]
    assert digests(simulated / "test") == digests(simulated / "train")


def test_same_seed_gives_the_same_files(simulated: Path, tmp_path: Path) -> None:
    again = OSICSimulation(PATIENTS, SEED, RESOLUTION).write(tmp_path / "again", progress=False)
    assert digests(again) == digests(simulated)
    other = OSICSimulation(1, SEED + 1, RESOLUTION).write(tmp_path / "other", progress=False)
    assert not set(digests(other).values()) & set(digests(simulated).values())


def test_a_patient_does_not_depend_on_how_many_follow() -> None:
    (few, truth_of_few), (many, truth_of_many) = simulate_visits(3, seed=0), simulate_visits(9, seed=0)
    pd.testing.assert_frame_equal(few, many[: len(few)])
    pd.testing.assert_frame_equal(truth_of_few, truth_of_many[:3])


def test_visits_follow_the_truth() -> None:
    visits, truth = simulate_visits(300, seed=0)
    known = visits.merge(truth, on="Patient")
    since_baseline = known["Weeks"] - known.groupby("Patient")["Weeks"].transform("first")
    error = known["FVC"] - (known["baseline_fvc"] + known["slope"] * since_baseline)
    assert 60 < error.std() < 80 and abs(error.mean()) < 5  # what is left is the spirometer's error
    assert abs(np.corrcoef(error, since_baseline)[0, 1]) < 0.05
    assert np.corrcoef(truth["extent"], truth["slope"])[0, 1] < -0.95
    assert truth["extent"].between(0, 1).all()

    baseline = visits.groupby("Patient", sort=False).first()
    assert abs(np.corrcoef(baseline["FVC"], truth["extent"])[0, 1]) < 0.6  # the table does not give it away
    assert abs(np.corrcoef(baseline["Percent"], truth["extent"])[0, 1]) < 0.7


def test_cohort_resembles_the_real_one() -> None:
    visits, _ = simulate_visits(500, seed=1)
    assert visits["FVC"].mean() == pytest.approx(2690, abs=150) and visits["FVC"].std() == pytest.approx(833, abs=150)
    assert visits["Weeks"].min() >= -5 and 60 < visits["Weeks"].max() <= 133
    patients = visits.groupby("Patient").first()
    assert (patients["Sex"] == "Male").mean() == pytest.approx(0.79, abs=0.05)
    assert set(patients["SmokingStatus"]) == {"Ex-smoker", "Never smoked", "Currently smokes"}


@pytest.mark.parametrize("number", [0, 2, 3])
def test_simpleitk_reads_the_series(simulated: Path, number: int) -> None:
    folder = series(simulated, number)
    image = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    hu = SimpleITK.GetArrayFromImage(image)
    slices = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=lambda s: s.ImagePositionPatient[2])
    assert len(hu) == len(slices)
    spacing = [*map(float, slices[0].PixelSpacing), float(slices[0].SliceThickness)]
    np.testing.assert_allclose(image.GetSpacing(), spacing, rtol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), slices[0].ImagePositionPatient, rtol=1e-5)
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel())
    inside = hu[:, hu.shape[1] // 2 - 5 : hu.shape[1] // 2 + 5]
    assert -1024 <= inside.min() < -800 and 300 < inside.max() < 3071
    assert hu.min() == -2000 if number % 3 == 0 else hu.min() >= -1024
    width = image.GetSize()[0] * image.GetSpacing()[0]
    assert 360 < width < 400


def test_quirks_of_the_real_scans(simulated: Path) -> None:
    first = [pydicom.dcmread(series(simulated, number) / "1.dcm", stop_before_pixels=True) for number in range(4)]
    assert [dataset.file_meta.TransferSyntaxUID.is_compressed for dataset in first] == [True, False, False, False]
    assert ["ImagePositionPatient" in dataset for dataset in first] == [True, False, True, True]
    assert first[2].Rows < first[3].Rows
    assert len({dataset.SeriesInstanceUID for dataset in first}) == 4
    for number in range(4):
        datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in series(simulated, number).iterdir()]
        assert all(f"{dataset.InstanceNumber}.dcm" == Path(str(dataset.filename)).name for dataset in datasets)
        assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(datasets)


def test_series_without_positions_keeps_its_pixels(simulated: Path) -> None:
    path = series(simulated, 1) / "1.dcm"
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    np.testing.assert_array_equal(stored, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0])


def test_existing_folder_is_never_overwritten(simulated: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is not empty"):
        OSICSimulation(PATIENTS, SEED, RESOLUTION).write(simulated)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        OSICSimulation().ensure(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_ensure_reuses_or_refuses(simulated: Path) -> None:
    before = digests(simulated)
    assert OSICSimulation(PATIENTS, SEED, RESOLUTION).ensure(simulated) == simulated
    with pytest.raises(FileExistsError, match=r"simulated with .*'seed': 3.* asked for .*'seed': 4"):
        OSICSimulation(PATIENTS, SEED + 1, RESOLUTION).ensure(simulated)
    assert digests(simulated) == before


def test_ensure_simulates_on_first_use(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder = OSICSimulation(patients=1, seed=0, resolution=0.25).ensure(tmp_path / "empty")
    assert len(OSICCohort().read(folder)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert json.loads((folder / "simulation.json").read_text())["patients"] == 1


def test_ensure_returns_a_real_download_untouched(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("real")
    assert OSICSimulation().ensure(tmp_path) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_interrupted_simulation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_cpic.phantoms.osic._simulate_scan", interrupt)
    with pytest.raises(KeyboardInterrupt):
        OSICSimulation(patients=1).write(tmp_path / "osic")
    assert not list(tmp_path.iterdir())


def test_another_process_may_finish_first(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def finished_elsewhere(*_: object) -> None:
        if not (tmp_path / "osic").exists():
            (tmp_path / "osic").mkdir()
            for name in ("train.csv", "simulation.json"):
                (tmp_path / "osic" / name).write_bytes((simulated / name).read_bytes())

    monkeypatch.setattr("monai_cpic.phantoms.osic._simulate_scan", finished_elsewhere)
    assert OSICSimulation(PATIENTS, SEED, RESOLUTION).ensure(tmp_path / "osic") == tmp_path / "osic"
    assert [path.name for path in tmp_path.iterdir()] == ["osic"]


@pytest.mark.parametrize(("patients", "resolution"), [(0, 1.0), (3, 0.0)])
def test_refuses_impossible_sizes(tmp_path: Path, patients: int, resolution: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        OSICSimulation(patients, resolution=resolution).write(tmp_path / "osic")
