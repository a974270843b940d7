"""The spectral fit stage: which matrices a method sees, and what it may answer."""

from typing import Any

import pytest
import torch

from prunery import PruneryError, SpectralFitter
from prunery.spectral_fit import fit_network, spectral_fit
from prunery.toys import toy_checkpoint


class Shape(SpectralFitter):
    name = "shape"

    def fit(self, matrix: Any) -> dict[str, Any]:
        return {"shape": list(matrix.shape), "sum": float(matrix.sum())}


class Unfit(SpectralFitter):
    name = "unfit"

    def fit(self, matrix: Any) -> dict[str, Any]:
        return {"edge": float("nan")}


def test_rows_by_seed_and_key_with_kernels_as_matrices():
    checkpoint = toy_checkpoint((3, 5))
    found = spectral_fit(Shape(), checkpoint)
    assert list(found) == [3, 5]
    assert {key: row["shape"] for key, row in found[3].items()} == {
        "0.weight": [8, 9], "2.weight": [8, 72], "5.weight": [16, 32], "7.weight": [4, 16],
    }  # fmt: skip
    weight = checkpoint.replicas[5].network.get_parameter("2.weight").detach()
    assert found[5]["2.weight"]["sum"] == pytest.approx(float(weight.sum()), abs=1e-6)


def test_threads_are_as_before():
    before = torch.get_num_threads()
    fit_network(Shape(), toy_checkpoint((0,)).networks[0])
    assert torch.get_num_threads() == before


def test_rows_that_are_not_json_are_refused():
    with pytest.raises(PruneryError, match=r"'unfit': its row of 0\.weight is not JSON"):
        spectral_fit(Unfit(), toy_checkpoint((0,)))
