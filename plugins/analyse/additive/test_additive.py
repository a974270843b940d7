"""Spectra that are made to fall and to stay, and a network that is trained until they do."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results, Stage
from prunery.toyresults import ToyStudy

ADDITIVE = registry().get("analyse", "additive")
STEPS = 3


def made(seeds: int = 4, fitted: bool = True) -> Results:
    """The edge halves at every step, from 2; values of 8 + seed / 10 and 5 lose nothing and a tenth."""
    study = ToyStudy(seeds)
    study.dense("net", [90.0] * seeds, Stage({}, "", "spiked", {}, 10))
    for count in range(1, STEPS + 1):
        study.add("net", "/".join(["finetune=decayed"] * count), [90.0] * seeds)
    results = study.done()
    for step, path in enumerate(results.recipes):
        results.spectra[path, "mp"] = {str(seed): {"a.weight": _row(step, seed, fitted)} for seed in range(seeds)}
    return results


def _row(step: int, seed: int, fitted: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"fitted": fitted, "rows": 10, "columns": 40}
    values = [8 + seed / 10, 5 * 0.9**step]
    return found | ({"sigma_edge": 2 / 2**step, "largest": [value**2 / 40 for value in values]} if fitted else {})


def analysed(results: Results, recipe: str = f"(finetune=decayed)*{STEPS}", **settings: Any) -> Any:
    families = {"l2": {"bases": "net", "recipe": recipe, **settings.pop("family", {})}}
    return ADDITIVE(ADDITIVE.Settings.model_validate({"families": families, "spikes": 2, **settings})).analyse(results)


def test_edges_that_fall_and_spikes_that_stay() -> None:
    found = analysed(made())
    told = found.quantities
    assert told["l2/a.weight/edge_first"].value == pytest.approx(2)
    assert told["l2/a.weight/edge_last"].value == pytest.approx(0.25)
    assert told["l2/a.weight/edge_ratio"].high == pytest.approx(0.125)
    assert told["l2/a.weight/spike1_first"].value == pytest.approx(8.15)
    assert told["l2/a.weight/spike1_first"].low < 8.15 < told["l2/a.weight/spike1_first"].high
    assert told["l2/a.weight/spike1_ratio"].value == pytest.approx(1)
    assert told["l2/a.weight/spikes_kept"].value == pytest.approx(0.9**3)
    assert told["l2/a.weight/separation"].value == pytest.approx(0.9**3 / 0.125)
    assert told["l2/a.weight/edge_step"].value == pytest.approx(-0.5)
    assert told["l2/a.weight/spikes_step"].value == pytest.approx(0.1)
    assert found.figures[0].title == "l2/a.weight"
    assert len(found.tables[0].rows) == 1


def test_what_was_not_fitted_or_not_run() -> None:
    missing = analysed(made(fitted=False)).quantities["l2/a.weight/edge_ratio"]
    assert (missing.value, missing.reason) == (None, "the spectrum could not be fitted there")
    json.dumps(analysed(made(fitted=False)).model_dump(mode="json"), allow_nan=False)
    absent = analysed(made(), recipe="(finetune=decayed)*4")
    assert (absent.quantities, absent.notes[-1]) == (
        {},
        "Left out, since none of their networks was evaluated: l2.",
    )
    alone = analysed(made(seeds=1)).quantities["l2/a.weight/edge_ratio"]
    assert (alone.value, alone.reason) == (pytest.approx(0.125), "one seed gives no interval")


def test_every_network_on_the_way_is_read() -> None:
    method = ADDITIVE(
        ADDITIVE.Settings.model_validate({"families": {"l2": {"bases": "net", "recipe": "(finetune=a)*2"}}})
    )
    assert method.recipes() == ("net", "net/finetune=a", "net/finetune=a/finetune=a")
    assert method.measures()[-1] == "net/finetune=a/finetune=a/spectral_fit=mp"


def test_what_does_not_fit_is_one_line() -> None:
    with pytest.raises(PruneryError, match=r"families\.l2: no weight matches layers: b\*"):
        analysed(made(), family={"layers": "b*"})
    with pytest.raises(ValueError, match="stands for 2 recipes: make a family of each"):
        analysed(made(), recipe="finetune={a,b}")


def test_training_with_decay_takes_the_noise_and_leaves_the_spikes() -> None:
    """The theory in small: a linear map with planted spikes learns to be those spikes, with and without a penalty."""
    torch.manual_seed(0)
    width, fit = 120, registry().configured("spectral_fit", "mp", {}).fit
    left, right = (torch.linalg.qr(torch.randn(width, 2)).Q for _ in range(2))
    target = (left * torch.tensor([6.0, 5.0])) @ right.T
    inputs = torch.randn(600, 2) @ right.T  # the data say nothing of other directions
    ratios = {}
    for decay in (0.0, 0.02):
        weight = (target + torch.randn(width, width) / width**0.5).requires_grad_()
        first = fit(weight.detach())
        descent = torch.optim.SGD([weight], lr=0.5)
        for _ in range(200):
            descent.zero_grad()
            loss = 100 * (inputs @ (weight - target).T).square().mean() + decay * weight.square().sum()
            loss.backward()
            descent.step()
        last = fit(weight.detach())
        ratios[decay] = last["sigma_edge"] / first["sigma_edge"], (last["largest"][1] / first["largest"][1]) ** 0.5
    assert ratios[0.0][0] == pytest.approx(1, abs=0.02)
    assert ratios[0.02][0] < 0.1
    assert ratios[0.02][1] > 0.8
