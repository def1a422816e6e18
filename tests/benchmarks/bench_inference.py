"""Seconds, memory and voxels of one prediction: the OSIC bundle on the real chest CT, native voxels, padded virtually to 512³.

    python tests/benchmarks/bench_inference.py [--threads 1] [--model MODEL.pt]

Every measurement is a new process: first with an empty cache (the DICOM series is decoded), then with the decoded scan.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a prediction imports is measured
    from monai_cpic.data import LazyVolume
    from monai_cpic.networks import CPICNet

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLE = REPOSITORY / "bundles" / "osic_fvc"
GRID = [512, 512, 512]
PATIENT = "LIDC-IDRI-0314"


def peak_mib() -> float:
    """Largest resident memory of this process so far; getrusage would count the parent's."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def predict(dataset_dir: str, model: str, output_dir: str) -> dict[str, float]:
    """One prediction as the bundle does it, in this process."""
    import torch

    torch_only = peak_mib()
    from monai.bundle import ConfigWorkflow

    bundle_imported = peak_mib()
    workflow = ConfigWorkflow(
        str(BUNDLE / "configs" / "inference.yaml"),
        None,
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(BUNDLE),
        dataset_dir=dataset_dir,
        model=model,
        output_dir=output_dir,
        weeks=[0, 12, 52],
        threads=torch.get_num_threads(),
    )
    start = time.perf_counter()
    workflow.initialize()
    workflow.parser.get_parsed_content("evaluator").run()
    predicted, predicted_peak = time.perf_counter() - start, peak_mib()
    workflow.parser.get_parsed_content("report")
    network = workflow.parser.get_parsed_content("network")
    volume = workflow.parser.get_parsed_content("dataset")[0]["image"]
    result = {
        "seconds_until_predicted": predicted,
        "seconds_with_report": time.perf_counter() - start,
        "mib_torch": torch_only,
        "mib_monai_bundle_above_torch": bundle_imported - torch_only,
        "mib_predicted_above_torch": predicted_peak - torch_only,
        "mib_with_report_above_torch": peak_mib() - torch_only,
    }
    return {**result, **voxels_read(network, volume)}


def voxels_read(network: CPICNet, volume: LazyVolume) -> dict[str, float]:
    """Voxels encoded, and the share of the scan's voxels that lies in any of their cubes."""
    import torch

    points, size = network.bottleneck.sampled[0], network.encoder.receptive_field
    shape = torch.tensor(volume.shape[1:])
    read = torch.zeros(volume.shape[1:], dtype=torch.bool)
    offsets = torch.cartesian_prod(*[torch.arange(size) - size // 2] * 3)
    for part in points.split(500):
        voxels = (part[:, None] + offsets).clamp(min=torch.zeros(3, dtype=torch.int64), max=shape - 1).reshape(-1, 3)
        read[tuple(voxels.T)] = True
    return {
        "voxels_encoded": len(points),
        "voxels_encoded_inside_scan": int((points < shape).all(1).sum()),
        "share_of_voxels_read": read.double().mean().item(),
    }


def untrained_model(path: Path) -> None:
    """The bundle's network after one step on noise, for native voxels."""
    import torch
    from monai.bundle import ConfigParser

    from monai_cpic.model_files import TrainingRecord, write_model

    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.yaml"))
    parser.update({"spatial_shape": GRID, "voxels": "native"})
    network = parser.get_parsed_content("network_def")
    network(torch.rand(2, 1, 64, 64, 32), torch.zeros(2, 8))
    write_model(path, network, TrainingRecord(parser.get_parsed_content("settings"), {}, fold=0, seed=0, patients=[]))


def main() -> None:
    """Run both measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", help="of a training with native voxels; default: an untrained network")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(predict(*arguments.child)))
        return
    data = Path(os.environ.get("MONAI_CPIC_DATA", REPOSITORY.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "test"
        with tarfile.open(next((data / "chest_ct_lidc0314").glob("*.tar.xz"))) as archive:
            archive.extractall(test, filter="data")
        (test / "data").rename(test / PATIENT)
        header = "Patient,Weeks,FVC,Percent,Age,Sex,SmokingStatus"
        (Path(folder) / "test.csv").write_text(f"{header}\n{PATIENT},0,2700,78,67,Male,Ex-smoker\n")
        model = arguments.model or f"{folder}/model.pt"
        if not arguments.model:
            untrained_model(Path(model))
        environment = {
            **os.environ,
            "MONAI_CPIC_CACHE": f"{folder}/cache",
            "OMP_NUM_THREADS": str(arguments.threads),
            "PYTHONWARNINGS": "ignore",
        }
        results = {"processor": platform.processor() or platform.machine(), "threads": arguments.threads}
        for name in ("first_time", "decoded_scan"):
            command = [sys.executable, __file__, "--child", folder, model, f"{folder}/{name}"]
            lines = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
            results[name] = json.loads(lines[-1])
            results[name]["predictions"] = (Path(folder) / name / "predictions.csv").read_text().splitlines()
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
