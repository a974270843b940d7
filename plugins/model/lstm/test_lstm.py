"""The LSTM: against PyTorch's own, padding, replicas side by side."""

import pytest
import torch
from prunery_plugins.model.lstm.core import LstmLayer
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from prunery.data import Spec
from prunery.layers import weights
from prunery.registry import registry
from prunery.sizes import sizes

TEXT, IMAGE = Spec("text", (12,), 5, 40), Spec("image", (3, 8, 6), 10)


def model(**settings):
    return registry().configured("model", "lstm", settings)


def texts(*shape):
    return torch.randint(1, 40, (*shape, 12))


def test_a_layer_is_torchs_lstm():
    layer, reference = LstmLayer(3, 4, 1.0), nn.LSTM(3, 4, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(layer.input.weight)
        reference.weight_hh_l0.copy_(layer.recurrent.weight)
        reference.bias_ih_l0.copy_(layer.input.bias)
        reference.bias_hh_l0.zero_()
    sequence = torch.randn(2, 7, 3)
    torch.testing.assert_close(layer(sequence, torch.ones(2, 7, dtype=torch.bool)), reference(sequence)[0])


def test_forget_gates_start_open():
    bias = model(hidden=8, forget_bias=2.0).build(TEXT).layers[0].input.bias
    assert bias[8:16].tolist() == [2.0] * 8
    assert float(bias[:8].detach().abs().max()) <= 8**-0.5


def test_padding_does_not_change_the_answer():
    network, tokens = model(layers=2).build(TEXT), texts(3)
    padded = tokens.clone()
    padded[:, 5:] = 0
    torch.testing.assert_close(network(padded), network(tokens[:, :5]))
    assert not torch.allclose(network(padded), network(tokens))


def test_counts_and_compressible_weights():
    network = model(embedding=6, hidden=4, layers=2, classifier=[7]).build(TEXT)
    assert list(weights(network)) == [
        *(f"layers.{n}.{name}.weight" for n in (0, 1) for name in ("input", "recurrent")),
        "classifier.0.weight",
        "classifier.2.weight",
    ]
    figures = sizes(network, TEXT)
    assert figures["parameters"] == 40 * 6 + (6 * 16 + 16 + 4 * 16) + (4 * 16 + 16 + 4 * 16) + 35 + 40
    assert figures["macs"] == 12 * (6 * 16 + 3 * 4 * 16) + 28 + 35


def test_images_are_read_row_by_row():
    network, image = model().build(IMAGE), torch.randn(1, 3, 8, 6)
    rows, real = network.reader(image)
    assert rows.shape == (1, 8, 18)
    assert torch.equal(rows[0, 2], image[0, :, 2].flatten())
    assert bool(real.all())


@pytest.mark.parametrize("spec", [TEXT, IMAGE])
def test_stacked_replicas_answer_as_each_alone(spec):
    architecture = model(hidden=5, layers=2)
    assert architecture.batched
    networks = [architecture.build(spec) for _ in range(3)]
    inputs = texts(3, 4) if spec.kind == "text" else torch.randn(3, 4, *spec.shape)
    together = vmap(lambda values, x: functional_call(networks[0], values, (x,)))(stack_module_state(networks), inputs)
    alone = torch.stack([network(x) for network, x in zip(networks, inputs, strict=True)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(alone[0], alone[1])
