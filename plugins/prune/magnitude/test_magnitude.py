"""Numbers of magnitude pruning against sorting by hand."""

import pytest
import torch
from prunery_plugins.prune.magnitude.core import magnitude_scores

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.sparsity import keep_highest


def masks(weights, **settings):
    method = registry().configured("prune", "magnitude", settings)
    return method.masks(weights, {}, torch.Generator())


def naive(weights, sparsity):
    """Sort (|w|, layer, position) as Python tuples and drop from the front."""
    entries = [
        (abs(value), order, position)
        for order, weight in enumerate(weights.values())
        for position, value in enumerate(weight.flatten().tolist())
    ]
    keep = {key: torch.ones(weight.numel(), dtype=torch.bool) for key, weight in weights.items()}
    keys = list(weights)
    for _, order, position in sorted(entries)[: int(sparsity * len(entries))]:
        keep[keys[order]][position] = False
    return {key: flat.reshape(weights[key].shape) for key, flat in keep.items()}


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(7)
    drawn = {
        "a.weight": torch.randn(6, 5, generator=generator),
        "b.weight": torch.randn(4, 3, 3, 3, generator=generator),
    }
    return {key: weight.mul(4).round().div(4) for key, weight in drawn.items()}  # a coarse grid: many ties and zeros


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.33, 0.5, 0.9, 0.999])
def test_global_scope_is_a_sort(weights, sparsity):
    found, wanted = masks(weights, sparsity=sparsity), naive(weights, sparsity)
    assert all(torch.equal(found[key], wanted[key]) for key in weights)


def test_layer_scope_is_a_sort_of_each_layer(weights):
    found = masks(weights, sparsity=0.4, scope="layer")
    for key, weight in weights.items():
        assert torch.equal(found[key], naive({key: weight}, 0.4)[key])
        assert int((~found[key]).sum()) == int(0.4 * weight.numel())


def test_profile_by_order_by_key_and_by_pattern(weights):
    by_order = masks(weights, scope="profile", profile=[0.2, 0.5])
    assert [int((~mask).sum()) for mask in by_order.values()] == [6, 54]
    by_key = masks(weights, scope="profile", profile={"b.*": 0.5}, sparsity=0.2)
    assert all(torch.equal(by_key[key], by_order[key]) for key in weights)


def test_the_lowest_position_goes_first_among_equals():
    found = keep_highest(magnitude_scores({"a": torch.tensor([1.0, -1.0, 1.0]), "b": torch.tensor([1.0, 0.0])}), 0.6)
    assert found["a"].tolist() == [False, False, True]
    assert found["b"].tolist() == [True, False]


def test_excluded_layers_leave_the_denominator(weights):
    found = masks(weights, sparsity=0.5, exclude=["a.*"])
    assert list(found) == ["b.weight"]
    assert int((~found["b.weight"]).sum()) == 54


def test_everything_may_go(weights):
    masks = registry().configured("prune", "magnitude", {"sparsity": 1.0}).masks(weights, {}, None)
    assert not any(mask.any() for mask in masks.values())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"exclude": ["c.weight"]}, "unknown weight 'c.weight'"),
        ({"exclude": ["*"]}, "leaves no layer"),
        ({"scope": "profile", "profile": [0.5]}, "1 shares for 2 layers"),
        ({"scope": "profile", "profile": {"z": 0.5}}, "unknown weight 'z'"),
        ({"scope": "profile"}, "give both or neither"),
        ({"profile": [0.5, 0.5]}, "give both or neither"),
        ({"sparsity": 1.1}, "less than or equal to 1"),
    ],
)
def test_mistakes_are_named(weights, settings, said):
    with pytest.raises(PruneryError, match=said.replace("*", r"\*")):
        masks(weights, **settings)


def curve(losses, shares=(0.2, 0.5, 0.9), macs=1):
    row = {"dense_loss": 1.0, "loss": losses, "share": shares, "weights": 0, "macs": macs}
    return {name: torch.tensor(value) for name, value in row.items()}


def test_sensitive_layers_give_less_and_the_total_is_met_exactly(weights):
    rows = {"a.weight": curve([1.0, 1.0, 2.0]), "b.weight": curve([1.5, 3.0, 9.0], macs=7)}
    method = registry().configured("prune", "magnitude", {"scope": "sensitivity", "sparsity": 0.25})
    assert method.needs() == ("calibrate=sensitivity",)
    found = method.masks(weights, {"sensitivity": rows}, torch.Generator())
    dropped = {key: int((~mask).sum()) for key, mask in found.items()}
    # 34 of 138 weights: the first 15 of a cost nothing; then a weight of b (0.5 nats / 22) is cheaper than one of a
    assert dropped == {"a.weight": 15, "b.weight": 19}
    for key, count in dropped.items():
        assert torch.equal(found[key], naive({key: weights[key]}, (count + 0.5) / weights[key].numel())[key])


def test_a_share_of_the_multiplications(weights):
    rows = {"a.weight": curve([1.0, 1.0, 2.0]), "b.weight": curve([1.0, 1.1, 9.0], macs=7)}
    settings = {"scope": "sensitivity", "sparsity": 0.5, "cost": "macs", "allocation": "mine"}
    method = registry().configured("prune", "magnitude", settings)
    assert method.needs() == ("calibrate=mine",)
    found = method.masks(weights, {"mine": rows}, torch.Generator())
    shares = {key: float((~mask).double().mean()) for key, mask in found.items()}
    assert shares == {"a.weight": pytest.approx(0.5), "b.weight": pytest.approx(0.5)}


def test_scopes_without_measurements_need_none(weights):
    assert registry().configured("prune", "magnitude", {}).needs() == ()
    with pytest.raises(PruneryError, match=r"let the method's `needs` answer `settings.reads`"):
        masks(weights, scope="sensitivity")
