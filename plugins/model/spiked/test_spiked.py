"""Spiked layers: singular values against random matrix theory, structure, mistakes."""

import math

import pytest
import torch
from prunery_plugins.model.spiked.core import spiked_weight

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.registry import registry

DIGITS = Spec("image", (1, 8, 8), 10)


def model(**settings):
    return registry().configured("model", "spiked", settings)


def test_spikes_stand_where_theory_puts_them():
    """Of square noise the bulk ends at 2 sqrt(g), and a spike of strength a appears at sqrt(g) (a + 1 / a)."""
    torch.manual_seed(0)
    g = 2.0
    values = torch.linalg.svdvals(spiked_weight(800, (5, 3, 0.5), g)) / math.sqrt(g)
    assert values[:2].tolist() == pytest.approx([5 + 1 / 5, 3 + 1 / 3], rel=0.02)
    assert float(values[2]) == pytest.approx(2, rel=0.02)  # 0.5 is lost in the bulk


def test_noise_and_structure_by_themselves():
    torch.manual_seed(0)
    assert torch.linalg.svdvals(spiked_weight(40, (3, 2), 0))[:3].tolist() == pytest.approx([3, 2, 0], abs=1e-5)
    noise = spiked_weight(500, (), 4.0)
    assert float(noise.std()) == pytest.approx(math.sqrt(4 / 500), rel=0.01)


def test_layers_and_their_sizes():
    torch.manual_seed(0)
    network = model(width=20, layers=2).build(DIGITS)
    shapes = {key: tuple(value.shape) for key, value in network.named_parameters() if key.endswith("weight")}
    assert shapes == {
        "fc.weight": (20, 64), "spiked1.weight": (20, 20), "spiked2.weight": (20, 20), "output.weight": (10, 20)
    }  # fmt: skip
    assert not any(value.any() for key, value in network.named_parameters() if key.endswith("bias"))
    first, second = (network.get_parameter(f"spiked{number}.weight") for number in (1, 2))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 2, "strengths": [3, 2, 1]}, "3 strengths are more than the width 2 has room for"),
        ({"strengths": [0]}, "strengths"),
        ({"g": -1}, "g"),
        ({"layers": 0}, "layers"),
    ],
)
def test_mistakes_are_named(settings, said):
    with pytest.raises(PruneryError, match=said):
        model(**settings)


def test_texts_are_refused():
    with pytest.raises(PruneryError, match="model 'spiked' wants images"):
        model().build(Spec("text", (8,), 2, 100))
