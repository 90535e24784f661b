from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.data.images import write_png
from hitsr.data.packs import packed_pairs
from hitsr.measure.quality import score_folders
from hitsr.training.validation import validator
from hitsr.upscaling.inference import upscale
from hitsr.upscaling.restoration import restore


class Nearest(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2) * self.gain


def test_validation_gives_the_score_of_the_restored_pictures(tmp_path: Path):
    random = np.random.default_rng(0)
    for name in "ab":
        write_png(tmp_path / "HR" / f"{name}.png", random.integers(0, 256, (33, 40, 3), np.uint8))
        lr = random.integers(0, 256, (16, 20, 3), np.uint8)
        write_png(tmp_path / "LR_bicubic" / "X2" / f"{name}x2.png", lr)
    restore(Nearest(), tmp_path, 2, tmp_path / "sr", quiet=True)
    scores = [s.psnr_db for s in score_folders(tmp_path / "sr", tmp_path / "HR", 2, quiet=True)]
    validate = validator(packed_pairs(tmp_path, 2, tmp_path / "packs", quiet=True), 2, upscale)
    assert validate(Nearest()) == pytest.approx(sum(scores) / 2)
