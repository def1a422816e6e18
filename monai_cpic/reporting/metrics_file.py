"""The metrics of a run as a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from monai_cpic.staging import write_whole

__all__ = ["model_key", "write_metrics"]


def model_key(name: str) -> str:
    """The key of a model's scores in metrics.json, derived from the model's name.

    Example:
        >>> model_key("ResNet-34"), model_key("covariates only")
        ('resnet_34', 'covariates_only')
    """
    return name.lower().replace(",", "").replace(" ", "_").replace("-", "_")


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON, in their order.  The file is written completely or not at all; missing folders are created.

    JSON has no NaN and no infinity; such values are written as ``null``, so that the other metrics can still be written.  Scalars
    and arrays of numpy and torch become numbers and lists; keys become strings.

    Args:
        path: path of the file.
        metrics: numbers, strings, booleans, None, tensors, arrays, and lists and mappings of these.

    Raises:
        TypeError: for any other value; the message names the metric.
    """
    text = json.dumps(_plain(metrics, ""), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with write_whole(Path(path)) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _plain(value: Any, name: str) -> Any:
    """A metric as a value that JSON can represent."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Tensor | np.ndarray):
        return _plain(value.tolist(), name)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{name}[{position}]") for position, inner in enumerate(value)]
    raise TypeError(
        f"the metric {name!r} is of type {type(value).__name__} ({value!r}), which JSON does not know: "
        "pass numbers, texts, tensors, or lists and mappings of these."
    )
