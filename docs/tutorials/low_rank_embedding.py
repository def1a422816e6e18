"""Tutorial: why the encoder comes before the tensor train (the paper's Figure 1).

    python docs/tutorials/low_rank_embedding.py [--image PICTURE] [--steps 1200] [--output docs/images/figure1.png]

A picture, like a scan, is not of low rank: truncated to rank 3 it is a blur.  An encoder can map it to a channel of low rank, and
a decoder can invert the mapping, so that the matrix of rank 3 in between holds nearly all of the picture.  C-PIC does the same in
three dimensions, with a head in place of the decoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_cpic.experiments.figure1 import draw_figure1, picture_error, read_picture, truncated


def main() -> None:
    """Print how slowly the error of the picture falls with the rank, then learn the embedding and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="default: a photograph that comes with matplotlib")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--output", type=Path, default=Path("docs/images/figure1.png"))
    arguments = parser.parse_args()

    # 1. The truncation: a matrix is a tensor train of two modes, and TT-SVD its singular value decomposition.
    picture = read_picture(arguments.image)  # [C, n, n], in [0, 1]
    for rank in (1, 3, 10, 30):
        print(f"rank {rank}: error {picture_error(truncated(picture, rank), picture):.1%}")

    # 2. The embedding: encoder, truncation to rank 3 and decoder are trained together; gradients pass through the truncation.
    print(draw_figure1(arguments.output, arguments.image, arguments.steps))


if __name__ == "__main__":
    main()
