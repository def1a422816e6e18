"""What MONAI's model zoo checks of a bundle, as far as it needs no weights (docs/model_zoo.md)."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser as SetupConfig
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, verify_metadata

import monai_cpic

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent for path in (REPOSITORY / "bundles").glob("*/configs"))
SECTIONS = {  # of the zoo's template
    "Authors",
    "Tags",
    "Model Description",
    "Data",
    "Preprocessing",
    "Performance",
    "System Configuration",
    "Limitations",
    "Citation Info",
    "References",
}

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def metadata(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "configs" / "metadata.json").read_text())
    return found


def test_files(bundle: Path) -> None:
    assert (bundle / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    for name in ("docs/README.md", "docs/data_license.txt", "configs/logging.conf", "configs/inference.yaml"):
        assert (bundle / name).stat().st_size > 0, name


def test_metadata(bundle: Path) -> None:
    found = metadata(bundle)
    assert found["version"] == monai_cpic.__version__ and found["version"] in found["changelog"]
    assert found["name"] and found["intended_use"]
    verify_metadata(str(bundle / "configs" / "metadata.json"), str(REPOSITORY / "tests" / "bundles" / "metadata_schema.json"))


def test_the_required_packages_install_everything(bundle: Path) -> None:
    """All packages of the project's own requirements, in the versions that it is tested with."""
    setup = SetupConfig()
    setup.read(REPOSITORY / "setup.cfg")
    lines = setup["options"]["install_requires"].split() + setup["options.extras_require"]["bundles"].split()
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
    expected = {"monai-cpic": monai_cpic.__version__, **{name: pinned[name] for name in (re.split("[<>=]", x)[0] for x in lines)}}
    found = metadata(bundle)
    named = {"monai": found["monai_version"], "torch": found["pytorch_version"], "numpy": found["numpy_version"]}
    assert {**found["required_packages_version"], **named} == expected


def test_readme_has_the_sections_of_the_template(bundle: Path) -> None:
    headings = re.findall(r"^#{2,4} (.+)$", (bundle / "docs" / "README.md").read_text(), re.MULTILINE)
    assert set(headings) >= SECTIONS, SECTIONS - set(headings)


def test_ids_of_the_configurations(bundle: Path) -> None:
    inference, train = (ConfigParser.load_config_file(bundle / "configs" / f"{name}.yaml") for name in ("inference", "train"))
    assert inference.keys() >= {"bundle_root", "device", "network_def", "inferer", "output_dir"}
    assert train.keys() >= {"bundle_root", "device", "dataset_dir", "output_dir", "val_interval"}
    assert train["train"].keys() >= {"trainer", "dataset", "handlers", "inferer", "postprocessing", "key_metric", "preprocessing"}
    assert train["train"]["trainer"]["max_epochs"] and train["train"]["dataset"]["data"]
    assert train["validate"].keys() >= {"evaluator", "dataset", "handlers", "inferer", "postprocessing", "key_metric"}
    validation = next(one for one in train["train"]["handlers"] if one["_target_"] == "monai.handlers.ValidationHandler")
    assert validation["interval"] == "@val_interval"


def test_errors_end_with_their_reason(bundle: Path) -> None:
    for name in ("train", "evaluate", "inference", "multi_gpu_train"):
        steps = ConfigParser.load_config_file(bundle / "configs" / f"{name}.yaml")["initialize"]
        assert steps[0] == "$errors.end_with_reason()", name
