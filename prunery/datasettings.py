"""Settings that data sources share. Imports no torch: plugins need them while the Snakefile is parsed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prunery.contract import Settings


class DataSettings(Settings):
    """Settings that every data source has."""

    validation: float = Field(0.1, gt=0, lt=1, description="share of the published training split held out")
    split_seed: int = Field(0, ge=0, description="seed of that split and of the subsets below")
    train_limit: int | None = Field(None, ge=1, description="use at most so many training samples (before the split)")
    test_limit: int | None = Field(None, ge=1, description="use at most so many test samples")


class ImageSettings(DataSettings):
    """Settings of every image source: pixels reach a network as `(pixel / 255 - mean) / std`."""

    mean: tuple[float, ...] = Field(
        (0.5,), min_length=1, description="per channel, of pixels in 0..1; one value serves all channels"
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.5,), min_length=1, description="per channel, of pixels in 0..1; one value serves all channels"
    )


class PhotoSettings(ImageSettings):
    """Settings of sources whose images come in any size."""

    size: int = Field(64, ge=1, le=4096, description="height and width that every image is resized to, pixels")
    channels: Literal[1, 3] = Field(3, description="1 for gray, 3 for RGB")
    fit: Literal["crop", "stretch"] = Field(
        "crop", description="how an image becomes square: its central square, or the whole of it stretched"
    )


class TextSettings(DataSettings):
    """Settings of every text source."""

    length: int = Field(64, ge=2, description="tokens a text is cut or padded to, [CLS] included")
    vocabulary: int = Field(4000, ge=4, description="most token ids in use (tokenizer `words` only)")
    tokenizer: str = Field(
        "words", description="`words`, or a pretrained one: a folder with tokenizer.json, that file, or a hub name"
    )
