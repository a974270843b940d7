"""What every method is: a name, a stage, and one frozen settings object. Importing this module imports no torch."""

from __future__ import annotations

from abc import ABC
from math import isfinite
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

CHANGES = ("values", "zeros", "parameters", "layers", "bits", "graph")
"""What a transform may promise: any stored value differs, more weights held at zero, fewer parameters, layers, bits, or
another computation (edits were added)."""


class Settings(BaseModel):
    """Settings of a method: frozen, unknown keys refused. Describe each field with its range and unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    amount: ClassVar[str | None] = None
    """The field that `@0.5` behind a variant's name sets; none where the method has no main amount."""
    argument: ClassVar[str | None] = None
    """The field that `resnet18` in `model: timm:resnet18` sets; none where the method is not spelled so."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_what_pydantic_lets_pass(cls, value: Any, info: ValidationInfo) -> Any:
        """True, which YAML reads from `yes` and `on`, is not the number 1; NaN is no setting, however deep."""
        if isinstance(value, bool) and not _admits(cls.model_fields[str(info.field_name)].annotation, bool):
            raise ValueError("true and false (in YAML also yes, no, on, off) are no value for it")
        if not _is_finite(value):
            raise ValueError("it should hold finite numbers only")
        return value


def _is_finite(value: Any) -> bool:
    """Whether no number in nested containers is NaN or infinite."""
    if isinstance(value, dict | list | tuple):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or isfinite(value)


def _admits(annotation: Any, kind: type) -> bool:
    """Whether a type hint names a kind of value, or any kind, anywhere outside of containers."""
    if annotation in (kind, Any) or isinstance(annotation, kind):
        return True
    return any(_admits(inner, kind) for inner in get_args(annotation))


class Method(ABC):
    """A named method of one stage. Subclasses are final: never subclass a method that is registered."""

    stage: ClassVar[str]
    name: ClassVar[str]
    Settings: ClassVar[type[Settings]] = Settings
    imports: ClassVar[tuple[str, ...]] = ()
    """Heavy modules that jobs using this method import; they are loaded once a run instead of once a job."""
    versions: ClassVar[tuple[str, ...]] = ()
    """Distributions whose installed version decides the result: a new version runs the jobs again."""
    library: ClassVar[tuple[str, ...]] = ()
    """Modules of Prunery that the stage calls for methods of this kind alone: their code counts as the method's."""

    follows: ClassVar[tuple[str, ...]] = ()
    """Steps of which at least one must stand earlier in a recipe: a stage (`prune`) or a method of it (`prune=nm`).

    The first step is the base's training: `train=qat` asks for a base trained so."""
    conflicts: ClassVar[tuple[str, ...]] = ()
    """Steps, spelled in the same way, of which none may stand earlier in a recipe."""
    changes: ClassVar[tuple[str, ...]] = ()
    """What must have changed for a job to count: words of `CHANGES`."""
    agreement: ClassVar[float | None] = None
    """How far outputs may lie from the parent's, in units of the largest logit; none where no agreement is promised."""

    def __init__(self, settings: Any = None) -> None:
        self.settings: Any = settings if settings is not None else self.Settings()
        self.registry: Any = None
        """Where it was looked up; none if it was made directly."""

    def needs(self) -> tuple[str, ...]:
        """Measurements this method reads (`prunery.needs`): of the parent (`("calibrate=activations",)`), of the dense
        network (`("dense:spectral_fit=mp",)`), or of all on the way (`("history:evaluate=standard",)`)."""
        return ()

    def promises(self) -> tuple[str, ...]:
        """What must have changed under these settings; `changes` unless the settings decide."""
        return self.changes

    def uses(self) -> tuple[tuple[str, str], ...]:
        """(stage, name) of other methods this one calls, such as a bench's backends: their code counts as its own."""
        return ()

    def other(self, stage: str, name: str, settings: dict[str, Any]) -> Any:
        """A method that this one uses, configured. Raises `PruneryError` if there is none or its settings are wrong."""
        from prunery.registry import registry

        return (self.registry or registry()).configured(stage, name, settings)
