"""The joint mean without distribution; with it, the bundles' tests train in two processes."""

from __future__ import annotations

import torch

from monai_cpic.losses import JointMean, PinballLoss


def test_it_is_the_loss_itself_in_one_process() -> None:
    loss = PinballLoss((0.2, 0.5))
    prediction, target = torch.rand(5, 2), torch.rand(5)
    torch.testing.assert_close(JointMean(loss)(prediction, target), loss(prediction, target))
