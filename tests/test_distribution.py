"""The source distribution and the wheel that is built from it, outside the repository."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_SOURCE = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "runs")


def run(*words: str, cwd: Path, **environment: str) -> str:
    """What a program says; one that fails, fails the test with what it said."""
    finished = subprocess.run(words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the source distribution."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copytree(REPOSITORY, folder / "repository", ignore=NOT_SOURCE)
    build = "from setuptools import build_meta; build_meta.build_sdist('..')"
    run(sys.executable, "-c", build, cwd=folder / "repository")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir())


@pytest.fixture(scope="module")
def wheel(sources: Path) -> Path:
    """Built without a network."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "..", ".")
    run(*pip, cwd=sources)
    return next(sources.parent.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_sources_have_tests_and_documents(sources: Path) -> None:
    for name in ("tests/conftest.py", "docs/architecture.md", "docs/images/samples.png", "bundles/generate.py", "CITATION.cff"):
        assert (sources / name).is_file(), name
    assert (sources / "bundles" / "templates" / "train.yaml.j2").is_file()


def test_the_wheel_has_all_that_the_package_reads(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    read = [path for path in (REPOSITORY / "monai_cpic").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.relative_to(REPOSITORY).as_posix() for path in read} <= names
    for configs in (REPOSITORY / "bundles").glob("*/configs"):
        bundle = f"monai_cpic/bundles/{configs.parent.name}"
        assert {f"{bundle}/configs/{path.name}" for path in configs.iterdir()} <= names
        assert {f"{bundle}/LICENSE", f"{bundle}/docs/README.md", f"{bundle}/docs/data_license.txt"} <= names
    assert not any(name.split("/")[0] in ("tests", "bundles") for name in names)


def test_links_and_pictures_lead_out_of_the_wheel(metadata: Message) -> None:
    text = str(metadata.get_payload())
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all(link.startswith("https://") for link in links)
    for link in links:
        path = re.sub(r".*/(blob|raw)/main/", "", link)
        assert path == link or (REPOSITORY / path).exists(), link


def test_the_command_works_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = ("--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    run(sys.executable, "-m", "pip", "install", *install, cwd=tmp_path)
    command = str(site / "bin" / "monai-cpic")
    said = run(command, "copy-bundle", "osic_fvc", "mine", cwd=tmp_path, PYTHONPATH=str(site))
    assert str(tmp_path / "mine") in said
    own = (site / "monai_cpic" / "bundles" / "osic_fvc" / "configs" / "train.yaml").read_text()
    assert (tmp_path / "mine" / "configs" / "train.yaml").read_text() == own
