"""The contracts of the measures: a network in, figures out. Importing this module imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from prunery.method import Method, Settings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from prunery.data import Dataset
    from prunery.findings import Findings, Gallery
    from prunery.reporting.results import Results


class CalibrationSettings(Settings):
    """Settings that every calibrator has: which data it sees. No choice is made on test data, so no split is `test`."""

    split: Literal["train", "validation"] = Field(
        "train", description="samples it sees: validation where accuracies are measured that a choice rests on"
    )
    samples: int = Field(256, ge=1, description="samples of the split drawn at random (all, if there are fewer)")
    batch: int = Field(64, ge=1, description="samples at a time; bounds the memory")
    seed: int = Field(0, ge=0, description="seed of the draw")


class Calibrator(Method):
    """Statistics of activations or gradients over data, in bounded memory."""

    stage = "calibrate"
    Settings: ClassVar[type[CalibrationSettings]] = CalibrationSettings

    @abstractmethod
    def measure(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
    ) -> dict[str, dict[str, Tensor]]:
        """Statistics by key of the weight, each a dictionary of tensors; `batches` are (inputs, labels)."""


Split = Literal["whole", "projections", "heads"]
"""How finely weights of attention are read: as they are, or also by queries, keys and values, or also by head."""


class SpectralFitter(Method):
    """A law fitted to the singular values of one weight matrix."""

    stage = "spectral_fit"

    @property
    def split(self) -> Split:
        """Which parts of attention's weights `fit` sees as well; their rows are called as `prunery.attention` says."""
        return "whole"

    @abstractmethod
    def fit(self, matrix: Float[Tensor, "rows columns"]) -> dict[str, Any]:
        """Figures (floats, ints, lists of them) of one weight; convolutions come as `[out, in * kh * kw]`.

        Called from several threads at once, one matrix each.
        """


class Evaluator(Method):
    """Figures of a network over the validation and test splits. The settings hold `batch`, samples at a time.

    If they hold `samples` and `seed` too, that many samples of each split are drawn, the same ones for every network.
    """

    stage = "evaluate"
    compares: ClassVar[tuple[str, ...]] = ()
    """Figures that compare the network with `dense`: for students they are taken against the teacher too."""

    @abstractmethod
    def figures(
        self, network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
    ) -> dict[str, Any]:
        """Figures of one network over the (inputs, labels) of one split, by name: numbers.

        `layers`, if it is there, holds numbers of single layers: key of the weight -> name -> number.
        `dense` is the recipe's dense network of the same seed; it is `network` itself where that is the dense one.
        Both are in evaluation mode, on the device of the batches.
        """

    def gallery(self, network: nn.Module, dense: nn.Module, dataset: Dataset) -> Gallery | None:
        """Pictures for the report, of the first replica; `dataset` holds the drawn samples. None: there are none."""
        return None


class BenchSettings(Settings):
    """Settings that every bencher has: what is run, where, and how closely it must agree with eager."""

    backends: tuple[str, ...] = Field(
        ("eager", "onnxruntime", "openvino"), min_length=1, description="backends by name, timed one after the other"
    )
    batch: int = Field(1, ge=1, description="samples per call")
    threads: int | None = Field(None, ge=1, description="cores a backend may use; null: as many as the job has")
    replica: int | None = Field(None, ge=0, description="seed of the network that is timed; null: the first")
    samples: int = Field(512, ge=1, description="test samples that outputs are compared on (all, if there are fewer)")
    tolerance: float = Field(
        0.001, gt=0, description="fp32: largest difference to the eager logits allowed, relative to the largest logit"
    )
    agreement: float = Field(
        0.95, ge=0, le=1, description="int8: least share of samples to be given the class that the eager network gives"
    )


class Bencher(Method):
    """Latency and throughput of a network beside its dense parent."""

    stage = "bench"
    Settings: ClassVar[type[BenchSettings]] = BenchSettings

    def uses(self) -> tuple[tuple[str, str], ...]:
        """The backends."""
        return tuple(("backend", name) for name in self.settings.backends)

    @abstractmethod
    def times(self, calls: Sequence[Callable[[], Any]]) -> list[list[float]]:
        """Seconds of each call, one list per call with a number per round, all taken in turns; warm-up is left out.

        A call answers once its work is done, also on a GPU.
        """


class Analyser(Method):
    """A measure of a whole study: the results of many recipes in, what they say together out."""

    stage = "analyse"

    @abstractmethod
    def recipes(self) -> tuple[str, ...]:
        """The recipes whose evaluations it reads, in the short spellings of the config (`mlp-*/prune=l1@{0.5,0.9}`).

        With each come the records and learning curves of its networks that trained.
        """

    def measures(self) -> tuple[str, ...]:
        """Other measures that it reads, each behind its recipe: `net/calibrate=activations`, `net-*/bench=latency`."""
        return ()

    @abstractmethod
    def analyse(self, results: Results) -> Findings:
        """What they say, from tables with a row per replica; the same results give the same findings.

        Raises `PruneryError` in one line for settings that do not fit the results.
        """


PRECISIONS = ("fp32", "int8", "int8 weights", "int4 weights")
"""What backends may have kernels for: weights and activations in fp32 or int8, or integer weights of linear layers."""


class Backend(Method):
    """Something that runs networks: a runtime on a device."""

    stage = "backend"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    """Which of `PRECISIONS` this backend can run with real kernels of that precision."""
    arithmetic: ClassVar[str] = "fp32"
    """What floating point is computed in, as `bench` names it. Where that is not fp32, outputs are compared with those
    of eager fp32 by classes and accuracy, as for integers."""

    @abstractmethod
    def available(self) -> str | None:
        """Why this backend cannot run here, in one line; None if it can."""

    def place(self, inputs: Tensor) -> Tensor:
        """Inputs where this backend wants them (on a GPU, say); done before times are taken."""
        return inputs

    @abstractmethod
    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """Compile the network for inputs of the example's shape; the callable returns logits, finished ones.

        `folder` is private to this network and this shape: a file exported there serves every backend that reads it.
        """

    def integer_share(self, run: Callable[[Tensor], Tensor], example: Tensor) -> float | None:
        """Share of the compute operators (convolutions, matrix products) that ran in integers or read integer weights,
        from the backend's own profile of `run`; None where the backend does not say."""
        return None

    def sparse_share(self, run: Callable[[Tensor], Tensor], example: Tensor) -> float | None:
        """Share of the products with a weight that ran on kernels which skip zeros, from the backend's own profile of
        `run`; None where the backend has no such kernels."""
        return None
