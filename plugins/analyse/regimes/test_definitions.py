"""The definitions of the regimes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from prunery_plugins.analyse.regimes.core import (
    OVERFIT,
    STABLE,
    UNSTABLE,
    falls,
    minimal_stable,
    regimes,
    safe_index,
    split_ratio,
)
from prunery_plugins.analyse.regimes.phases import three_phases


def test_minimal_stable_is_the_first_size_from_which_all_are_stable() -> None:
    mean = np.array([50.0, 90.0, 91.0, 92.0])
    assert minimal_stable(mean, np.array([9.0, 0.5, 0.5, 0.5]), 1, 5) == 1
    assert minimal_stable(mean, np.array([0.1, 0.5, 1.5, 0.5]), 1, 5) == 3  # a size that relapses counts
    assert minimal_stable(mean, np.array([9.0, 0.5, 0.5, 1.5]), 1, 5) == 4  # none
    assert minimal_stable(mean, np.array([0.1, 0.1, 0.1, 0.1]), 1, 1.5) == 2  # 90 is too far below 92
    assert minimal_stable(np.array([90.0]), np.array([0.5]), 1, 5) == 0
    assert minimal_stable(np.array([90.0]), np.array([np.nan]), 1, 5) == 1


def test_overfitting_is_a_fall_while_training_accuracy_does_not_fall() -> None:
    mean, std = np.array([60.0, 90.0, 89.0, 89.8]), np.full(4, 0.2)
    rising, falling = np.array([60.0, 95.0, 99.0, 100.0]), np.array([60.0, 95.0, 90.0, 94.0])
    assert falls(mean, rising).tolist() == pytest.approx([0, 0, 1.0, 0.2])
    assert falls(mean, falling).tolist() == [0, 0, 0, 0]
    assert falls(mean, np.full(4, np.nan)).tolist() == [0, 0, 0, 0]
    assert regimes(mean, std, rising, 1, 5, 0.5).tolist() == [UNSTABLE, STABLE, OVERFIT, STABLE]


def test_safe_pruning_ends_before_the_first_loss() -> None:
    assert safe_index(np.array([90.0, 89.5, 89.0, 88.9, 89.9]), 1.0) == 2
    assert safe_index(np.array([90.0, 80.0]), 1.0) == 0


def test_split_ratio_needs_both_sides() -> None:
    std = np.array([4.0, 2.0, 1.0, 0.5])
    assert split_ratio(std, np.array([10.0, 20.0, 30.0, 40.0]), 20) == pytest.approx(0.75 / 3)
    assert np.isnan(split_ratio(std, np.array([10.0, 20.0, 30.0, 40.0]), 40))


def test_three_phases_are_found_where_they_are() -> None:
    x = np.linspace(0, 1, 11)
    curves = np.stack([90 - 80 * np.clip((x - a) / (b - a), 0, 1) for a, b in ((0.5, 0.9), (0.3, 0.6), (0, 1))])
    found = three_phases(x, curves, rising=False)
    assert found.start.tolist() == pytest.approx([0.5, 0.3, 0])
    assert found.end.tolist() == pytest.approx([0.9, 0.6, 1])
    assert np.isnan(three_phases(x, curves, rising=True).start).all()
    assert np.isnan(three_phases(x, np.full(11, 90.0), rising=False).start)
