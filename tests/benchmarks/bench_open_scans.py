"""Do memory and files grow while many scans are open?  20 000 steps over 5 000 scans, with few files that a process may open.

    for files in 64 256; do (ulimit -n $files; python tests/benchmarks/bench_open_scans.py --json open_scans_$files.json); done

Scans of 8×8×8 in a temporary folder, every other one compressed, so that it is unpacked into a cache.  All are opened once and
kept; then each step reads patches from four of them, drawn at random, and compares a voxel of each with what was written.  An
error ends the run.  Resident memory and open files are looked at ten times.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from memory import status
from tqdm import tqdm

from monai_cpic.data import LazyVolume, open_volume

EDGE, BATCH, LOOKS = 8, 4, 10


def main() -> None:
    """Write the scans, open them, read, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        volumes = [opened(Path(folder), number) for number in tqdm(range(arguments.scans), "opening")]
        seen = list(steps(volumes, arguments.steps))
    result = {"files allowed": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "scans": len(volumes), "seen": seen}
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2))


def opened(folder: Path, number: int) -> LazyVolume:
    """A new scan, whose voxels have its number."""
    path = folder / f"{number}.nii{'.gz' if number % 2 else ''}"
    nibabel.save(nibabel.Nifti1Image(np.full((EDGE,) * 3, number, np.int16), np.eye(4)), path)
    return open_volume(path, cache_dir=folder / "cache")


def steps(volumes: list[LazyVolume], count: int) -> list[dict[str, Any]]:
    """Read, and look at this process from time to time."""
    chosen, seen = random.Random(0), [look(0)]
    centres = torch.randint(EDGE, (64, 3), generator=torch.Generator().manual_seed(0))
    for step in tqdm(range(1, count + 1), "steps"):
        for number in chosen.sample(range(len(volumes)), BATCH):
            found = volumes[number].gather(centres, 3)
            assert (found == number).all(), f"scan {number} has the voxels of another"
        if step % (count // LOOKS) == 0:
            seen.append(look(step))
    return seen


def look(step: int) -> dict[str, Any]:
    """Resident memory in MiB and the number of open files."""
    return {"step": step, "MiB resident": status("VmRSS"), "open files": len(os.listdir("/proc/self/fd"))}


if __name__ == "__main__":
    main()
