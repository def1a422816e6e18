"""The simulated BraTS cohort: layout, determinism, truth, and what nibabel reads from its scans."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from monai_cpic.cohorts import BraTSCohort
from monai_cpic.cohorts.brats.scans import MODALITIES
from monai_cpic.data import open_volume
from monai_cpic.phantoms import BraTSSimulation
from monai_cpic.phantoms.brats import simulate_survival

PATIENTS, SEED, RESOLUTION = 4, 3, 0.2


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a cohort of four patients with scans of 48×48×31 voxels."""
    return BraTSSimulation(PATIENTS, SEED, RESOLUTION).write(tmp_path_factory.mktemp("cohorts") / "brats", progress=False)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_layout_and_reader(simulated: Path) -> None:
    names = [f"BraTS20_Training_00{number}" for number in (1, 2, 3, 4)]
    assert sorted(path.name for path in simulated.iterdir()) == [*names, "simulation.json", "survival_info.csv", "truth.csv"]
    assert (simulated / "survival_info.csv").read_text().startswith("Brats20ID,Age,Survival_days,Extent_of_Resection\n")
    items = BraTSCohort(segmentation=True, alive="censored").read(simulated)
    assert [item["patient"] for item in items] == names
    assert [item["died"] for item in items] == [True, True, False, True]
    for item in items:
        assert len(item["image"]) == len(MODALITIES) + 1
        assert open_volume(item["image"]).shape == (5, 48, 48, 31)
    truth = pd.read_csv(simulated / "truth.csv")
    days = [item["survival_days"] for item in items]
    assert days[:2] == truth["Survival_days"].tolist()[:2] and days[2] < truth["Survival_days"][2]


def test_quirks_of_the_real_set(simulated: Path) -> None:
    first, second, third, _ = sorted(simulated.glob("BraTS20_*"))
    assert all(path.name.endswith(".nii.gz") for path in first.iterdir())
    assert (second / "W39_1998.09.19_Segm.nii").is_file() and not list(second.glob("*_seg*"))
    assert all(path.suffix == ".nii" for path in third.iterdir())
    assert "ALIVE (" in (simulated / "survival_info.csv").read_text().splitlines()[3]


def test_scans(simulated: Path) -> None:
    paths = sorted(simulated.glob("BraTS20_*/*"))
    assert len(paths) == PATIENTS * (len(MODALITIES) + 1)
    for path in paths:
        image = nibabel.Nifti1Image.from_filename(path)
        assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S") and image.header.get_zooms() == (5, 5, 5)
        values = np.asarray(image.dataobj)
        if "seg" in path.name.lower():
            assert values.dtype == np.uint8 and set(np.unique(values)) <= {0, 1, 2, 4} and values.any()
        else:
            assert values.dtype == np.int16 and values.min() == 0 and 0.1 < (values > 0).mean() < 0.25


def test_same_seed_gives_the_same_files(simulated: Path, tmp_path: Path) -> None:
    again = BraTSSimulation(PATIENTS, SEED, RESOLUTION).write(tmp_path / "again", progress=False)
    assert digests(again) == digests(simulated)
    fewer = digests(BraTSSimulation(2, SEED, RESOLUTION).write(tmp_path / "fewer", progress=False))
    assert all(digests(simulated)[name] == digest for name, digest in fewer.items() if name.startswith("BraTS20"))
    other = BraTSSimulation(1, SEED + 1, RESOLUTION).write(tmp_path / "other", progress=False)
    assert not set(digests(other).values()) & set(digests(simulated).values())


def test_survival_follows_the_truth() -> None:
    table, truth = simulate_survival(600, seed=0)
    log_days, age = np.log(truth["Survival_days"]), table["Age"]
    error = log_days - np.log(truth["expected_days"])
    assert error.std() == pytest.approx(0.35, abs=0.03) and abs(error.mean()) < 0.05
    for cause, correlation in (("radius_mm", -0.54), ("depth", -0.34), ("enhancement", -0.47)):
        assert np.corrcoef(truth[cause], log_days)[0, 1] == pytest.approx(correlation, abs=0.12)
        assert abs(np.corrcoef(truth[cause], age)[0, 1]) < 0.12  # the table does not give it away
    assert np.corrcoef(age, log_days)[0, 1] == pytest.approx(-0.4, abs=0.1)
    alive = table["Survival_days"].str.startswith("ALIVE")
    assert 0.01 < alive.mean() < 0.08
    last_seen = table["Survival_days"][alive].str.extract(r"(\d+)")[0].astype(int)
    assert (last_seen < truth["Survival_days"][alive]).all()


def test_cohort_resembles_the_real_one() -> None:
    table, truth = simulate_survival(600, seed=1)
    days = truth["Survival_days"]
    assert 380 < days.mean() < 520 and 280 < days.std() < 420 and days.min() >= 5
    assert 0.25 < (days < 300).mean() < 0.5 and 0.25 < (days > 450).mean() < 0.45
    assert table["Age"].mean() == pytest.approx(61.4, abs=2)
    assert (table["Extent_of_Resection"] == "GTR").mean() == pytest.approx(119 / 236, abs=0.06)


def test_ensure_reuses_simulates_or_refuses(simulated: Path, tmp_path: Path) -> None:
    assert BraTSSimulation(PATIENTS, SEED, RESOLUTION).ensure(simulated) == simulated
    with pytest.raises(FileExistsError, match=r"simulated with .*'seed': 3.* asked for .*'seed': 4"):
        BraTSSimulation(PATIENTS, SEED + 1, RESOLUTION).ensure(simulated)
    assert len(list(BraTSSimulation(1, 0, 0.1).ensure(tmp_path / "new").glob("BraTS20_*"))) == 1
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "survival_info.csv").write_text("real")
    assert BraTSSimulation().ensure(tmp_path / "real") == tmp_path / "real"


def test_existing_folder_is_never_overwritten(simulated: Path) -> None:
    with pytest.raises(FileExistsError, match="is not empty"):
        BraTSSimulation(PATIENTS, SEED, RESOLUTION).write(simulated)


def test_interrupted_simulation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_cpic.phantoms.brats._simulate_scan", interrupt)
    with pytest.raises(KeyboardInterrupt):
        BraTSSimulation(patients=1).write(tmp_path / "brats")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("patients", "resolution"), [(0, 1.0), (3, 0.0)])
def test_refuses_impossible_sizes(tmp_path: Path, patients: int, resolution: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        BraTSSimulation(patients, resolution=resolution).write(tmp_path / "brats")
