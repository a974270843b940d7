"""The formats a weight can be stored in, which layer takes which, and the bits that costs. Imports no torch.

fp16 and bf16 layers store weight and bias in two bytes; int8 and int4 weights are symmetric integers with one fp32
scale per output channel, or per group of a channel's weights, and keep an fp32 bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, prod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from prunery.method import Settings
from prunery.sparsity import included, matching

BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4}
"""Bits of one weight, by format."""
SHORT = {4: "int4", 8: "int8", 16: "fp16", 32: "fp32"}
"""What a bare number of bits means, as in `quantize=weights@4`."""


def _named(value: Any) -> Any:
    return SHORT.get(value, value) if isinstance(value, int) else value


Format = Annotated[Literal["fp32", "fp16", "bf16", "int8", "int4"], BeforeValidator(_named)]


class GridSettings(Settings):
    """How weights are rounded to int8 and int4; fp16 and bf16 are casts and ask for none of it."""

    group: int | None = Field(
        None, ge=16, description="weights of a channel in a row that share a scale, a power of two; null: the channel"
    )
    clip: float | None = Field(
        None, gt=50, le=100, description="weights are clipped at this percentile of a layer's |w|; null: at the largest"
    )
    lowest: Literal["symmetric", "full"] = Field(
        "symmetric", description="least integer: symmetric -(2^(b-1) - 1), full -2^(b-1), which clipped weights reach"
    )

    @field_validator("group")
    @classmethod
    def _power_of_two(cls, group: int | None) -> int | None:
        if group is not None and group & (group - 1):
            raise ValueError("runtimes have kernels for powers of two only (32, 64, 128, ...)")
        return group


NEAREST: GridSettings = GridSettings.model_validate({})
"""The defaults: a scale per channel, nothing clipped."""


class LayerSettings(GridSettings):
    """Which layers are stored in a format of their own."""

    formats: dict[str, Format] = Field(
        default_factory=dict, description="formats by key or pattern (as in a shell); of several the last one counts"
    )
    first_last: Format | None = Field(None, description="format of the first and the last layer; null: as the others")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay in fp32")


class FormatSettings(LayerSettings):
    """Which layer is stored in which format."""

    amount: ClassVar[str | None] = "format"

    format: Format = Field(
        "int8", description="of every layer that nothing below names; a number of bits will do (16 is fp16)"
    )


def layer_formats(keys: Iterable[str], settings: LayerSettings, common: str) -> dict[str, str]:
    """The format of each weight: the `common` one, over it `first_last`, over it `formats`, over it `exclude`.

    Raises `PruneryError` if a pattern matches no key, or all are excluded.
    """
    keys = list(keys)
    found: dict[str, str] = dict.fromkeys(keys, common)
    if settings.first_last is not None and keys:
        found[keys[0]] = found[keys[-1]] = settings.first_last
    for pattern, format_ in settings.formats.items():
        found |= dict.fromkeys(matching(pattern, keys, "formats"), format_)
    kept = set(included(keys, settings.exclude))
    return {key: format_ if key in kept else "fp32" for key, format_ in found.items()}


def stored_bits(shape: Sequence[int], format_: str, group: int | None = None, bias: bool = True) -> int:
    """Bits that a layer with a weight of this shape `[out, ...]` takes: weight, scales and bias.

    Two int4 weights share a byte, so an odd number of them takes four bits more.
    """
    whole_bytes = ceil(prod(shape) * BITS[format_] / 8)
    scales = shape[0] * blocks(shape, group) if is_integer(format_) else 0
    width = BITS[format_] if format_ in ("fp16", "bf16") else 32
    return 8 * whole_bytes + 32 * scales + (width * shape[0] if bias else 0)


def is_integer(format_: str) -> bool:
    """Whether a format has scales."""
    return format_.startswith("int")


def blocks(shape: Sequence[int], group: int | None) -> int:
    """Scales of one output channel of a weight `[out, ...]`; the last group may be shorter than the others."""
    return 1 if group is None else ceil(prod(shape[1:]) / group)
