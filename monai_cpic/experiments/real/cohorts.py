"""Cohorts of real scans with real targets, as openly licensed data sets hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_cpic.cohorts.table.lines import cohort_lines, with_target
from monai_cpic.staging import write_whole

__all__ = ["COHORTS", "RealCohort"]


@dataclass(frozen=True)
class RealCohort:
    """A folder with a table and scans.

    Args:
        name: unique among the cohorts.
        folder: its folder among the data.
        table: the table in it.
        patient: the table's column of patients.
        images: for each column of scans that the bundle reads, the scan's path in the folder, ``{}`` being the patient.
        targets: the table's columns that are predicted, numbers, each by trainings of its own.
        score: what is reported, ``r`` or ``r2``.
    """

    name: str
    folder: str
    table: str
    patient: str
    images: Mapping[str, str]
    targets: Sequence[str]
    score: str

    def write_table(self, data_dir: str | Path, target: str, path: Path, patients: int | None = None) -> None:
        """Write the table of one target for the bundle: patients, paths of scans, the target.

        Args:
            data_dir: the folder of the data.
            target: one of the targets; patients without it are left out.
            path: the file, a CSV table.
            patients: the first so many; None: all.

        Raises:
            FileNotFoundError: if the cohort is not there.
            FileExistsError: if the file is there with another content, so that results beside it would be of other patients.
        """
        folder = Path(data_dir).absolute() / self.folder
        if not (folder / self.table).is_file():
            raise FileNotFoundError(f"{folder / self.table} does not exist: name the folder of {self.folder}, or other cohorts")
        lines = cohort_lines(folder / self.table, self.patient, [target], exclude=())
        lines = with_target(folder / self.table, lines, [target]).iloc[:patients]
        for column, scan in self.images.items():
            lines.insert(len(lines.columns) - 1, column, [str(folder / scan.format(patient)) for patient in lines[self.patient]])
        text = lines.to_csv(index=False)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise FileExistsError(f"{path} is of other patients or of another data folder: choose another --output-dir")
        with write_whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


COHORTS = (
    RealCohort(
        name="hippocampus",
        folder="cohort_hippocampus_msd",
        table="targets.csv",
        patient="id",
        images={"mri": "images/{}.nii.gz"},
        targets=["volume_mm3"],
        score="r2",
    ),
    RealCohort(
        name="stroke",
        folder="cohort_stroke_soop",
        table="participants.csv",
        patient="participant_id",
        images={"lesion": "images/{}_lesion.nii.gz"},
        targets=["nihss"],
        score="r",
    ),
    RealCohort(
        name="head and neck",
        folder="cohort_headneck_openkbp",
        table="targets.csv",
        patient="id",
        images={"ct": "images/{}_ct.nii.gz", "ptv": "images/{}_ptv.nii.gz"},
        targets=[f"mean_{organ}" for organ in ("SpinalCord", "Larynx", "LeftParotid", "RightParotid", "Mandible")],
        score="r2",
    ),
)
