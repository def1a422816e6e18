"""Training in two processes with half of the batch each is training in one process with the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from gradients import gradient
from torch import Tensor, nn

from monai_cpic.data import open_volume
from monai_cpic.networks import CPICNet, paper_net, random_cells_net

SHAPE = (8, 8, 8)
STEPS = 4
TRAININGS = [(3, "cross"), (1, "cross"), (3, "random cells")]  # scans of a process in a step

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch is built without torch.distributed")


def _network(kind: str) -> CPICNet:
    if kind == "cross":
        return paper_net(SHAPE, covariates=2, n_dims=4, rank=4, oversampling=1.5)
    return random_cells_net(SHAPE, covariates=2, n_dims=4)


def _train(batches: list[slice], ranks: int, kind: str) -> tuple[list[float], dict[str, Tensor], dict[str, Tensor]]:
    """Losses, the last gradients and the state after some steps on the given part of each batch."""
    torch.manual_seed(0)
    net = _network(kind).double()
    model = net if ranks == 1 else nn.parallel.DistributedDataParallel(net)
    generator = torch.Generator().manual_seed(1)
    volumes = [open_volume(v) for v in torch.rand(12, 1, *SHAPE, generator=generator, dtype=torch.float64)]
    covariates, targets = (torch.rand(12, n, generator=generator, dtype=torch.float64) for n in (2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(STEPS):
        part = batches[step % len(batches)]
        loss = (model(volumes[part], covariates[part]) - targets[part]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    gradients = {name: gradient(parameter) for name, parameter in net.named_parameters()}
    return losses, gradients, net.state_dict()


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for each, kind in TRAININGS:
        dealt = [slice(rank, 2 * each, 2), slice(6 + rank, 6 + 2 * each, 2)]
        torch.save(_train(dealt, 2, kind), _result(folder, rank, each, kind))
    dist.destroy_process_group()


def _result(folder: str | Path, rank: int, each: int, kind: str) -> Path:
    return Path(folder) / f"{kind}_{each}_{rank}.pt"


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes have trained."""
    folder = tmp_path_factory.mktemp("by_two")
    torch.multiprocessing.spawn(_work, (str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize(("each", "kind"), TRAININGS)
def test_two_processes_train_as_one(by_two: Path, each: int, kind: str) -> None:
    parts = [torch.load(_result(by_two, rank, each, kind), weights_only=True) for rank in range(2)]
    losses, gradients, state = _train([slice(0, 2 * each), slice(6, 6 + 2 * each)], 1, kind)
    torch.testing.assert_close(torch.tensor([part[0] for part in parts]).mean(0), torch.tensor(losses))
    for part in parts:
        torch.testing.assert_close(part[1], gradients, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(part[2], state, rtol=1e-6, atol=1e-9)
