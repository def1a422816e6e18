"""Index sets of cross-approximation, kept per volume between training steps."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch

from monai_cpic.staging import remove_unfinished, staged
from monai_cpic.tensor_train import CrossIndices

__all__ = ["IndexStore"]


class IndexStore:
    """The index sets with which the next training step of each volume starts: the warm start of cross-approximation.

    They are separate from the network's weights, because only a checkpoint that resumes a training needs them.  In memory they
    stay on the device of the network.  If they are stored in a folder, several processes such as the workers of a DataLoader
    share them without a copy of the network; each volume is a file of some kilobytes, which is always replaced as a whole.

    Args:
        hold: number of training steps of a volume that use the same points before new ones are chosen.  With 2 or more, patches
            can be read before the network asks for them (:class:`~monai_cpic.transforms.ReadAheadd`).
        folder: where they are stored, created if it does not exist; default: in memory.

    Raises:
        ValueError: if ``hold`` is below 1; on reading, if a file is damaged.
    """

    def __init__(self, hold: int = 1, folder: str | Path | None = None) -> None:
        if hold < 1:
            raise ValueError(f"hold must be at least 1, got {hold}")
        self.hold = hold
        self.folder = None if folder is None else Path(folder)
        self._kept: dict[str, dict[str, Any]] = {}
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.folder)

    def __len__(self) -> int:
        return len(self.state_dict())

    def get(self, key: str | None, device: torch.device | str = "cpu") -> CrossIndices | None:
        """The index sets of one volume's next step on a device, a batch of one, or None.

        If the step repeats the points of an earlier one, ``rows`` of the result is not None.
        """
        kept = None if key is None else self._read(key)
        if kept is None:
            return None
        return CrossIndices.from_state_dict(kept["repeat" if kept["remaining"] else "following"]).to(
            device, torch.int64, non_blocking=True
        )

    def put(self, key: str | None, following: CrossIndices, repeat: CrossIndices) -> None:
        """Store the index sets that follow a step of one volume; nothing is stored for a volume without a key.

        Args:
            key: key of the volume.
            following: index sets with which the next step chooses new points.
            repeat: index sets with which the next step uses the same points again.
        """
        if key is None:
            return
        kept = self._read(key)
        remaining = kept["remaining"] - 1 if kept is not None and kept["remaining"] else self.hold - 1
        tables = {"following": following, "repeat": repeat}
        device = None if self.folder is None else "cpu"  # another process may have no accelerator
        packed = {name: indices.to(device, torch.int32).clone().state_dict() for name, indices in tables.items()}
        self._write(key, {"key": key, "remaining": remaining, **packed})

    def state_dict(self) -> dict[str, Any]:
        """The index sets of all volumes, as tensors, numbers and strings."""
        if self.folder is None:
            return dict(self._kept)
        every = (_load(path) for path in sorted(self.folder.glob("*.pt")))
        return {kept["key"]: kept for kept in every}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self._kept = {}
        if self.folder is not None:
            for path in self.folder.glob("*.pt"):
                path.unlink(missing_ok=True)  # another process may load the same state
        for key, kept in state.items():
            self._write(key, kept)

    def _read(self, key: str) -> dict[str, Any] | None:
        if self.folder is None:
            return self._kept.get(key)
        try:
            return _load(self._path(key))
        except FileNotFoundError:
            return None

    def _write(self, key: str, kept: dict[str, Any]) -> None:
        if self.folder is None:
            self._kept[key] = kept
            return
        with staged(self._path(key)) as path:
            torch.save(kept, path)
            path.replace(self._path(key))  # not synced, which a step would wait for: at worst a power failure costs a warm start

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pt"


def _load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it; its volume then starts from new index sets") from error
