"""The spectral fit stage: which matrices a method sees, and what it may answer."""

from typing import Any

import pytest
import torch
from torch import nn

from prunery import PruneryError, SpectralFitter
from prunery.attention import attention_parts
from prunery.layers import as_matrix, weights
from prunery.spectral_fit import fit_network, spectral_fit
from prunery.toys import toy_checkpoint


class Shape(SpectralFitter):
    name = "shape"

    def fit(self, matrix: Any) -> dict[str, Any]:
        return {"shape": list(matrix.shape), "sum": float(matrix.sum())}


class ByHead(SpectralFitter):
    name = "by_head"
    split = "heads"

    def fit(self, matrix: Any) -> dict[str, Any]:
        return {"shape": list(matrix.shape), "sum": float(matrix.sum())}


class Attention(nn.Module):
    """A block as in vision transformers; its heads are 4 wide."""

    def __init__(self, fused: bool, heads: int = 3) -> None:
        super().__init__()
        self.num_heads = heads
        if fused:
            self.qkv = nn.Linear(10, 36)
        else:
            self.query, self.key, self.value = (nn.Linear(10, 12) for _ in range(3))
        self.proj = nn.Linear(12, 10)


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


def test_fused_weights_are_read_by_projection_and_head():
    torch.manual_seed(0)
    network = nn.Sequential(Attention(fused=True))
    found = fit_network(ByHead(), network)
    kinds = [f"0.qkv.weight[{kind}]" for kind in "qkv"]
    heads = [f"{kind}.{head}" for kind in kinds for head in range(3)]
    assert set(found) == {*weights(network), *kinds, *heads}
    assert found["0.proj.weight"]["place"] == 1
    query, key, value = weights(network)["0.qkv.weight"].split(12)
    assert found["0.qkv.weight[k]"] == {"place": 0, "shape": [12, 10], "sum": pytest.approx(float(key.sum()))}
    assert found["0.qkv.weight[v].2"] == {"place": 0, "shape": [4, 10], "sum": pytest.approx(float(value[8:].sum()))}
    assert found["0.qkv.weight[q].0"] == {"place": 0, "shape": [4, 10], "sum": pytest.approx(float(query[:4].sum()))}


def test_separate_weights_have_heads_and_no_projections():
    network = nn.Sequential(Attention(fused=False))
    assert attention_parts(network, "projections") == {}
    found = attention_parts(network, "heads")
    assert list(found)[:4] == ["0.query.weight.0", "0.query.weight.1", "0.query.weight.2", "0.key.weight.0"]
    assert found["0.value.weight.2"] == ("0.value.weight", slice(8, 12))


def test_heads_that_do_not_divide_the_rows_and_other_networks_have_no_parts():
    assert list(attention_parts(Attention(fused=True, heads=5), "heads")) == [f"qkv.weight[{kind}]" for kind in "qkv"]
    assert attention_parts(toy_checkpoint((0,)).networks[0], "heads") == {}
    assert attention_parts(Attention(fused=True), "whole") == {}


def test_timms_attention_has_parts():
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_vit", pretrained=False)
    matrices = {key: as_matrix(weight) for key, weight in weights(network).items()}
    found = attention_parts(network, "heads")
    block = network.blocks[0].attn
    assert len([name for name in found if name.startswith("blocks.0.")]) == 3 + 3 * block.num_heads
    key, rows = found["blocks.0.attn.qkv.weight[k].1"]
    dim = block.head_dim
    assert torch.equal(matrices[key][rows], block.qkv.weight[block.qkv.weight.shape[0] // 3 + dim :][:dim])
