"""The bundles that come with the package: where they are, and running one in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import monai_cpic
from monai_cpic.extras import extra
from monai_cpic.staging import write_whole

__all__ = ["bundle_names", "copy_bundle", "run_bundle", "value"]

PARTS = ("LICENSE", "configs", "docs", "models")


def run_bundle(name: str, configs: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Run configurations of a bundle.

    Args:
        name: the bundle.
        configs: their names, such as ``["train"]``; later ones change earlier ones.  Where a launcher has started several
            processes, they train together.
        settings: override those of the configuration.

    Raises:
        ValueError: if several processes are to train all folds.
        ImportError: if a package that bundles need is not installed.
        RuntimeError: of MONAI, raised from what went wrong (:func:`~monai_cpic.errors.reason`).
    """
    import monai.bundle

    with extra("bundles"):
        import_module("yaml")  # without it MONAI would name the package, but not the extra
    root = bundle_root(name)
    names = list(configs)
    if "train" in names and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        if "all_folds" in names:
            raise ValueError("all folds are trained in one process, one after the other: start it without torchrun")
        names.append("multi_gpu_train")
    files = [str(root / "configs" / f"{part}.yaml") for part in names]
    monai.bundle.run(config_file=files, bundle_root=str(root), **settings)


def copy_bundle(name: str, target: Path) -> Path:
    """Copy a bundle to a new folder, to change it there.

    Raises:
        FileExistsError: if the folder exists and is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty: name another folder, or delete it")
    root = bundle_root(name)
    with write_whole(target) as unfinished:
        unfinished.mkdir()
        for part in filter(Path.exists, (root / part for part in PARTS)):  # not what was simulated or trained in a checkout
            (shutil.copytree if part.is_dir() else shutil.copy)(part, unfinished / part.name)
    return target


def bundle_names() -> list[str]:
    """The bundles."""
    return sorted(configs.parent.name for configs in _folder().glob("*/configs"))


def bundle_root(name: str) -> Path:
    """The folder of a bundle.

    Raises:
        ValueError: if there is none of this name.
    """
    if name not in bundle_names():
        raise ValueError(f"there is no bundle {name!r}, but {', '.join(bundle_names())}")
    return _folder() / name


def value(text: str) -> Any:
    """The value of a setting as ``python -m monai.bundle`` reads it from its command line.

    Example:
        >>> value("[64, 64, 16]"), value("True"), value("1e-3"), value("censored")
        ([64, 64, 16], True, 0.001, 'censored')
    """
    with extra("bundles"):
        from fire.parser import DefaultParseValue
    return DefaultParseValue(text)


def _folder() -> Path:
    """In the package, as it was installed; otherwise in the repository."""
    package = Path(monai_cpic.__file__).parent
    return package / "bundles" if (package / "bundles").is_dir() else package.parent / "bundles"
