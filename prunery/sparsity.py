"""How much to prune and where: the settings unstructured pruners share, and exact selection by score.

A sparsity is a share of the weights of the `Linear` and `Conv2d` layers that are not excluded: biases, norms and
embeddings are in no denominator. Imports no torch by itself, so that adapters may import it while configs are parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from prunery.allocating import allocate, curves, whole_counts
from prunery.contract import Measured, Settings
from prunery.errors import PruneryError, unknown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

Share = Annotated[float, Field(ge=0, le=1)]


class SparsitySettings(Settings):
    """Settings of a pruner that ranks single weights."""

    amount = "sparsity"
    sparsity: float = Field(0.5, ge=0, le=1, description="share of the weights that end as zero, 0 to 1")
    scope: Literal["global", "layer", "profile", "sensitivity"] = Field(
        "global",
        description="rank all layers together, each layer by itself, or each by a share of its own: as profile says, "
        "or such that the sum of the measured losses is least",
    )
    profile: tuple[Share, ...] | dict[str, Share] | None = Field(
        None,
        description="shares (0 to 1) for scope profile: a list in the order of the layers, or a dictionary by "
        "key or pattern, where layers it does not match take sparsity",
    )
    allocation: str = Field(
        "sensitivity", description="variant of calibrate that measured each layer's loss, for scope sensitivity"
    )
    cost: Literal["weights", "macs"] = Field(
        "weights", description="what sparsity is a share of under scope sensitivity: weights or multiply-accumulates"
    )
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay dense and uncounted")

    @property
    def reads(self) -> tuple[str, ...]:
        """The measurements of the parent that the scope asks for: what a pruner's `needs` answers."""
        return (f"calibrate={self.allocation}",) if self.scope == "sensitivity" else ()

    @model_validator(mode="after")
    def _scope_and_profile(self) -> SparsitySettings:
        if (self.scope == "profile") != (self.profile is not None):
            raise ValueError("scope: profile and the setting profile go together: give both or neither")
        return self


class UnmatchedError(PruneryError):
    """A pattern in a setting that matches none of the weights that could be compressed."""

    def __init__(self, setting: str, pattern: str, keys: Iterable[str]) -> None:
        super().__init__(f"the setting {setting}: {unknown('weight', pattern, keys)}")
        self.setting, self.pattern = setting, pattern


def matching(pattern: str, keys: Iterable[str], setting: str) -> list[str]:
    """The keys a shell pattern of a setting matches.

    Raises `UnmatchedError` if there is none: the setting would do nothing.
    """
    keys = list(keys)
    found = [key for key in keys if fnmatchcase(key, pattern)]
    if not found:
        raise UnmatchedError(setting, pattern, keys)
    return found


def included(keys: Iterable[str], exclude: Iterable[str]) -> list[str]:
    """The keys that no pattern of `exclude` matches, in order. Raises `PruneryError` if none is left."""
    keys, exclude = list(keys), list(exclude)
    if not keys:
        raise PruneryError("the network has no Linear or Conv2d with a weight of its own: choose another model or step")
    left_out = {key for pattern in exclude for key in matching(pattern, keys, "exclude")}
    left = [key for key in keys if key not in left_out]
    if not left:
        raise PruneryError(f"the setting exclude ({', '.join(exclude)}) leaves no layer")
    return left


def layer_shares(keys: list[str], settings: SparsitySettings) -> dict[str, float]:
    """The share each layer loses under the scopes `layer` and `profile`.

    Raises `PruneryError` if a list does not have one entry per layer, or a pattern of a dictionary matches no key.
    """
    profile = settings.profile
    if isinstance(profile, tuple):
        if len(profile) != len(keys):
            raise PruneryError(
                f"the setting profile has {len(profile)} shares for {len(keys)} layers: {', '.join(keys)}"
            )
        return dict(zip(keys, profile, strict=True))
    shares = dict.fromkeys(keys, settings.sparsity)
    for pattern, share in (profile or {}).items():
        shares |= dict.fromkeys(matching(pattern, keys, "profile"), share)
    return shares


def keep_highest(scores: Mapping[str, Float[Tensor, "..."]], sparsity: float) -> dict[str, Bool[Tensor, "..."]]:
    """Drop exactly the `int(sparsity * total)` lowest scores of all layers together; True where a weight stays.

    Ties go by position: of equal scores, those of earlier layers and lower flat indices are dropped first.
    """
    import torch

    keep = _keep(torch.cat([score.flatten() for score in scores.values()]), sparsity)
    parts = keep.split([score.numel() for score in scores.values()])
    return {key: part.reshape(scores[key].shape) for key, part in zip(scores, parts, strict=True)}


def _keep(scores: Float[Tensor, " total"], sparsity: float) -> Bool[Tensor, " total"]:
    import torch

    keep = torch.ones_like(scores, dtype=torch.bool)
    count = int(sparsity * scores.numel())
    if count:
        threshold = scores.kthvalue(count).values
        below = scores < threshold
        tied = (scores == threshold).nonzero().flatten()
        keep[below] = False
        keep[tied[: count - int(below.sum())]] = False
    return keep


def sensitivity_shares(
    sizes: Mapping[str, int], rows: Mapping[str, Mapping[str, Any]], settings: SparsitySettings
) -> dict[str, float]:
    """The share each layer loses under the scope `sensitivity`; `rows` is what the allocation's variant measured.

    `sizes` are the numbers of weights. Of weights, exactly as many go as under scope global.
    Raises `PruneryError` if a layer was not measured, or not as far as the sparsity needs.
    """
    found = curves(rows, sizes)
    if settings.cost == "macs":
        macs = {key: float(rows[key]["macs"]) for key in sizes}
        return allocate(found, macs, settings.sparsity * sum(macs.values()))
    total = int(settings.sparsity * sum(sizes.values()))
    counts = whole_counts(sizes, allocate(found, sizes, total), total)
    return {key: min(1.0, (count + 0.5) / sizes[key]) for key, count in counts.items()}  # half a weight: no rounding


def masks_by_score(
    scores: Mapping[str, Float[Tensor, "..."]], settings: SparsitySettings, measured: Measured | None = None
) -> dict[str, Bool[Tensor, "..."]]:
    """Masks that drop the lowest scores over the scope that the settings name; excluded layers get none.

    `measured` is what a pruner is given whose `needs` are `settings.reads`; only scope sensitivity reads it.
    """
    keys = included(scores, settings.exclude)
    if settings.scope == "global":
        return keep_highest({key: scores[key] for key in keys}, settings.sparsity)
    if settings.scope == "sensitivity":
        rows = (measured or {}).get(settings.allocation)
        if rows is None:
            raise PruneryError(
                "scope sensitivity reads a measurement: let the method's `needs` answer `settings.reads`"
            )
        shares = sensitivity_shares({key: scores[key].numel() for key in keys}, rows, settings)
    else:
        shares = layer_shares(keys, settings)
    return {key: keep_highest({key: scores[key]}, shares[key])[key] for key in keys}
