"""The Python code of the pages runs as it stands there, and every package has a page of its names."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from monai_cpic.cli import main
from monai_cpic.data import readers

DOCS = REPOSITORY / "docs"
BLOCK = re.compile(r"(<!-- not run: .* -->\n)?```python\n(.*?)```", re.DOTALL)
HIPPOCAMPI = DOCS / "own_cohort.md"  # needs files that a test writes
OTHERS = [page for page in sorted(DOCS.rglob("*.md")) if page != HIPPOCAMPI and "```python" in page.read_text(encoding="utf-8")]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages write files, and register readers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONAI_CPIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(readers, "READERS", [*readers.READERS])


def blocks(page: Path) -> Iterator[tuple[bool, str]]:
    """Whether each block of a page is run, and its code."""
    for mark, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield not mark, code


def run(page: Path) -> dict[str, Any]:
    """The names that the blocks of a page define, one after the other."""
    names: dict[str, Any] = {"__name__": page.stem}
    for is_run, code in blocks(page):
        compiled = compile(code, str(page), "exec")
        if is_run:
            exec(compiled, names)
    return names


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(page)


def test_the_approximation_of_the_quick_start(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(DOCS / "quick_start" / "method_developer.md")
    assert names["error"] < 1e-4 and names["asked"] < 256**3 / 1000
    assert names["frequency"].grad.isfinite()


def test_the_parts_of_ones_own_pass_their_tests() -> None:
    names = run(DOCS / "how_to" / "own_encoder.md")
    tests = names["TestResidualEncoder"]()
    for name in dir(tests):
        if name.startswith("test_"):
            getattr(tests, name)()


def test_the_table_of_hippocampi() -> None:
    """Twelve scans, of which ten are left out; the voxels are 2 × 1 × 1 mm."""
    for folder in ("imagesTr", "labelsTr"):
        Path("Task04_Hippocampus", folder).mkdir(parents=True)
        for number in range(12):
            mask = np.zeros((4, 5, 6), np.uint8)
            mask.flat[: 10 + number] = 1 + number % 2
            path = Path("Task04_Hippocampus", folder, f"hippocampus_{number:03}.nii.gz")
            nibabel.save(nibabel.Nifti1Image(mask, np.diag([-2, 1, 1, 1])), path)
    run(HIPPOCAMPI)
    table = pd.read_csv("Task04_Hippocampus/table.csv")
    assert table["volume"].tolist() == [20, 22]
    assert all((Path("Task04_Hippocampus") / scan).exists() for scan in table["mri"])


def test_the_predictor_for_deployment_predicts_what_the_command_predicts() -> None:
    write_cohort = runpy.run_path(str(DOCS / "tutorials" / "own_cohort.py"))["write_cohort"]
    table, new = write_cohort(Path("cohort"), 12, seed=0), write_cohort(Path("new"), 1, seed=1)
    small = [word for setting in ("cells=64", "rank=2", "n_dims=4") for word in ("--set", setting)]
    main(["train", str(table), "--image", "mri", "--target", "volume", "--epochs", "1", *small], standalone_mode=False)
    main(["predict", "runs/model.pt", str(new)], standalone_mode=False)
    expected = pd.read_csv("runs/inference/predictions.csv").iloc[0]
    found = run(DOCS / "how_to" / "monai_deploy.md")["Predictor"](Path("runs/model.pt"))(Path("new/scans/p00.nii.gz"))
    assert found.pop("warnings") == []
    assert set(found) == {"volume", "q20", "q80"}
    assert found == pytest.approx({name: expected[name] for name in found})


def test_every_package_has_a_page_of_its_names() -> None:
    packages = {path.parent.name for path in (REPOSITORY / "monai_cpic").glob("*/__init__.py")} - {"cli"}
    public = {name for name in packages if hasattr(import_module(f"monai_cpic.{name}"), "__all__")}
    assert public == {page.stem for page in (DOCS / "api").glob("*.md")} - {"command"}
    for name in public:
        assert f"::: monai_cpic.{name}\n" in (DOCS / "api" / f"{name}.md").read_text(encoding="utf-8")
