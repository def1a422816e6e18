"""The house's rules: which folder may know which (docs/architecture.md)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "monai_cpic"
LAYERS = [  # each may import itself and those above it
    "staging",
    "extras",
    "errors",
    "devices",
    "tensor_train",
    "data",
    "distributed",
    "losses",
    "metrics",
    "networks",
    "transforms",
    "novelty",
    "model_files",
    "handlers",
    "testing",
    "reporting",
    "cohorts",
    "phantoms",
    "experiments",
    "cli",
]
# third-party packages of the layers that have few
OUTSIDE = {"tensor_train": {"torch"}, "devices": {"torch"}, "staging": set(), "extras": set(), "errors": set()}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, relative imports being forbidden."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path}: relative import"
            yield node.module


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_folder_has_its_place() -> None:
    assert {layer(path) for path in FILES} - {"__init__"} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_layers_only_look_down(path: Path) -> None:
    own = layer(path)
    known = LAYERS[: LAYERS.index(own) + 1] if own in LAYERS else []
    for module in imported(path):
        package, *rest = module.split(".")
        if package == "monai_cpic" and rest:
            assert rest[0] in known, f"{path.relative_to(PACKAGE)} imports {module}, which lies above {own}"


@pytest.mark.parametrize("own", OUTSIDE)
def test_the_lowest_layers_know_little_of_the_world(own: str) -> None:
    files = [path for path in FILES if layer(path) == own]
    assert files
    for path in files:
        outside = {module.split(".")[0] for module in imported(path)} - set(sys.stdlib_module_names) - {"monai_cpic"}
        assert outside <= OUTSIDE[own], f"{path} imports {outside}"
