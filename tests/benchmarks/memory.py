"""What a benchmark takes of the memory."""

from __future__ import annotations

import threading
from pathlib import Path

__all__ = ["Peaks", "status"]


class Peaks:
    """Largest memory of this process within a block; getrusage would give a child its parent's.

    Resident memory counts mapped pages of the system's cache, which cost nobody anything; private memory does not.  The kernel
    keeps a maximum of the first only, the second is sampled.
    """

    def __enter__(self) -> Peaks:
        Path("/proc/self/clear_refs").write_text("5")
        self.start = {field: status(field) for field in ("VmHWM", "RssAnon")}
        self.private, self.done = 0.0, threading.Event()
        self.sampler = threading.Thread(target=self._sample)
        self.sampler.start()
        return self

    def _sample(self) -> None:
        while not self.done.wait(0.002):
            self.private = max(self.private, status("RssAnon"))

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.sampler.join()

    def above_start(self) -> dict[str, float]:
        """MiB."""
        resident = status("VmHWM") - self.start["VmHWM"]
        return {"MiB private": self.private - self.start["RssAnon"], "MiB resident": resident}


def status(field: str) -> float:
    """A field of this process's status, MiB."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
