"""The folder of a run's files: one training at a time, and nothing unfinished in it."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from monai_cpic.staging import remove_unfinished

__all__ = ["OutputFolder"]


class OutputFolder:
    """The folder that a training writes to, which no other training may use before this one ends.

    The lock is the operating system's, so that it ends with the process, however that ends.

    Args:
        folder: the folder; it is created if it does not exist.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock = FileLock(self.folder / ".training.lock")

    def lock(self) -> None:
        """Take the folder for this process, and remove what a killed training left unfinished.

        Raises:
            RuntimeError: if another training is using it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise RuntimeError(
                f"another training is writing to {self.folder}: wait until it ends, or choose another output_dir"
            ) from error
        remove_unfinished(self.folder)

    def release(self) -> None:
        """Let other trainings use the folder."""
        self._lock.release()
