"""The paper's Figure 1: a picture reconstructed from a learned embedding of rank 3, compared with its SVD."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.cbook import get_sample_data
from matplotlib.image import imread
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from tqdm import trange

from monai_cpic.reporting.plots import grid
from monai_cpic.tensor_train import TensorTrain

__all__ = ["LowRankAutoencoder", "draw_figure1", "picture_error", "read_picture", "truncated"]

SIZE, RANK = 128, 3


def truncated(image: Tensor, rank: int) -> Tensor:
    """The best approximation of each matrix ``[B, n, m]`` by a given rank, as a tensor train of two modes; same dtype.

    Example:
        >>> truncated(torch.eye(2)[None], rank=2)
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    return TensorTrain.from_dense(image.double(), image.shape[1:], rank).to_dense().to(image)


class LowRankAutoencoder(nn.Module):
    """An encoder to one channel, truncation to a rank, and a decoder; it learns embeddings that the truncation hardly changes.

    Args:
        channels: number of channels of the picture.
        rank: rank of the embedding.
    """

    def __init__(self, channels: int = 3, rank: int = RANK) -> None:
        super().__init__()
        widths = (16, 16, 32, 64, 128, 16)
        self.encoder = BasicUNet(2, channels, 1, widths)
        self.decoder = BasicUNet(2, 1, channels, widths)
        self.rank = rank

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The decoded pictures ``[B, C, n, m]``, the embeddings ``[B, n, m]`` and their truncations."""
        embedding = self.encoder(image)[:, 0]
        kept = truncated(embedding, self.rank)
        return self.decoder(kept[:, None]), embedding, kept


def draw_figure1(output: str | Path, image: str | Path | None = None, steps: int = 1200, seed: int = 0) -> Path:
    """Learn the embedding of one picture, and draw it beside the picture's SVD.

    Args:
        output: file of the figure.
        image: a picture; default: a photograph of matplotlib's sample data (Grace Hopper, public domain).
        steps: number of steps of Adam.
        seed: seed of the weights.

    Returns:
        ``output``.  The titles of the panels show the errors relative to the picture's deviation.
    """
    torch.manual_seed(seed)
    picture = read_picture(image)
    network = LowRankAutoencoder(len(picture))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in (bar := trange(steps, desc="embedding")):
        decoded, embedding, kept = network(picture[None])
        loss = (decoded[0] - picture).square().mean()
        # Penalise the part that the truncation drops: the decoder does not see it, and it makes the gradient large.
        dropped = (embedding - kept).square().mean() / embedding.square().mean().clamp(min=1e-12)
        optimizer.zero_grad()
        (loss + 0.1 * dropped).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        bar.set_postfix(error=f"{picture_error(decoded[0], picture):.3f}")
    with torch.no_grad():
        decoded, embedding, kept = (result[0] for result in network(picture[None]))
    svd = truncated(picture, RANK)
    figure, (input_axes, encoded_axes, kept_axes, decoded_axes, _again, svd_axes) = grid(6, 4, 2.6, 2.7)
    panels = [
        (input_axes, picture, "picture"),
        (encoded_axes, embedding[None], "encoded"),
        (kept_axes, kept[None], f"rank {RANK}: error {picture_error(kept, embedding):.1%}"),
        (decoded_axes, decoded, f"decoded: error {picture_error(decoded, picture):.1%}"),
        (_again, picture, "picture"),
        (svd_axes, svd, f"SVD, rank {RANK}: error {picture_error(svd, picture):.1%}"),
    ]
    for axes, values, title in panels:
        shown = values.clamp(0, 1).permute(1, 2, 0) if len(values) == 3 else values[0]
        axes.imshow(shown.numpy(), cmap="viridis")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(output, dpi=100)
    return Path(output)


def read_picture(image: str | Path | None = None) -> Tensor:
    """A square picture ``[C, 128, 128]`` with values in [0, 1]; default: a photograph of matplotlib's sample data."""
    path = get_sample_data("grace_hopper.jpg", asfileobj=False) if image is None else image
    array = torch.tensor(imread(str(path)).copy()).float()
    array = array[..., None].expand(*array.shape, 3) if array.ndim == 2 else array[..., :3]
    picture = array.permute(2, 0, 1) / (255.0 if array.max() > 1 else 1.0)
    edge = min(picture.shape[1:])
    return nn.functional.interpolate(picture[None, :, :edge, :edge], (SIZE, SIZE), mode="area")[0]


def picture_error(approximation: Tensor, target: Tensor) -> float:
    """Norm of the difference, relative to that of the centred target."""
    return ((approximation - target).norm() / (target - target.mean()).norm()).item()
