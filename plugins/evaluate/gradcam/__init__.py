"""Where a network looks, beside where its dense network does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Evaluator, Settings, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from prunery.data import Dataset
    from prunery.findings import Gallery


class GradCamSettings(Settings):
    """Which layer is looked at, for which class, over which samples."""

    layer: str | None = Field(
        None, min_length=1, description="module by name or pattern; null: the last convolution, behind its batch norm"
    )
    target: Literal["dense", "own", "label"] = Field(
        "dense", description="class that is explained: the dense network's, each network's own, or the true one"
    )
    samples: int = Field(64, ge=1, description="samples of each split, drawn at random (all, if there are fewer)")
    seed: int = Field(0, ge=0, description="seed of the draw")
    top: float = Field(0.2, gt=0, lt=1, description="share of the pixels, the brightest, whose overlap is measured")
    shown: int = Field(4, ge=0, le=32, description="drawn test images that the report shows")
    batch: int = Field(32, ge=1, description="samples at a time; changes memory and time, not the figures")


@final
class GradCam(Evaluator):
    """Agreement of class activation maps with those of the dense network."""

    name = "gradcam"
    Settings = GradCamSettings
    versions = ("scipy", "pillow")

    def figures(
        self, network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
    ) -> dict[str, float]:
        """`cam_correlation` and `cam_overlap`, means over images, each with `_low` and `_high`, the ends of its 95 %
        interval; `cam_blank`, the share of images that were left out since a map is blank; `samples`.

        Means are missing where every image was left out; everything but `samples`, where there is no layer to look at.
        """
        from .agreement import figures

        return figures(network, dense, batches, self.settings)

    def gallery(self, network: nn.Module, dense: nn.Module, dataset: Dataset) -> Gallery | None:
        """The first of the drawn test images, the dense network's map and this network's."""
        from .pictures import gallery

        return gallery(network, dense, dataset, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [GradCam]
