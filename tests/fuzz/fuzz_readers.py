"""Damaged scans of each format: each is refused with its name, or read as another program reads it.

    python tests/fuzz/fuzz_readers.py --mutants 10000 --formats nii npy
    python tests/fuzz/fuzz_readers.py --formats zarr --first 123 --mutants 1 --keep /tmp/mutant

A mutant depends on the seed, its format and its number alone.  Scans are opened in a process of their own, whose memory is
bounded and which is started again when it crashes or hangs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutated
from scan_formats import FORMATS

__all__ = ["FAILURES", "Outcome", "fuzz"]

FAILURES = ("wrong", "unnamed", "crash", "hang")
ORIGINALS = 20  # intact scans of each format
MEMORY = 2**31  # bytes that a process may take on top of what it has when it begins
BATCH = 1000  # mutants for a process: libraries leak memory when they fail
SILENCE = 600.0  # seconds without an answer, also of a process that others keep waiting, after which it is ended
MOST = 10**6  # voxels: of a larger volume, a few are read and none compared


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant.

    ``refused`` and ``equal`` are as it should be.  Of an ``unjudged`` one, only the reader makes anything.  ``wrong`` voxels
    differ from those of another program, an ``unnamed`` error does not tell which scan it is about.
    """

    format: str
    number: int
    kind: str
    detail: str = ""
    seconds: float = 0.0  # of the processor


def fuzz(formats: Sequence[str], mutants: int, *, first: int = 0, seed: int = 0, hang: float = 10.0) -> Iterator[Outcome]:
    """Open mutants of each format in other processes.

    Args:
        formats: keys of :data:`~scan_formats.FORMATS`.
        mutants: of each.
        first: number of the first one.
        seed: of the damage.
        hang: seconds of the processor that a mutant may take.
    """
    todo = [(name, number) for name in formats for number in range(first, first + mutants)]
    while todo:
        command = [sys.executable, __file__, "--worker", str(seed)]
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # else each thread reserves memory that counts
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        batch = todo[:BATCH]
        with subprocess.Popen(command, bufsize=0, env=environment, **pipes) as worker:  # select sees nothing that is in a buffer
            try:
                for outcome in _answers(worker, batch):
                    yield Outcome(**{**outcome, "kind": "hang"}) if outcome["seconds"] > hang else Outcome(**outcome)
                    batch.remove(todo.pop(0))
                if batch:
                    worker.wait(timeout=30)
                    yield Outcome(*todo.pop(0), "crash", f"the process ended with {worker.returncode}")
            except subprocess.TimeoutExpired:
                yield Outcome(*todo.pop(0), "hang", f"no answer in {SILENCE:g} seconds")
            finally:
                worker.kill()


def _answers(worker: subprocess.Popen[bytes], todo: Sequence[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    """Answers of a process until all are given, it ends or it is silent."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(json.dumps(todo).encode() + b"\n")
    worker.stdin.close()
    for _ in range(len(todo)):
        answered, _, _ = select.select([worker.stdout], [], [], SILENCE)
        line = worker.stdout.readline() if answered else b""
        if not line:
            break
        yield json.loads(line)


def work(seed: int) -> None:
    """Open the mutants that are asked for, and write an outcome for each."""
    import resource

    os.environ["MONAI_CPIC_CHUNK_CACHE"] = "16"  # MiB
    from monai_cpic.data import open_volume  # noqa: F401, what takes memory is there before the limit

    logging.disable()
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, number in json.loads(sys.stdin.readline()):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            intact, mutant, cache = (Path(folder) / part for part in ("intact", "mutant", "cache"))
            intact.mkdir()
            mutant.mkdir()
            original = FORMATS[name].write(intact, number % ORIGINALS)
            kind, detail = judged(name, write_mutant(mutant, name, number, seed), cache, original)
            seconds = time.process_time() - begin
        answers.write(json.dumps({"format": name, "number": number, "kind": kind, "detail": detail, "seconds": seconds}) + "\n")
    os._exit(0)  # whatever threads of libraries wait for


def write_mutant(folder: Path, name: str, number: int, seed: int) -> Path:
    """Write a scan of a format and damage one of its files; the path to open."""
    random = np.random.default_rng([seed, *name.encode(), number])
    path = FORMATS[name].write(folder, number % ORIGINALS)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    chosen = files[random.integers(len(files))]
    chosen.write_bytes(mutated(chosen.read_bytes(), random))
    return path


def judged(name: str, path: Path, cache: Path, original: Path) -> tuple[str, str]:
    """The kind of outcome of a scan, and what is to be said about it; what is read as before the damage is right, too."""
    import torch

    from monai_cpic.data import open_volume

    options: dict[str, Any] = {} if name == "zarr" else {"cache_dir": cache}
    try:
        volume = open_volume(path, **options)
        shape = torch.tensor(volume.shape[1:])
        if shape.double().prod() > MOST:
            volume.gather(torch.zeros(1, len(shape), dtype=torch.int64), 1)
            return "unjudged", f"shape {volume.shape}"
        found = volume.gather(shape[None] // 2, shape.tolist())[0].numpy()
    except (ValueError, OSError) as error:
        return ("refused", "") if str(path) in str(error) else ("unnamed", repr(error))
    except Exception as error:
        return "unnamed", repr(error)
    intact = np.asarray(FORMATS[name].read(original), np.float32)
    if found.shape == intact.shape and np.array_equal(found, intact):
        return "equal", ""
    try:
        expected = np.asarray(FORMATS[name].read(path), np.float32)
    except Exception as error:
        return "unjudged", repr(error)
    if found.shape != expected.shape:
        return "wrong", f"shape {found.shape} instead of {expected.shape}"
    differ = ~np.isclose(found, expected, rtol=1e-5, atol=1e-4)
    return ("wrong", f"{differ.mean():.1%} of the voxels") if differ.any() else ("equal", "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--mutants", type=int, default=1000, help="of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write the mutants into this folder and open none")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker)
        return 0
    if arguments.keep is not None:
        for name in arguments.formats:
            for number in range(arguments.first, arguments.first + arguments.mutants):
                folder = arguments.keep / f"{name}-{number}"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                print(write_mutant(folder, name, number, arguments.seed))
        return 0
    counts: dict[str, Counter[str]] = {name: Counter() for name in arguments.formats}
    for outcome in fuzz(arguments.formats, arguments.mutants, first=arguments.first, seed=arguments.seed):
        counts[outcome.format][outcome.kind] += 1
        if outcome.kind in (*FAILURES, "unjudged"):
            print(f"{outcome.format} {outcome.number}: {outcome.kind}, {outcome.detail}", flush=True)
    for name, count in counts.items():
        print(f"{name:7}", ", ".join(f"{number} {kind}" for kind, number in sorted(count.items())))
    return int(any(count[kind] for count in counts.values() for kind in FAILURES))


if __name__ == "__main__":
    sys.exit(main())
