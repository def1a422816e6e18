"""A trained network as one file: weights, and all that a prediction depends on."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pydoc import locate
from typing import Any, TypeVar
from zipfile import BadZipFile

import torch
from monai.bundle import ConfigParser
from monai.transforms import Transform
from torch import Tensor, nn

from monai_cpic.model_files.record import ALL_FOLDS, TrainingRecord
from monai_cpic.staging import write_whole

__all__ = ["FORMAT", "ModelFile", "load_plain", "read_model", "write_model"]

FORMAT = 1

PARTS = tuple(f"monai_cpic.{folder}." for folder in ("tensor_train", "losses", "networks", "transforms"))

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class ModelFile:
    """The content of a model file.

    Args:
        path: where it was read.
        record: the training.
        weights: the state dict of the network.
        fitted: what was found after the training and goes with every prediction, by name: tensors and plain values.

    Example:
        >>> model = read_model("runs/model.pt")  # doctest: +SKIP
        >>> model["spatial_shape"]  # doctest: +SKIP
        [256, 256, 32]
        >>> network = model.load(model["network_def"]).eval()  # doctest: +SKIP
    """

    path: Path
    record: TrainingRecord
    weights: dict[str, Any]
    fitted: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """A setting, or a part such as the network, built as it was for the training; without the weights, see :meth:`load`.

        Raises:
            KeyError: if the file has none of this name.
            ValueError: if the part is none that a model file may build.
        """
        if name not in self.record.settings:
            raise KeyError(f"{self.path} has no setting {name!r}, but {', '.join(sorted(self.record.settings))}")
        return self._parser.get_parsed_content(name)

    @property
    def validation_fold(self) -> int | str:
        """The fold whose patients the network was not trained on.

        Raises:
            ValueError: if there is none, because the network is the mean of those of all folds.
        """
        if self.record.fold == ALL_FOLDS:
            raise ValueError(
                f"{self.path} is the mean of the networks of all folds, and each patient was trained on by most of them. The "
                "metrics.json beside it is of predictions by the networks that were not trained on the patient; evaluate the "
                "network of one fold by fold<k>/model.pt, and predict other patients by inference.yaml"
            )
        return self.record.fold

    def load(self, network: Network) -> Network:
        """Load the weights into a network, and return it.

        Raises:
            ValueError: if they are not those of this network.
        """
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise ValueError(
                f"the weights of {self.path} do not fit {type(network).__name__}: they were written by monai_cpic "
                f"{self.record.versions['monai-cpic']}; predict with that version, or train anew"
            ) from error
        return network

    def check_same_training(self, other: ModelFile) -> None:
        """Check that another file was written by the same training.

        Raises:
            ValueError: if not; the message names the differences.
        """
        found = self.record.differences(other.record)
        if found:
            lines = "\n  ".join(found)
            raise ValueError(f"{self.path} (now) and {other.path} (saved) are of two trainings; train anew:\n  {lines}")

    @cached_property
    def _parser(self) -> ConfigParser:
        _check_harmless(self.record.settings, self.path)
        return ConfigParser(copy.deepcopy(self.record.settings))


def write_model(path: str | Path, network: nn.Module, record: TrainingRecord, fitted: Mapping[str, Any] | None = None) -> None:
    """Write a trained network, completely or not at all.

    Args:
        path: the file.
        network: the network.
        record: its training.
        fitted: what was found after the training, by name: tensors and plain values; by default nothing.
    """
    content = {"format": FORMAT, "network": network.state_dict(), "fitted": dict(fitted or {}), **record.state_dict()}
    with write_whole(Path(path)) as unfinished:
        torch.save(content, unfinished)


def read_model(path: str | Path, device: str | torch.device = "cpu") -> ModelFile:
    """Read a file of :func:`write_model`.

    Args:
        path: the file.
        device: the device of the weights.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it cannot be read, was written by another version, or its weights are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: train first, or name the file of a trained network")
    content = load_plain(path, device)
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError(
            f"{path} holds weights, but not the settings that they need, as monai_cpic 0.1 wrote it: "
            "predict with that version and the settings of the training, or train anew"
        )
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path} is of format {content['format']}, but this version reads format {FORMAT}: "
            f"use monai_cpic {content.get('versions', {}).get('monai-cpic', 'of its training')}"
        )
    weights = content["network"]
    broken = [name for name, value in weights.items() if isinstance(value, Tensor) and not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path}: weights are not finite ({', '.join(broken[:3])}): the training diverged; train anew")
    return ModelFile(path, TrainingRecord.from_state_dict(content), weights, content["fitted"])


def load_plain(path: Path, device: str | torch.device = "cpu") -> Any:
    """Load a file of tensors and plain values.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, KeyError, BadZipFile, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} cannot be read, it is damaged or of another kind ({type(error).__name__}: {error})") from error


def _check_harmless(config: Any, path: Path) -> None:
    """A file may build parts of networks, losses and transforms, and run nothing else."""
    if isinstance(config, dict):
        if "_target_" in config:
            target = locate(str(config["_target_"]))
            ours = getattr(target, "__module__", "").startswith(PARTS)
            if not ours and not (isinstance(target, type) and issubclass(target, nn.Module | Transform)):
                raise ValueError(
                    f"{path} names {config['_target_']}, which is not installed here, or is neither a torch module, a transform, "
                    "nor a part of monai_cpic"
                )
        for value in config.values():
            _check_harmless(value, path)
    elif isinstance(config, list):
        for value in config:
            _check_harmless(value, path)
    elif isinstance(config, str) and config.startswith(("$", "%")):
        raise ValueError(f"{path} contains the expression {config!r}: a model file holds plain values only")
