"""One network's layers on trial: their budgets, and the inequalities that speak of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.layers import layer_of

from . import inequalities as theory
from .exact import exact_reach
from .gaussian import gaussian, largest
from .inequalities import Chain, Course, Penalty, Verdict
from .parts import Parts
from .segment import Segment, segments

Figures = dict[str, float]
SAMPLED = "_sampled"
"""Behind the name of every figure that rests on a constant which is only known from below."""


@dataclass(frozen=True)
class Certified:
    """What is known of one layer: whether its constants are exact, and figures without that word behind their names."""

    exact: bool
    figures: Figures
    verdicts: dict[int, Verdict]

    @property
    def told(self) -> Figures:
        """All figures, by their names."""
        return named(self.figures | spelled(self.verdicts), self.exact)


@dataclass(frozen=True)
class Judge:
    """The dense network and the samples, and what is asked of them."""

    network: nn.Module
    inputs: Tensor
    labels: Int[Tensor, " samples"]
    settings: Any

    @property
    def penalty(self) -> Penalty:
        """That of the objective."""
        return Penalty(self.settings.l2, self.settings.l1)

    def layer(self, key: str, parts: Parts) -> Certified | None:
        """One layer by itself, all others dense; None where the theorems do not speak of it."""
        lines = self._lines(self.network, key, parts.removed)
        if lines is None:
            return None
        exact, course = self._course(lines)
        moved = torch.cat([largest(line.step, line) for line in lines])
        lipschitz = torch.where(moved > 0, course.reach / moved, 0.0)
        drawn = (self.settings.draws, self.settings.delta, self.settings.seed)
        verdicts = {1: theory.loss_bound(course), 2: theory.margin_bound(course)}
        verdicts[3] = theory.frobenius(course, parts.kept, parts.removed, self.settings.l2)
        verdicts[8], noise = gaussian(lines, lipschitz, parts.removed, drawn)
        rise = abs(float(course.rises[int(course.thetas.argmin())].mean()))
        figures = {
            "budget": course.budget,
            "spent": rise / course.budget if course.budget else 0.0,
            "lipschitz": float(lipschitz.sum()) / max(1, int((moved > 0).sum())),
            "certain": float(theory.certain(course).double().mean()),
            "gaussian_budget": noise,
        }
        found = Certified(exact, figures, verdicts)
        return self._masked(key, parts, course, found) if parts.is_mask else found

    def _masked(self, key: str, parts: Parts, course: Course, found: Certified) -> Certified:
        """What only holds where every weight was either kept or removed."""
        removed, penalty = parts.removed, self.penalty
        all_pruned = parts.over_pruned(self.settings.restore)
        lines = self._lines(self.network, key, all_pruned.removed)
        assert lines is not None
        exact, other = self._course(lines)
        restored = all_pruned.removed - removed
        verdicts = {
            4: theory.elastic_net(course, parts.kept, removed, penalty),
            5: theory.restoring(course, other, (all_pruned.kept, restored, removed), penalty),
            6: theory.stationarity(course, parts.kept, removed, penalty),
            9: theory.elastic_net(course, parts.kept, removed, self._weighted(removed)),
        }
        gain = theory.restoration_gain(course, other, restored, penalty)
        figures = {"restoration_gain": gain, "certified": float(course.budget < penalty.of(removed))}
        return Certified(found.exact and exact, found.figures | figures, found.verdicts | verdicts)

    def _weighted(self, removed: Tensor) -> Penalty:
        """Factors per weight, drawn evenly between zero and twice the settings."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        drawn = [torch.rand(removed.shape, generator=generator, dtype=removed.dtype) for _ in range(2)]
        l2, l1 = (2 * factors.to(removed.device) for factors in drawn)
        return Penalty(self.settings.l2 * l2, self.settings.l1 * l1)

    def sequence(self, changed: dict[str, Parts], network: nn.Module) -> dict[str, float]:
        """The layers pruned one after the other, and how far the last logits lie from the compressed network's."""
        pruned, exact = copy.deepcopy(self.network), True
        reach = torch.zeros(len(self.labels), dtype=torch.float64, device=self.labels.device)
        fallen = saved = 0.0
        penalty = self.penalty if all(parts.is_mask for parts in changed.values()) else Penalty(self.settings.l2, 0.0)
        for key, parts in changed.items():
            lines = self._lines(pruned, key, parts.removed)
            assert lines is not None
            known, steps = self._reach(lines)
            reach, exact = reach + steps, exact and known
            weight = layer_of(pruned, key).get_parameter("weight")
            fallen += penalty.of(weight.detach()) - penalty.of(parts.kept)
            saved += penalty.saved(parts.removed, 0.0)
            saved += 2 * self.settings.l2 * float((parts.kept * parts.removed).sum())
            weight.data.copy_(parts.kept)
        chain = Chain(self._logits(self.network), self._logits(pruned), self.labels, reach, fallen, saved)
        figures = {"budget": 2 * float(reach.mean()), "certain": self._certain(chain)}
        told = named(figures | spelled({7: theory.layer_by_layer(chain)}), exact)
        gap = float((self._logits(network) - chain.end).abs().max())
        return told | {"loss_change": float(chain.rise.mean()), "gap": gap}

    @staticmethod
    def _certain(chain: Chain) -> float:
        return float((theory.predicted_margin(chain.start) > 2 * chain.reach).double().mean())

    def _logits(self, network: nn.Module) -> Float[Tensor, "samples classes"]:
        inputs, own = self.inputs, next((value.dtype for value in network.parameters()), torch.float32)
        if inputs.is_floating_point():
            inputs = inputs.to(own if own == torch.float64 else torch.float32)
        return torch.cat([network(block) for block in inputs.split(self.settings.batch)]).double()

    # --- along one layer's lines -------------------------------------------------------------------------------------

    def _lines(self, network: nn.Module, key: str, removed: Tensor) -> list[Segment] | None:
        found = []
        for line in segments(network, layer_of(network, key), self.inputs, removed, self.settings.batch):
            if line is None:
                return None
            found.append(line)
        return found

    def _reach(self, lines: list[Segment]) -> tuple[bool, Float[Tensor, " samples"]]:
        """By how much logits may move at most, and whether that is exact: if not, it is a lower bound."""
        found = []
        for line in lines if self.settings.pieces else []:
            if (reach := exact_reach(line, self.settings.pieces)) is None:
                break
            found.append(reach)
        if len(found) == len(lines):
            return True, torch.cat(found)
        return False, torch.cat([line.sampled_reach(self.settings.secants) for line in lines])

    def _course(self, lines: list[Segment]) -> tuple[bool, Course]:
        exact, reach = self._reach(lines)
        thetas = reach.new_tensor(sorted({0.0, *self.settings.thetas}))
        logits = torch.cat([line.logits(torch.cat([thetas, thetas.new_ones(1)])) for line in lines], dim=1)
        blocks = zip(lines, self.labels.split(self.settings.batch), strict=True)
        slope = torch.cat([line.slope(labels) for line, labels in blocks])
        return exact, Course(thetas, logits[:-1], logits[-1], self.labels, reach, slope)


def named(figures: Figures, exact: bool) -> Figures:
    """Figures under names that say so where they rest on a sampled constant."""
    return {f"{name}{'' if exact else SAMPLED}": value for name, value in figures.items()}


def spelled(verdicts: dict[int, Verdict]) -> Figures:
    """Verdicts as `holds_1`, `slack_1` and so on."""
    found: Figures = {}
    for number, verdict in verdicts.items():
        found |= {f"holds_{number}": float(verdict.holds), f"slack_{number}": verdict.slack}
    return found
