"""The stage `prune`, for methods that train before they choose: over-prune, train what went, bring back the best."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from prunery.batching import batch_sizes
from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import Learner, Measured, Selector
from prunery.data import Dataset
from prunery.edits import add_masks, mask_edit
from prunery.errors import PruneryError
from prunery.history import Progress
from prunery.layers import layer_of, weights
from prunery.leftout import explaining
from prunery.network import architecture
from prunery.prune import MASK, check_masks, check_measured, check_network, check_untouched, generator_of
from prunery.reservoir import reservoir_weights, with_reservoir
from prunery.selection import Selection, length
from prunery.training import fit

Weights = dict[str, Tensor]


def select(
    method: Selector, parent: Checkpoint, dataset: Dataset, measured: Mapping[int, Measured], progress: Progress
) -> dict[int, Replica]:
    """Prune every replica of a checkpoint by what its reservoir learns; the parent is left as it was.

    `measured` holds, by seed, what `method.needs()` asks for. Reservoirs of several replicas are trained together where
    the family allows it.
    Raises `PruneryError` as `prunery.prune.prune` does, and if a reservoir's loss does not stay finite.
    """
    trials = {seed: _trial(method, one, measured.get(seed, {}), seed) for seed, one in parent.replicas.items()}
    _train(method.learner(), trials, parent, dataset, progress)
    return {seed: _selected(method, trial, measured.get(seed, {}), seed) for seed, trial in trials.items()}


@dataclass
class _Trial:
    """One replica on its way. `after` is what the training of the reservoir made of the weights `before`."""

    parent: Replica
    kept: Weights
    before: Weights
    after: Weights

    @property
    def trained(self) -> int:
        """How many weights the reservoir has."""
        return sum(int((~mask).sum()) for mask in self.kept.values())

    @property
    def share(self) -> float:
        """The reservoir's share of all compressible weights."""
        return self.trained / sum(weight.numel() for weight in weights(self.parent.network).values())


def _who(method: Selector, seed: int) -> str:
    return f"prune method {method.name!r}, seed {seed}"


def _trial(method: Selector, parent: Replica, measured: Measured, seed: int) -> _Trial:
    """What a method takes away at first; weights that are frozen at zero go with it."""
    who = _who(method, seed)
    check_network(parent.network, who)
    check_measured(method, measured, who)
    shown = {key: weight.clone() for key, weight in weights(parent.network).items()}
    with explaining(parent.network):
        kept = method.trial(shown, measured, generator_of(seed))
    check_masks(kept, shown, who)
    check_untouched(shown, weights(parent.network), who)
    for key in kept:
        frozen = layer_of(parent.network, key)._buffers.get(MASK)
        kept[key] = kept[key] if frozen is None else kept[key] & frozen
    before = {key: weight.masked_fill(~kept[key], 0) if key in kept else weight for key, weight in shown.items()}
    return _Trial(parent, kept, before, before)


def _train(
    learner: Learner, trials: Mapping[int, _Trial], parent: Checkpoint, dataset: Dataset, progress: Progress
) -> None:
    """Fill in the `after` of every trial that has a reservoir.

    How long a reservoir is trained may depend on its size: those of one length are trained together.
    """
    groups: dict[float, list[int]] = {}
    for seed, trial in trials.items():
        if trial.trained:
            groups.setdefault(trial.share, []).append(seed)
    for share, seeds in groups.items():
        scheduled, shown = _scheduled(learner, dataset, share)
        _fit(scheduled, {seed: trials[seed] for seed in seeds}, parent, shown, progress)


def _scheduled(learner: Learner, dataset: Dataset, share: float) -> tuple[Learner, Dataset]:
    """The recipe with as many epochs as it wants for a reservoir of that share, and the samples it then sees."""
    if not isinstance(learner, Selection):
        return learner, dataset
    settings = learner.settings
    sizes = batch_sizes(len(dataset.train), settings.batch_size, settings.drop_last)
    epochs, batches = length(settings, len(sizes), share)
    seen = dataset.train.drawn(batches * settings.batch_size, settings.seed_offset)
    return Selection(settings.model_copy(update={"epochs": epochs})), replace(dataset, train=seen)


def _fit(learner: Learner, trials: Mapping[int, _Trial], parent: Checkpoint, seen: Dataset, progress: Progress) -> None:
    networks = {seed: with_reservoir(trial.parent.network, trial.kept) for seed, trial in trials.items()}
    teachers: dict[int, nn.Module] = {seed: copy.deepcopy(trial.parent.network) for seed, trial in trials.items()}
    edits = [trial.parent.edits for trial in trials.values()]
    batched = architecture(parent.origin).batched and all(one == edits[0] for one in edits)
    told = teachers if learner.teacher else None
    outcome = fit(learner, networks, seen, batched, lambda line: progress(f"reservoir: {line}"), told)
    if outcome.diverged:
        seed, epoch = next(iter(outcome.diverged.items()))
        raise PruneryError(
            f"the loss of seed {seed} is not finite in epoch {epoch} of the selection phase: lower 'learning_rate' "
            f"(now {learner.settings.learning_rate:g}) or set 'clip_norm' in the prune settings"
        )
    for seed, trial in trials.items():
        trial.after = {**trial.before, **reservoir_weights(networks[seed], trial.kept)}


def _selected(method: Selector, trial: _Trial, measured: Measured, seed: int) -> Replica:
    """The replica with the masks that a method chooses in the end."""
    who = _who(method, seed)
    masks = method.select(trial.before, trial.after, trial.kept, measured, generator_of(seed))
    check_masks(masks, trial.before, who)
    _check_kept(masks, trial.kept, who)
    network = copy.deepcopy(trial.parent.network)
    fresh = [key for key in masks if MASK not in layer_of(network, key)._buffers]
    add_masks(network, mask_edit(fresh))
    came_back = trial.after if method.keeps_trained else weights(trial.parent.network)
    for key, mask in masks.items():
        _apply(layer_of(network, key), mask, trial.kept.get(key), came_back[key])
    return Replica(network, [*trial.parent.edits, mask_edit(fresh)] if fresh else list(trial.parent.edits))


def _check_kept(masks: Mapping[str, Tensor], kept: Mapping[str, Tensor], who: str) -> None:
    """What was not in the reservoir has not been on trial."""
    for key, mask in kept.items():
        if key not in masks or bool((mask & ~masks[key]).any()):
            raise PruneryError(f"{who}: it drops weights of {key} that its trial kept: mend the method")


@torch.no_grad()
def _apply(layer: nn.Module, mask: Tensor, kept: Tensor | None, came_back: Tensor) -> None:
    """Set the mask, and the values of what came back; a layer that was not on trial only loses weights."""
    frozen, weight = layer.get_buffer(MASK), layer.get_parameter("weight")
    frozen.copy_(mask if kept is not None else mask & frozen)
    if kept is not None:
        weight.copy_(torch.where(kept, weight, came_back))
    weight.masked_fill_(~frozen, 0)
