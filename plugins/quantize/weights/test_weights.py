"""Which layer takes which format; the rounding is tested where it is written (`tests/test_weightonly.py`)."""

import pytest
import torch

from prunery.errors import PruneryError
from prunery.registry import registry

SHOWN = {key: torch.randn(4, 32, generator=torch.Generator().manual_seed(0)) for key in ("a", "b1", "b2", "c")}


def formats(amount=None, **settings):
    method = registry().configured("quantize", "weights", settings, amount)
    return {key: plan.format for key, plan in method.plan(SHOWN, {}).items()}


def test_the_narrower_setting_counts():
    assert formats() == dict.fromkeys(SHOWN, "int8")
    assert formats(format="int4", first_last="fp16") == {"a": "fp16", "b1": "int4", "b2": "int4", "c": "fp16"}
    chosen = formats(
        format="int4", first_last="fp16", formats={"b*": "bf16", "b2": "int8", "c": "fp32"}, exclude=("a",)
    )
    assert chosen == {"b1": "bf16", "b2": "int8"}


@pytest.mark.parametrize(("amount", "wanted"), [(4, "int4"), (8, "int8"), (16, "fp16")])
def test_an_amount_is_a_number_of_bits(amount, wanted):
    assert set(formats(amount).values()) == {wanted}


def test_groups_reach_the_plans():
    plans = registry().configured("quantize", "weights", {"format": "int4", "group": 16}).plan(SHOWN, {})
    assert plans["a"].group == 16
    assert plans["a"].scale.shape == (4, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "int3"}, "setting 'format'"),
        ({"clip": 0}, "setting 'clip'"),
        ({"group": 8}, "setting 'group'"),
        ({"group": 48}, "setting 'group'.*powers of two"),
        ({"formats": {"a": "int2"}}, "setting 'formats"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(PruneryError, match=message):
        registry().configured("quantize", "weights", settings)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(PruneryError, match="'d'"):
        formats(formats={"d": "int4"})
    with pytest.raises(PruneryError, match="exclude"):
        formats(exclude=("*",))
