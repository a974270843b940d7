"""What a method is: one frozen settings object and one abstract class per stage.

Importing this module imports no torch: it is read while the Snakefile is parsed. Methods import torch inside the
functions that need it, or in a `core.py` beside them.

Vocabulary: a *network* is a `torch.nn.Module` called with one tensor (images: float `[B, C, H, W]`, already
normalised; text: int64 token ids `[B, L]`, padding 0) that returns logits `[B, classes]`. A *key* names a parameter,
as in the state dict (`blocks.0.fc1.weight`). *Compressible* are the weights of `Linear` and `Conv2d` layers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from prunery.measuring import (
    Analyser,
    Backend,
    Bencher,
    BenchSettings,
    CalibrationSettings,
    Calibrator,
    Evaluator,
    SpectralFitter,
)
from prunery.method import Method, Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from prunery.data import Dataset, Spec
    from prunery.integer import IntegerPlan

# What a need is called (`activations`, `mp`) -> key of the weight -> what was measured of it.
Measured = Mapping[str, Mapping[str, Mapping[str, Any]]]


# --- where networks and data come from -------------------------------------------------------------------------------


class DataSource(Method):
    """A labelled data set with three fixed splits."""

    stage = "data"

    def files(self, folder: Path | None) -> list[Path]:
        """The files that `load` reads, for the cache; called while the Snakefile is parsed, so it must be quick.

        `folder` is the user's data folder (setting `data_folder`, or `PRUNERY_DATA`), None if unset.
        Raises `PruneryError` saying which files are wanted, where they were looked for, and what to do.
        """
        return []

    @abstractmethod
    def load(self, folder: Path | None) -> Dataset:
        """Read the data set; the same settings and files give the same tensors, always."""


class Architecture(Method):
    """A family of networks."""

    stage = "model"
    batched: ClassVar[bool] = False
    """Whether replicas may run stacked under `torch.func.vmap` (no batch norm, no dropout, no data-dependent flow)."""

    @abstractmethod
    def build(self, spec: Spec) -> nn.Module:
        """The network's structure; values come from torch's global generator (or are overwritten by a checkpoint).

        Must work without any hub: checkpoints are rebuilt by it, from `self.settings` alone.
        """

    def create(self, spec: Spec) -> nn.Module:
        """A network to be trained: `build`, unless pretrained weights are asked for."""
        return self.build(spec)

    def recorded(self) -> dict[str, Any]:
        """The settings a checkpoint stores so that `build` needs nothing else (a hub's config spelled out, say)."""
        return self.settings.model_dump(mode="json")

    def origin(self) -> tuple[str, dict[str, Any]]:
        """Name and settings of the model that rebuilds this network: another one's where this one only wraps it."""
        return self.name, self.recorded()

    def files(self) -> list[Path]:
        """Local files that `create` reads (weights, a config), for the cache; called while the Snakefile is parsed.

        Raises `PruneryError` naming a file that is missing.
        """
        return []


# --- transforms: a network in, a network out -------------------------------------------------------------------------


class Learner(Method):
    """A training recipe. `stage` is `train`, `finetune` or `distill`; the settings extend `TrainingSettings`."""

    conflicts = ("quantize",)
    changes = ("values",)
    teacher: ClassVar[bool] = False
    """Whether `loss` wants the teacher's logits."""

    def edits(self, network: nn.Module, example: Tensor) -> list[dict[str, Any]]:
        """Edits (`prunery.edits`) that a network needs before this recipe can train it; the network is left as it was.

        `example` is a valid input batch. Which edits they are must not depend on values, so that replicas stay alike.
        """
        return []

    @abstractmethod
    def loss(
        self,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """The mean loss of each replica."""


class Pruner(Method):
    """Chooses which weights stay, looking at the whole network."""

    stage = "prune"
    conflicts = ("quantize",)
    changes = ("zeros",)

    @abstractmethod
    def masks(
        self, weights: Mapping[str, Float[Tensor, "out ..."]], measured: Measured, generator: torch.Generator
    ) -> dict[str, Bool[Tensor, "out ..."]]:
        """True where a weight stays, by key of `weights` (all compressible weights of one network).

        Keys left out are left alone, and which they are must not depend on values, so that replicas stay alike.
        `weights` must not be changed. Weights that are zero already may be pruned again: they count as pruned.
        `generator` is seeded from the replica's seed; draw randomness from it alone.
        """


class LayerPruner(Pruner):
    """A pruner that looks at one layer at a time: write `mask`."""

    @abstractmethod
    def mask(
        self, key: str, weight: Float[Tensor, "out ..."], measured: Measured, generator: torch.Generator
    ) -> Bool[Tensor, "out ..."]:
        """True where a weight of this layer stays."""

    def masks(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """`mask` of every layer."""
        return {key: self.mask(key, weight, measured, generator) for key, weight in weights.items()}


class Quantizer(Method):
    """Chooses integers and scales for the compressible layers."""

    stage = "quantize"
    conflicts = ("quantize",)
    changes = ("bits",)

    @abstractmethod
    def plan(self, weights: Mapping[str, Float[Tensor, "out ..."]], measured: Measured) -> dict[str, IntegerPlan]:
        """Integer weights, their scales and the activations' scales, by key; keys left out stay in floating point."""


BASES: dict[str, type[Method]] = {
    "data": DataSource,
    "model": Architecture,
    "train": Learner,
    "finetune": Learner,
    "distill": Learner,
    "prune": Pruner,
    "quantize": Quantizer,
    "calibrate": Calibrator,
    "spectral_fit": SpectralFitter,
    "evaluate": Evaluator,
    "bench": Bencher,
    "analyse": Analyser,
    "backend": Backend,
}
"""The abstract class that a method of each stage extends."""

TRANSFORMS = ("prune", "finetune", "distill", "quantize")
"""Stages that open a new folder below their parent's (`train` opens the first one)."""

MEASURES = ("calibrate", "spectral_fit", "evaluate", "bench")
"""Stages that add a file to a folder (`analyse` adds one to the study's)."""

__all__ = [
    "BASES",
    "MEASURES",
    "TRANSFORMS",
    "Analyser",
    "Architecture",
    "Backend",
    "BenchSettings",
    "Bencher",
    "CalibrationSettings",
    "Calibrator",
    "DataSource",
    "Evaluator",
    "LayerPruner",
    "Learner",
    "Measured",
    "Method",
    "Pruner",
    "Quantizer",
    "Settings",
    "SpectralFitter",
]
