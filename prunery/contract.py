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
from prunery.pruning import (
    ChannelPruner,
    Layer,
    LayerPruner,
    Measured,
    Projection,
    Projector,
    PruneMethod,
    Pruner,
    Rewirer,
    Score,
    Selector,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from prunery.data import Dataset, Spec
    from prunery.plans import Plan


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

    def loss_at(
        self,
        done: float,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """`loss`, unless it changes on the way: `done` is the share of all steps done with this one, above 0 to 1."""
        return self.loss(logits, labels, teacher)


class Quantizer(Method):
    """Chooses how the weights of the compressible layers are stored."""

    stage = "quantize"
    conflicts = ("quantize",)
    changes = ("bits",)

    @abstractmethod
    def plan(self, weights: Mapping[str, Float[Tensor, "out ..."]], measured: Measured) -> Mapping[str, Plan]:
        """How each weight is stored, by key; keys left out stay in floating point, and any mixture will do.

        `IntegerPlan` (`prunery.integer`): integers of 8 or 4 bits with grids for input and output. `WeightPlan`
        (`prunery.weightonly`): fp16, bf16, int8 or int4, computed in fp32; `weight_plans` there makes them.
        `weights` are those whose layers run, as modules, with the forward of their class.
        """


BASES: dict[str, type[Method]] = {
    "data": DataSource,
    "model": Architecture,
    "train": Learner,
    "finetune": Learner,
    "distill": Learner,
    "prune": PruneMethod,
    "quantize": Quantizer,
    "calibrate": Calibrator,
    "spectral_fit": SpectralFitter,
    "evaluate": Evaluator,
    "bench": Bencher,
    "analyse": Analyser,
    "backend": Backend,
    "score": Score,
}
"""The abstract class that a method of each stage extends."""

AUXILIARY = ("backend", "score")
"""Stages that are no rules: their methods are named by the settings of others."""

TRANSFORMS = ("prune", "finetune", "distill", "quantize")
"""Stages that open a new folder below their parent's (`train` opens the first one)."""

MEASURES = ("calibrate", "spectral_fit", "evaluate", "bench")
"""Stages that add a file to a folder (`analyse` adds one to the study's)."""

__all__ = [
    "AUXILIARY",
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
    "ChannelPruner",
    "DataSource",
    "Evaluator",
    "Layer",
    "LayerPruner",
    "Learner",
    "Measured",
    "Method",
    "Projection",
    "Projector",
    "PruneMethod",
    "Pruner",
    "Quantizer",
    "Rewirer",
    "Score",
    "Selector",
    "Settings",
    "SpectralFitter",
]
