"""Windows and normalisation of channels, against MONAI's transforms of the whole scan."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import NormalizeIntensity, ScaleIntensityRange

from monai_cpic.data import open_volume
from monai_cpic.transforms import ScaleChannelsLazyd


@pytest.mark.parametrize("nonzero", [True, False])
def test_each_channel_as_monai_scales_it(nonzero: bool) -> None:
    scan = torch.randn(2, 6, 5, 4) * 500
    scan[:, :2] = 0
    scaled = ScaleChannelsLazyd("image", [(-1000, 400), None], nonzero)({"image": open_volume(scan)})["image"]
    read = scaled.gather(torch.tensor([[3, 2, 2]]), (6, 5, 4))[0]
    torch.testing.assert_close(read[0], torch.as_tensor(ScaleIntensityRange(-1000, 400, 0, 1, clip=True)(scan[0])))
    expected = torch.as_tensor(NormalizeIntensity(nonzero=nonzero)(scan[1]))
    torch.testing.assert_close(read[1], expected)


def test_a_window_for_each_channel() -> None:
    with pytest.raises(ValueError, match="has 2 channels, but there are 1 windows"):
        ScaleChannelsLazyd("image", [None])({"image": open_volume(torch.zeros(2, 4, 4, 4))})
