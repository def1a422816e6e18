"""The reader of the BraTS layout on small hand-written cohorts: values and errors."""

from __future__ import annotations

import logging
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import NormalizeIntensity

from monai_cpic.cohorts import BraTSCohort
from monai_cpic.cohorts.brats.scans import MODALITIES, find_scan
from monai_cpic.data import open_volume
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed, NormalizeIntensityLazyd

HEADER = "Brats20ID,Age,Survival_days,Extent_of_Resection"
A, B, C = (f"BraTS20_Training_00{number}" for number in (1, 2, 3))
LINES = [f"{C},85.4,5,STR", f"{A},60.463,289,GTR", f"{B},49,ALIVE (361 days later),NA"]  # in no order
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(path: Path, value: float, shape: tuple[int, ...] = (4, 5, 6), affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.full(shape, value, np.int16), affine), path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a cohort of the given lines, with scans for each of the given patients: modality k has the value k + 1."""

    def _write(lines: list[str] = LINES, header: str = HEADER, scans: tuple[str, ...] = (A, B, C)) -> Path:
        (tmp_path / "survival_info.csv").write_text("\n".join([header, *lines]) + "\n")
        for patient in scans:
            for number, name in enumerate((*MODALITIES, "seg")):
                save(tmp_path / patient / f"{patient}_{name}.nii{'.gz' if patient == C else ''}", number + 1)
        return tmp_path

    return _write


def test_items(write: Write) -> None:
    folder = write()
    first, second = BraTSCohort().read(folder)
    assert [first["patient"], second["patient"]] == [A, C]
    assert first["image"] == [str(folder / A / f"{A}_{name}.nii") for name in MODALITIES]
    assert second["image"][0] == str(folder / C / f"{C}_flair.nii.gz")
    assert (first["age"], first["survival_days"], first["died"], first["resection"]) == (60.463, 289.0, True, "GTR")
    assert first["covariates"].shape == (1, len(BraTSCohort.covariates)) and first["covariates"].dtype == torch.float32
    torch.testing.assert_close(second["covariates"], torch.tensor([[24.4 / 12, 0, 1]]))
    torch.testing.assert_close(first["label"], torch.tensor([[289 / 1825, 1]]))
    pickle.dumps(first)


def test_modalities_and_segmentation_are_channels_of_one_volume(write: Write) -> None:
    folder = write()
    for modalities, segmentation, values in [
        (("t2", "t1"), False, [4, 2]),
        (("flair",), True, [1, 5]),
        (MODALITIES, True, [1, 2, 3, 4, 5]),
    ]:
        for item in BraTSCohort(modalities=modalities, segmentation=segmentation).read(folder):
            volume = open_volume(item["image"])
            assert volume.shape == (len(values), 4, 5, 6)
            assert volume.gather(torch.tensor([[2, 2, 2]]), 1).flatten().tolist() == values


def test_living_patients_are_left_out_censored_or_given_a_survival(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    folder = write()
    assert [item["patient"] for item in BraTSCohort().read(folder)] == [A, C]
    assert f"1 of 3 patients are alive, left out: {B}" in caplog.text
    censored = BraTSCohort(alive="censored").read(folder)[1]
    assert (censored["survival_days"], censored["died"], censored["resection"]) == (361.0, False, "NA")
    torch.testing.assert_close(censored["label"], torch.tensor([[361 / 1825, 0]]))
    assert f"1 of 3 patients are alive, kept as censored: {B}" in caplog.text
    stated = BraTSCohort(alive=1825).read(folder)[1]
    assert (stated["survival_days"], stated["died"]) == (1825.0, True)
    assert f"1 of 3 patients are alive, taken to have died after 1825 days: {B}" in caplog.text


@pytest.mark.parametrize("alive", ["keep", 0, -5, math.nan, math.inf, True])
def test_unknown_fate_of_living_patients(write: Write, alive: str | float) -> None:
    with pytest.raises(ValueError, match="alive must be 'exclude', 'censored' or a positive number of days"):
        BraTSCohort(alive=alive).read(write())


def test_a_stated_survival_is_not_less_than_what_was_lived(write: Write) -> None:
    with pytest.raises(ValueError, match=r"line 4, patient BraTS20_Training_002: .*more than alive=360 days"):
        BraTSCohort(alive=360).read(write())


def test_all_patients_alive(write: Write) -> None:
    with pytest.raises(ValueError, match="all 1 patients are alive"):
        BraTSCohort().read(write(LINES[2:]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{B},old,100,GTR", "line 4, patient BraTS20_Training_002: Age is 'old', expected a positive number"),
        (f"{B},,100,GTR", "Age is ''"),
        (f"{B},nan,100,GTR", "Age is 'nan'"),
        (f"{B},-3,100,GTR", "Age is '-3'"),
        (f"{B},60,-100,GTR", "Survival_days is '-100', expected a positive number of days or 'ALIVE"),
        (f"{B},60,0,GTR", "Survival_days is '0'"),
        (f"{B},60,,GTR", "Survival_days is ''"),
        (f"{B},60,inf,GTR", "Survival_days is 'inf'"),
        (f"{B},60,12 months,GTR", "Survival_days is '12 months'"),
        (f"{B},60,ALIVE,GTR", "Survival_days is 'ALIVE'"),
        (f"{B},1e30,100,GTR", "Age is '1e30', expected a positive number up to 150"),
        (f"{B},60,1e300,GTR", "Survival_days is '1e300', expected a positive number of days"),
        (f"{B},60,ALIVE ({'9' * 400} days later),GTR", "Survival_days is 'ALIVE"),
        (f"elsewhere/{B},60,100,GTR", "Brats20ID is 'elsewhere/.*', expected a name without slashes"),
        (f"{B},60,100,", "Extent_of_Resection is '', expected one of GTR, STR, NA"),
        (f"{B},60,100,all", "Extent_of_Resection is 'all'"),
        (
            f"{A},60,100,GTR",
            "line 4, patient BraTS20_Training_001: Brats20ID is 'BraTS20_Training_001', which an earlier line has",
        ),
        (",60,100,GTR", r"line 4, patient \(none\): Brats20ID is ''"),
        (f"{B},60,100", "line 4, patient BraTS20_Training_002: the number of fields differs"),
    ],
)
def test_broken_lines_are_named(write: Write, line: str, message: str) -> None:
    folder = write([*LINES[:2], line])
    with pytest.raises(ValueError, match=message) as error:
        BraTSCohort().read(folder)
    assert str(folder / "survival_info.csv") in str(error.value)


@pytest.mark.parametrize("column", ["Brats20ID", "Age", "Extent_of_Resection"])
def test_missing_column(write: Write, column: str) -> None:
    folder = write(header=HEADER.replace(column, "x"))
    with pytest.raises(ValueError, match=f"no column {column}; the header must name"):
        BraTSCohort().read(folder)


def test_table_without_survival(write: Write) -> None:
    folder = write([f"{A},60,GTR", f"{B},61,NA"], header="BraTS20ID,Age,ResectionStatus")
    with pytest.raises(ValueError, match="Survival_days is ''"):
        BraTSCohort().read(folder)
    first, second = BraTSCohort(survival_known=False).read(folder)
    assert (
        math.isnan(first["survival_days"]) and not first["died"] and first["resection"] == "GTR" and second["resection"] == "NA"
    )


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"survival_info\.csv does not exist"):
        BraTSCohort().read(tmp_path)


def test_wrong_name_in_the_table(write: Write) -> None:
    folder = write([*LINES, "BraTS20_Training_999,60,100,GTR"])
    with pytest.raises(
        ValueError, match=r"1 patients lack scans(.|\n)*exclude(.|\n)*BraTS20_Training_999 of .*csv has no folder"
    ):
        BraTSCohort().read(folder)
    assert len(BraTSCohort(exclude=["BraTS20_Training_999"]).read(folder)) == 2


def test_missing_modalities_are_named(write: Write) -> None:
    folder = write()
    (folder / A / f"{A}_t1ce.nii").unlink()
    (folder / A / f"{A}_t2.nii").unlink()
    for name in MODALITIES:
        (folder / C / f"{C}_{name}.nii.gz").unlink()
    with pytest.raises(
        ValueError, match=rf"2 patients(.|\n)*{A}: .*holds no t1ce, t2 (.|\n)*{C}: .* none of the scans flair, t1, t1ce, t2"
    ):
        BraTSCohort().read(folder)
    assert len(BraTSCohort(modalities=["flair", "t1"], exclude=[C]).read(folder)) == 1


def test_modality_of_another_shape(write: Write) -> None:
    folder = write()
    save(folder / A / f"{A}_t1.nii", 1, shape=(4, 5, 7))
    with pytest.raises(
        ValueError, match=rf"patient {A}: .*_flair.nii and .*_t1.nii cannot be channels.*\(4, 5, 6\) and \(4, 5, 7\)"
    ):
        BraTSCohort().read(folder)


def test_modality_of_another_affine(write: Write) -> None:
    folder = write()
    save(folder / C / f"{C}_t2.nii.gz", 1, affine=np.diag([-1.0, -1.0, 1.2, 1.0]))
    with pytest.raises(ValueError, match=rf"patient {C}: .*affines place the same voxel up to"):
        BraTSCohort().read(folder)


def test_unreadable_modality(write: Write) -> None:
    folder = write()
    (folder / A / f"{A}_t1.nii").write_bytes(b"no image")
    with pytest.raises(ValueError, match=rf"patient {A}: .*_t1.nii is not a readable NIfTI file"):
        BraTSCohort().read(folder)


def test_misnamed_segmentation(write: Write) -> None:
    folder = write()
    wrong = folder / A / "W39_1998.09.19_Segm.nii"
    (folder / A / f"{A}_seg.nii").rename(wrong)
    assert find_scan(folder / A, "seg") == wrong
    assert BraTSCohort(segmentation=True).read(folder)[0]["image"][-1] == str(wrong)
    wrong.unlink()
    with pytest.raises(ValueError, match=rf"patient {A}: .* holds no seg"):
        BraTSCohort(segmentation=True).read(folder)
    assert len(BraTSCohort().read(folder)) == 2


def test_scans_without_a_line_are_counted(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        BraTSCohort().read(write(LINES[:2]))
    assert "1 folders have no line in survival_info.csv" in caplog.text


@pytest.mark.parametrize("modalities", [[], ["t3"], ["t1", "t1"], "t1"])
def test_unknown_modalities(write: Write, modalities: list[str]) -> None:
    with pytest.raises(ValueError, match="modalities must be a list of some of flair, t1, t1ce, t2, each once"):
        BraTSCohort(modalities=modalities).read(write())


def test_exclusions(write: Write) -> None:
    assert [item["patient"] for item in BraTSCohort(exclude=[C]).read(write())] == [A]
    with pytest.raises(ValueError, match="unknown patients: nobody"):
        BraTSCohort(exclude=["nobody"]).read(write())


def test_normalization_is_that_of_the_brain_of_each_modality(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    brain = np.zeros((12, 13, 14), bool)
    brain[2:9, 3:10, 4:12] = True
    arrays = [np.where(brain, rng.integers(1, 1000 * scale, brain.shape), 0).astype(np.int16) for scale in (1, 3)]
    paths = [tmp_path / "a.nii", tmp_path / "b.nii"]
    for path, array in zip(paths, arrays, strict=True):
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    item = FreezeLazyVolumed("image")(LoadLazyVolumed("image")({"image": [str(path) for path in paths]}))
    volume = NormalizeIntensityLazyd("image", nonzero=True, channel_wise=True)(item)["image"]
    cube = volume.gather(torch.tensor([[6, 6, 7]]), brain.shape)[0]
    expected = NormalizeIntensity(nonzero=True, channel_wise=True)(np.stack(arrays).astype(np.float32))
    np.testing.assert_allclose(cube, expected, atol=1e-4)


def test_predictions_table(write: Write) -> None:
    cohort = BraTSCohort(alive="censored").read(write())
    table = BraTSCohort().table(cohort, [torch.tensor([[days]]) for days in (100.0, 200.0, 300.0)])
    assert table["Brats20ID"].tolist() == [A, B, C] and table["Survival_days"].tolist() == [100, 200, 300]
    assert table["Survival_days_true"].tolist() == [289, 361, 5] and table["died"].tolist() == [True, False, True]
    with pytest.raises(ValueError, match="1 patients, but a cohort of 3"):
        BraTSCohort().table(cohort, [torch.ones(1, 1)])
