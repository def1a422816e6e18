"""Cross-approximation against TT-SVD and other packages: error, values asked for, seconds, failures; speed of a pass; robustness.

    pip install -c constraints.txt -e ".[benchmarks]"
    python tests/benchmarks/bench_cross.py [--threads 1] [--seeds 20] [--fields ct encoder smooth sparse] [--ranks 5 10 20]
                                           [--json FILE]

Errors are relative to the centred field and estimated, for all methods alike, at the same 200 000 random entries.  Anchors:
tntorch, teneva, torchTT; one that is not installed is left out and named.  About half an hour with all fields.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import math
import os
import platform
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from monai_cpic.data import open_volume
from monai_cpic.networks import PatchEncoder
from monai_cpic.tensor_train import (
    CrossIndices,
    Mode,
    TensorTrain,
    cross_approximate,
    flat_index,
    grid_shape,
    initial_indices,
    mode_sizes,
    qtt_modes,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SHAPE = (64, 256, 256)
ANCHORS = ("tntorch", "teneva", "torchtt")


# ---- fields: dense float64 [*shape, channels], centred --------------------------------------------------------------------


def chest_ct() -> Tensor:
    """The real CT, window -1000…400 HU scaled to 0…1, resampled to 64 x 256 x 256 (slices first)."""
    data = Path(os.environ.get("MONAI_CPIC_DATA", REPOSITORY.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(next((data / "chest_ct_lidc0314").glob("*.tar.xz"))) as archive:
            archive.extractall(folder, filter="data")
        volume = open_volume(Path(folder) / "data", cache_dir=Path(folder) / "cache")
        shape = torch.tensor(volume.shape[1:])
        hounsfield = volume.gather((shape // 2)[None], shape.tolist())
    scaled = ((hounsfield + 1000) / 1400).clamp(0, 1).permute(0, 1, 4, 3, 2)
    return torch.nn.functional.interpolate(scaled, SHAPE, mode="trilinear")[0, 0, ..., None].double()


def encoded(ct: Tensor) -> Tensor:
    """The CT through the untrained encoder, 8 channels, standardised."""
    torch.manual_seed(0)
    encoder = PatchEncoder(1, 8).eval()
    border = encoder.receptive_field // 2
    padded = torch.nn.functional.pad(ct[None, None, ..., 0].float(), (border,) * 6, mode="replicate")
    latent = torch.empty(*SHAPE, 8)
    with torch.no_grad():
        for z in tqdm(range(SHAPE[0]), "encoding the CT", leave=False, disable=None):
            slab = padded[:, :, z : z + 2 * border + 1]
            latent[z] = encoder(slab).reshape(8, *SHAPE[1:]).permute(1, 2, 0)
    return ((latent - latent.mean((0, 1, 2))) / latent.std((0, 1, 2))).double()


def smooth() -> Tensor:
    """Waves of a phase that is not linear: smooth, of no finite rank."""
    x, y, z = torch.meshgrid(*(torch.linspace(0, 1, n, dtype=torch.double) for n in SHAPE), indexing="ij")
    return (torch.sin(6 * x * y + 4 * z) * torch.exp(-((x - 0.4) ** 2 + (y - z) ** 2) * 3))[..., None]


def sparse() -> Tensor:
    """What a rectifier leaves of waves: zero nearly everywhere."""
    x, y, z = torch.meshgrid(*(torch.linspace(0, 1, n, dtype=torch.double) for n in SHAPE), indexing="ij")
    return (torch.sin(9 * x + 3 * y) * torch.sin(11 * y) * torch.sin(7 * z + 2 * x) - 0.6).relu()[..., None]


class Counted:
    """A field of dense values that counts what it is asked for and how long it takes, for batches of seeds."""

    def __init__(self, dense: Tensor, modes: list[Mode]) -> None:
        self.modes = modes
        self.values = dense.reshape(-1)
        self.tables = torch.stack([torch.nn.functional.pad(flat_index(modes, m.offsets), (0, 64 - len(m))) for m in modes])
        self.reset()

    def reset(self) -> None:
        self.asked: list[Tensor] = []
        self.seconds = 0.0

    def __call__(self, coordinates: Tensor) -> Tensor:
        start = time.perf_counter()
        flat = flat_index(self.modes, coordinates)
        self.asked.append(flat)
        values = self.values[flat]
        self.seconds += time.perf_counter() - start
        return values

    def at(self, digits: Tensor) -> Tensor:
        """Values at digit tuples ``[P, D]``, as other packages ask for them."""
        start = time.perf_counter()
        flat = self.tables[torch.arange(len(self.modes)), digits.long()].sum(1)
        self.asked.append(flat[None])
        values = self.values[flat]
        self.seconds += time.perf_counter() - start
        return values

    def distinct(self) -> float:
        """Distinct values asked for, mean over the batch."""
        asked = torch.cat(self.asked, 1)
        return sum(len(row.unique()) for row in asked) / len(asked)


# ---- methods --------------------------------------------------------------------------------------------------------------


Method = Callable[[Counted, int], TensorTrain | list[TensorTrain | None]]
"""From a field and a rank to a tensor train for each seed."""


def ours(seeds: int, **options: Any) -> Callable[[Counted, int], TensorTrain]:
    def run(field: Counted, rank: int) -> TensorTrain:
        starts = [initial_indices(field.modes, rank, generator=torch.Generator().manual_seed(seed)) for seed in range(seeds)]
        return cross_approximate(field, field.modes, rank, batch_size=seeds, indices=CrossIndices.cat(starts), **options)[0]

    return run


def tntorch(field: Counted, rank: int, seed: int, sweeps: int = 2) -> TensorTrain:
    import tntorch as tn

    torch.manual_seed(seed)
    found = tn.cross(
        function=field.at,
        domain=[torch.arange(n).double() for n in mode_sizes(field.modes)],
        ranks_tt=rank,
        max_iter=sweeps,
        eps=1e-12,
        verbose=False,
        function_arg="matrix",
    )
    return TensorTrain([core[None].double() for core in found.cores])


def teneva(field: Counted, rank: int, seed: int) -> TensorTrain:
    import teneva as package

    start = package.rand(mode_sizes(field.modes), rank, seed=seed)
    found = package.cross(lambda digits: field.at(torch.as_tensor(digits)).numpy(), start, nswp=2, dr_min=0, dr_max=0)
    return TensorTrain([torch.as_tensor(core)[None] for core in package.truncate(found, 1e-15, rank)])


def torchtt(field: Counted, rank: int, seed: int) -> TensorTrain:
    import torchtt as package

    torch.manual_seed(seed)
    found = package.interpolate.dmrg_cross(
        lambda digits: field.at(digits.reshape(-1, len(field.modes))).reshape(digits.shape[:-1]),
        mode_sizes(field.modes),
        eps=1e-10,
        nswp=2,
        rmax=rank,
        kick=0,
        dtype=torch.float64,
        eval_vect=True,
    )
    return TensorTrain([core[None] for core in found.cores])


def one_by_one(
    method: Callable[[Counted, int, int], TensorTrain], seeds: int
) -> Callable[[Counted, int], list[TensorTrain | None]]:
    """An anchor for every seed; None where it raised."""

    def run(field: Counted, rank: int) -> list[TensorTrain | None]:
        found: list[TensorTrain | None] = []
        for seed in range(seeds):
            field.asked = []  # the values of the last seed are counted
            try:
                found.append(method(field, rank, seed))
            except Exception as error:
                warnings.warn(f"{method.__name__}, rank {rank}, seed {seed}: {error!r}", stacklevel=2)
                found.append(None)
        return found

    return run


# ---- measurements ---------------------------------------------------------------------------------------------------------


def errors_of(found: TensorTrain | list[TensorTrain | None], digits: Tensor, exact: Tensor) -> Tensor:
    """Relative error for every seed, NaN for a failure."""
    trains = [found[[b]] for b in range(len(found))] if isinstance(found, TensorTrain) else found
    errors = [math.nan if t is None else ((t.evaluate(digits)[0] - exact).norm() / exact.norm()).item() for t in trains]
    return torch.tensor(errors, dtype=torch.double)


def accuracy(dense: Tensor, ranks: list[int], seeds: int, methods: dict[str, Method]) -> list[dict[str, Any]]:
    """A row for every rank and method."""
    dense = dense - dense.mean((0, 1, 2))
    modes = qtt_modes(dense.shape[:3], dense.shape[3])
    generator = torch.Generator().manual_seed(1)
    digits = torch.stack([torch.randint(n, (200_000,), generator=generator) for n in mode_sizes(modes)], 1)
    field = Counted(dense, modes)
    exact = field.at(digits)
    assert grid_shape(modes) == tuple(dense.shape)
    rows = []
    for rank in ranks:
        start = time.perf_counter()
        best = errors_of(TensorTrain.from_dense(dense[None], modes, rank), digits, exact)[0].item()
        rows.append({"rank": rank, "method": "TT-SVD", "error": best, "seconds": time.perf_counter() - start})
        for name, method in tqdm(methods.items(), f"rank {rank}", leave=False, disable=None):
            field.reset()
            start = time.perf_counter()
            found = method(field, rank)
            seconds = (time.perf_counter() - start - field.seconds) / seeds
            errors = errors_of(found, digits, exact)
            good = errors[errors.isfinite()]
            row = {"rank": rank, "method": name, "distinct": field.distinct(), "seconds": seconds}
            row["failures"] = int((~(errors < 10)).sum())  # raised, not finite, or ten times the field itself
            if len(good):
                row |= {"error": good.median().item(), "worst": good.max().item(), "to_optimum": good.median().item() / best}
                row["worst_to_median"] = (good.max() / good.median()).item()
            rows.append(row)
    return rows


def speed(dense: Tensor, repeats: int = 9) -> dict[str, float]:
    """One pass over 20 volumes against 20 sweeps of tntorch, without the time of the field; medians."""
    modes = qtt_modes(SHAPE)
    field = Counted(dense - dense.mean(), modes)
    starts = [initial_indices(modes, 10, generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    start_indices = CrossIndices.cat(starts)

    def timed(call: Callable[[], object]) -> float:
        seconds = []
        for _ in range(repeats):
            field.reset()
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start - field.seconds)
        return sorted(seconds)[repeats // 2]

    result = {}
    for name, oversampling in (("oversampled", 1.5), ("plain", 1.0)):
        options: dict[str, Any] = {
            "batch_size": 20,
            "passes": 1,
            "completion": 0,
            "oversampling": oversampling,
            "indices": start_indices,
        }
        result[f"pass_of_20_{name}"] = timed(partial(cross_approximate, field, modes, 10, **options))
    if importlib.util.find_spec("tntorch"):
        one, three = (timed(partial(tntorch, field, 10, 0, n)) for n in (1, 3))
        result |= {"tntorch_call_of_one_sweep": one, "tntorch_further_sweep": (three - one) / 2}
        for name in ("call_of_one_sweep", "further_sweep"):
            result[f"ratio_{name}"] = 20 * result[f"tntorch_{name}"] / result["pass_of_20_oversampled"]
    return result


def evaluations() -> dict[str, int]:
    """Values of one pass, 23 binary modes, rank 10, 15 rows."""
    modes = qtt_modes((128, 256, 256))
    field = Counted(torch.rand(128, 256, 256, 1, dtype=torch.double), modes)
    _, indices = cross_approximate(field, modes, 10, passes=1, completion=0)
    field.reset()
    cross_approximate(field, modes, 10, passes=1, completion=0, indices=indices)
    asked = torch.cat(field.asked, 1)[0]
    return {"modes": len(modes), "asked": len(asked), "distinct": len(asked.unique())}


def entries(dense: Tensor, coordinates: Tensor) -> Tensor:
    """Values ``[B, P]`` of fields of one channel, ``[B, *shape]``."""
    return dense[(torch.arange(len(dense))[:, None], *coordinates.unbind(-1)[:-1])]


def robustness(fields: int) -> dict[str, int]:
    """Random fields of hostile kinds: values and gradients that are not finite, and exceptions."""
    generator = torch.Generator().manual_seed(0)

    def number(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    result = {"fields": 0, "exceptions": 0, "values_not_finite": 0, "gradients_not_finite": 0}
    batch = 25
    for call in tqdm(range(math.ceil(fields / batch)), "random fields", leave=False, disable=None):
        shape = [(8, 16, 16), (5, 6, 7), (64,), (16, 12), (4, 4, 4, 4)][number(5)]
        dtype, scale = (torch.float32, torch.float64)[number(2)], 10.0 ** (-12, -6, 0, 6, 12)[number(5)]
        items = []
        for _ in range(batch):
            noise = torch.randn(shape, dtype=torch.double, generator=generator)
            kind = number(8)
            if kind == 0:  # low rank
                noise = torch.ones((), dtype=torch.double)
                for n in shape:
                    noise = noise[..., None] * torch.randn(n, dtype=torch.double, generator=generator)
            elif kind == 1:
                noise = torch.full(shape, 1.0, dtype=torch.double)
            elif kind == 2:
                noise = torch.zeros(shape, dtype=torch.double)
            elif kind == 3:  # one voxel set
                noise = torch.zeros(shape, dtype=torch.double)
                noise[tuple(number(n) for n in shape)] = 1
            elif kind == 4:  # slices repeated
                noise = noise[:1].expand(shape)
            elif kind == 5:
                noise = noise.sign()
            elif kind == 6:  # nearly constant
                noise = 1 + 1e-9 * noise
            items.append(noise)
        dense = (scale * torch.stack(items)).to(dtype).requires_grad_()
        modes = qtt_modes(shape, order=("axis", "interleaved", "fused")[number(3)])
        options: dict[str, Any] = {"oversampling": (1.0, 1.5, 2.0)[number(3)], "completion": (0, 6)[call % 2], "dtype": dtype}
        result["fields"] += batch
        try:
            found, _ = cross_approximate(
                partial(entries, dense),
                modes,
                (1, 3, 6, 10)[number(4)],
                batch_size=batch,
                generator=generator,
                **options,
            )
            digits = torch.stack([torch.randint(n, (50,), generator=generator) for n in mode_sizes(modes)], 1)
            (found.evaluate(digits) / scale).square().sum().backward()
        except Exception as error:
            warnings.warn(f"call {call}: {error!r}", stacklevel=1)
            result["exceptions"] += 1
            continue
        result["values_not_finite"] += int((~torch.stack([c.isfinite().flatten(1).all(1) for c in found]).all(0)).sum())
        assert dense.grad is not None
        result["gradients_not_finite"] += int((~dense.grad.isfinite().flatten(1).all(1)).sum())
    return result


def stale_indices(dense: Tensor, trials: int = 20) -> dict[str, float]:
    """Gradient norm of a pass from index sets of an encoder that has drifted by half since, over that from its own sets."""
    small = torch.nn.functional.interpolate(dense[None, None, ..., 0], (32, 64, 64), mode="trilinear").float()
    modes = qtt_modes((32, 64, 64), channels=4)
    ratios = []
    for trial in tqdm(range(trials), "stale indices", leave=False, disable=None):
        encoders = []
        for seed in (trial, 1000 + trial):
            torch.manual_seed(seed)
            encoders.append(PatchEncoder(1, 4).eval())
        old, new = encoders
        for a, b in zip(new.parameters(), old.parameters(), strict=True):
            a.data = (a.data + b.data) / 2
        fields = []
        for encoder in (old, new):
            with torch.no_grad():
                latent = encoder(torch.nn.functional.pad(small, (4,) * 6, mode="replicate")).reshape(4, 32, 64, 64)
            latent = latent.permute(1, 2, 3, 0).double()
            fields.append((latent - latent.mean((0, 1, 2))) / latent.std((0, 1, 2)))
        basis = TensorTrain.from_dense(fields[1][None], modes, 3)
        basis = basis * (1 / basis.norm())
        norms = []
        for field in fields:
            _, indices = cross_approximate(Counted(field, modes), modes, 10, completion=0)
            leaf = fields[1].clone().requires_grad_()
            found, _ = cross_approximate(Counted(leaf, modes), modes, 10, passes=1, completion=0, indices=indices)
            found.inner(basis).sum().backward()
            norms.append(leaf.grad.norm().item())
        ratios.append(norms[0] / norms[1])
    ordered = torch.tensor(ratios).sort().values
    return {"trials": trials, "median": ordered.median().item(), "worst": ordered[-1].item(), "above_3": int((ordered > 3).sum())}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    columns = ["rank", "method", "error", "to_optimum", "worst_to_median", "distinct", "seconds", "failures"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        lines.append("| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run all measurements; print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--fields", nargs="*", default=["ct", "encoder", "smooth", "sparse"])
    parser.add_argument("--ranks", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--random_fields", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    pinned = {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if any(os.environ.get(name) != count for name, count in pinned.items()):  # read when libraries are loaded: start again
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **pinned})
    torch.set_num_threads(arguments.threads)
    logging.getLogger().setLevel(logging.ERROR)  # tntorch warns of every error above its tolerance
    warnings.filterwarnings("ignore", "C|.*maxvolpy.*")
    missing = [name for name in ANCHORS if not importlib.util.find_spec(name)]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    methods: dict[str, Method] = {
        "plain cross (paper), 4 passes": ours(arguments.seeds, oversampling=1.0, passes=4, completion=0),
        "one pass, 15 rows for rank 10": ours(arguments.seeds, passes=1, completion=0),
        "two passes": ours(arguments.seeds, passes=2, completion=0),
        "default": ours(arguments.seeds),
    }
    anchors = {name: globals()[name] for name in ANCHORS if name not in missing}
    methods |= {name: one_by_one(method, arguments.seeds) for name, method in anchors.items()}
    ct = chest_ct()
    made = {"ct": lambda: ct, "encoder": lambda: encoded(ct), "smooth": smooth, "sparse": sparse}
    results: dict[str, Any] = {"processor": platform.processor() or platform.machine(), "threads": arguments.threads}
    results |= {"evaluations": evaluations(), "speed": speed(ct), "stale_indices": stale_indices(ct)}
    results["robustness"] = robustness(arguments.random_fields)
    print(json.dumps(results, indent=2), flush=True)
    for name in arguments.fields:
        results[name] = accuracy(made[name](), arguments.ranks, arguments.seeds, methods)
        print(f"\n{name}\n\n{table(results[name])}", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
