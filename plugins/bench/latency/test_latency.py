"""The order of calls, and times of sleeps."""

import time
from functools import partial
from itertools import permutations

import pytest
from prunery_plugins.bench.latency.core import interleaved

from prunery.registry import registry


def test_calls_take_turns_and_warm_up_is_left_out():
    order = []
    calls = [partial(order.append, letter) for letter in "ndt"]
    times = interleaved(calls, rounds=6, warmup=2, seconds=100, shortest=0)
    assert [len(rounds) for rounds in times] == [6, 6, 6]
    assert "".join(order[:9]) == "ndt" * 3  # warm-up, then how long one call is
    rounds = ["".join(order[at : at + 3]) for at in range(9, 27, 3)]
    assert sorted(rounds) == sorted(map("".join, permutations("ndt")))


def test_times_are_those_of_one_call():
    network, dense = interleaved([lambda: time.sleep(0.002), lambda: time.sleep(0.006)], 5, 1, 100, 0.01)
    assert min(network) == pytest.approx(0.002, rel=0.5)
    assert min(dense) == pytest.approx(0.006, rel=0.5)


def test_short_calls_are_repeated():
    count = [0, 0]

    def call(place):
        count[place] += 1

    interleaved((lambda: call(0), lambda: time.sleep(0.001)), 5, 1, 100, shortest=0.002)
    assert count[0] > 100


def test_the_budget_ends_the_rounds_but_not_before_five():
    slow = lambda: time.sleep(0.01)  # noqa: E731
    assert len(interleaved((slow, slow), 100, 1, seconds=0.001, shortest=0)[0]) == 5
    assert 5 <= len(interleaved((slow, slow), 100, 1, seconds=0.3, shortest=0)[0]) < 30


def test_settings_reach_the_loop():
    method = registry().configured("bench", "latency", {"rounds": 7, "warmup": 1, "shortest": 0})
    network, dense = method.times([lambda: None, lambda: None])
    assert len(network) == len(dense) == 7
