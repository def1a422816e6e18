"""The volume of a tumour from its segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

__all__ = ["tumour_volume"]


def tumour_volume(path: str | Path) -> float:
    """The volume of all voxels with a label, in millilitres.

    Args:
        path: a segmentation in NIfTI format; label 0 is background.

    Raises:
        FileNotFoundError: when the file does not exist.
        nibabel.filebasedimages.ImageFileError: when it is not a NIfTI file.
    """
    image: Any = nibabel.load(path)
    return float(np.count_nonzero(np.asanyarray(image.dataobj)) * abs(np.linalg.det(image.affine[:3, :3])) / 1000)
