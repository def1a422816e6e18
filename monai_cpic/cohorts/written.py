"""The file of predictions that grows while they are made, by several processes at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monai_cpic.staging import write_whole

__all__ = ["WrittenPredictions"]

NAME = "predictions"


class WrittenPredictions:
    """``predictions.jsonl``: a line for each scan, with its name, its result and the model.

    While processes work, each has a file of its own beside it (``predictions.<rank>.jsonl``).

    Args:
        folder: that holds them.
        model: file of the network.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
        self._collected = folder / f"{NAME}.jsonl"

    def start(self, resume: bool) -> None:
        """Put together what an earlier run has left, or remove it.

        Raises:
            ValueError: if another model has predicted it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self.collect()
            return
        for path in self._files():
            path.unlink()

    def read(self) -> dict[str, dict[str, Any]]:
        """The results so far, by name; of several with the same name, the last with a prediction.

        Raises:
            ValueError: if another model has predicted them.
        """
        found: dict[str, dict[str, Any]] = {}
        for path in self._files():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # the last line of a process that was killed
                    continue
                if entry["model"] != self.model:
                    raise ValueError(f"{path} has predictions of another model: choose another output_dir, or do not resume")
                if "pred" in entry["result"] or "pred" not in found.get(entry["name"], {}):
                    found[entry["name"]] = entry["result"]
        return found

    @contextlib.contextmanager
    def appending(self, rank: int) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
        """A function that adds the result of a name, in the file of this process.

        Args:
            rank: of this process.
        """
        with (self.folder / f"{NAME}.{rank}.jsonl").open("w", encoding="utf-8") as file:

            def append(name: str, result: Mapping[str, Any]) -> None:
                file.write(json.dumps({"name": name, "result": result, "model": self.model}) + "\n")
                file.flush()

            yield append

    def collect(self) -> dict[str, dict[str, Any]]:
        """Put the files of all processes together when they have ended, and return the results."""
        found = self.read()
        with write_whole(self._collected) as unfinished:
            lines = [json.dumps({"name": name, "result": result, "model": self.model}) for name, result in found.items()]
            unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for path in self._files():
            if path != self._collected:
                path.unlink()
        return found

    def _files(self) -> list[Path]:
        """That of earlier runs first."""
        return sorted(self.folder.glob(f"{NAME}*.jsonl"), key=lambda path: path != self._collected)
