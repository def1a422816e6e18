"""What a profile says of scans like those of the training, and of others."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import random_cells_net
from monai_cpic.novelty import CohortProfile, describe, fit_profile
from monai_cpic.novelty.description import Quantity
from monai_cpic.novelty.profile import Range

SHAPE = (16, 16, 16)
LPS = torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0], dtype=torch.float64))
Change = Callable[[torch.Tensor], torch.Tensor]


def body(seed: int) -> torch.Tensor:
    """A dense lower half below air, with noise and a random height, ``[1, 16, 16, 16]``."""
    generator = torch.Generator().manual_seed(seed)
    height = 7 + 2 * torch.rand(1, generator=generator)
    return torch.where(torch.arange(16) < height, 0.0, -1000.0) + 20 * torch.randn(1, *SHAPE, generator=generator)


def scan(values: torch.Tensor, affine: torch.Tensor = LPS, modality: str | None = "CT") -> LazyVolume:
    return replace(open_volume(MetaTensor(values, affine=affine)), modality=modality)


NETWORK = random_cells_net(SHAPE).eval()


def features(volume: LazyVolume) -> torch.Tensor:
    with torch.no_grad():
        return NETWORK.features([volume])[0]


@pytest.fixture(scope="module")
def profile() -> CohortProfile:
    torch.manual_seed(0)
    training = [scan(body(seed)) for seed in range(40)]
    fitted = fit_profile(NETWORK, [{"image": training[:25]}, {"image": training[25:]}], ["CT"])
    assert not NETWORK.training
    return fitted


def odd(profile: CohortProfile, volume: LazyVolume) -> list[str]:
    description = describe(volume)
    assert profile.refusal(description) == ""
    return profile.warnings(description, features(volume))


def test_scans_of_the_same_kind_are_not_odd(profile: CohortProfile) -> None:
    found = [odd(profile, scan(body(100 + seed))) for seed in range(40)]
    assert sum(map(bool, found)) <= 2, found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values * 10, "1st percentile of the intensities of CT is -10"),
        (lambda values: values + 1000, "99th percentile of the intensities of CT is 1"),
        (lambda values: values.flip(3), "the coarse picture is unlike"),
        (lambda values: 500 * torch.randn(values.shape) - 500, "the network's features are unlike"),
        (lambda values: values[..., :8], "field of view in mm from feet to head is 16 (training: 32 to 32)"),
    ],
    ids=["ten times", "shifted", "upside down", "noise", "cut"],
)
def test_odd_voxels(profile: CohortProfile, change: Change, said: str) -> None:
    assert any(warning.startswith(said) for warning in odd(profile, scan(change(body(200)))))


def test_odd_geometry(profile: CohortProfile) -> None:
    turned = odd(profile, scan(body(200), affine=LPS @ torch.diag(torch.tensor([1.0, 1, -1, 1], dtype=torch.float64))))
    assert turned == ["stored axes point to LPI (training: LPS)"]
    wide = odd(profile, scan(body(200), affine=LPS @ torch.diag(torch.tensor([1.0, 1, 10, 1], dtype=torch.float64))))
    assert wide[:2] == [  # the network sees other means of blocks, too
        "voxel spacing in mm from feet to head is 20 (training: 2 to 2)",
        "field of view in mm from feet to head is 320 (training: 32 to 32)",
    ]


def test_what_cannot_be_right_is_refused(profile: CohortProfile) -> None:
    assert profile.refusal(describe(scan(body(0), modality="MR"))) == "its modality is MR, that of the training scans CT"
    assert profile.refusal(describe(scan(body(0), modality=None))) == ""
    assert "all voxels have the value 0" in profile.refusal(describe(scan(torch.zeros(1, *SHAPE))))
    assert "it has 2 channels, the training scans have 1" in profile.refusal(describe(scan(torch.rand(2, *SHAPE))))


def test_files_without_a_modality_take_any() -> None:
    scans = [describe(scan(body(seed), modality=None)) for seed in range(2)]
    assert CohortProfile.of(scans, torch.zeros(2, 3), ["CT"]).refusal(describe(scan(body(0), modality="MR"))) == ""


def test_few_training_scans_give_ranges_only(caplog: pytest.LogCaptureFixture) -> None:
    scans = [describe(scan(body(seed))) for seed in range(9)]
    profile = CohortProfile.of(scans, torch.zeros(9, 3), ["CT"])
    assert "9 training scans are too few" in caplog.text
    assert profile.distances == {} and profile.warnings(scans[0], torch.full((3,), 1e6)) == []


def test_a_model_file_holds_it(profile: CohortProfile) -> None:
    file = io.BytesIO()
    torch.save({"profile": profile.state_dict()}, file)
    file.seek(0)
    read = CohortProfile.from_fitted(torch.load(file, weights_only=True))
    assert replace(read, distances={}) == replace(profile, distances={})
    for values in (body(0), body(300).flip(3), 10 * body(301)):
        assert odd(read, scan(values)) == odd(profile, scan(values))


def test_a_model_without_a_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="train anew"):
        CohortProfile.from_fitted({})


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1e6))
def test_no_value_of_the_training_is_outside_its_range(values: list[float], scale: float) -> None:
    usual = Range.of([Quantity(value, scale) for value in values])
    assert all(value in usual for value in values)
    width = usual.high - usual.low
    assert usual.high + 2 * max(width, scale) + 1 not in usual
