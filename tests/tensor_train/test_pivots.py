"""Row selection: distinct rows of large volume, for any matrix."""

from __future__ import annotations

import pytest
import torch

from monai_cpic.tensor_train import select_rows


def assert_distinct(rows: torch.Tensor) -> None:
    assert all(len(set(row)) == len(row) for row in rows.tolist())


def test_maxvol_rows_dominate() -> None:
    matrix = torch.randn(6, 40, 5, dtype=torch.double)
    rows = select_rows(matrix, 5)
    square = matrix.gather(1, rows[:, :, None].expand(-1, -1, 5))
    assert torch.linalg.solve(square, matrix, left=False).abs().max() < 1.3  # every swap left would gain little


def test_oversampling_adds_rows_that_lower_the_coefficients() -> None:
    matrix = torch.randn(6, 40, 5, dtype=torch.double)
    norms = []
    for count in (5, 8, 12):
        rows = select_rows(matrix, count)
        assert_distinct(rows)
        tall = matrix.gather(1, rows[:, :, None].expand(-1, -1, 5))
        norms.append((matrix @ torch.linalg.pinv(tall)).norm(dim=2).max(1).values)
    assert (norms[1] < norms[0]).all() and (norms[2] < norms[1]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_degenerate_matrices_still_give_distinct_rows(dtype: torch.dtype, scale: float) -> None:
    zero = torch.zeros(1, 12, 4)
    one = zero.clone()
    one[0, 7, 2] = 1
    batch = torch.cat([zero, torch.ones(1, 12, 4), one, torch.randn(1, 12, 1) @ torch.randn(1, 1, 4)]).to(dtype) * scale
    rows = select_rows(batch, 7)
    assert_distinct(rows)
    assert rows[2, 0] == 7 or 7 in rows[2, :4]
    wide = select_rows(batch.mT, 4)
    assert_distinct(wide)


def test_batched_equals_per_item() -> None:
    matrix = torch.randn(5, 20, 4, dtype=torch.double)
    assert torch.equal(select_rows(matrix, 6), torch.cat([select_rows(m[None], 6) for m in matrix]))


@pytest.mark.parametrize("count", [3, 21])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="between 4 and 20 rows"):
        select_rows(torch.randn(1, 20, 4), count)


def test_pivots_come_from_the_leading_rows() -> None:
    matrix = torch.randn(6, 30, 5, dtype=torch.double)
    matrix[:3, :12] = 0  # nothing of the span is there
    rows = select_rows(matrix, 12, first=4, among=12)
    assert_distinct(rows)
    assert (rows[:, :4] < 12).all()
    tall = matrix.gather(1, rows[:, :, None].expand(-1, -1, 5))
    assert torch.linalg.cond(tall).max() < 50  # the others make up for it
