"""What measures find beside figures: of a study sentences, tables, charts and quantities that claims may test; of a
network, pictures. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prunery.errors import PruneryError

Cell = str | int | float | None


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Quantity(_Strict):
    """A figure and its interval.

    Both ends missing: there is no interval. One end missing: it is open on that side. No value but an end: the value
    lies beyond what was tried, such as a smallest stable size above the largest network.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = Field(default=0, ge=0, description="independent values behind it: seeds, as a rule")
    unit: str = ""
    reason: str = Field(default="", description="why there is no value or no interval")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.value is None and not self.reason:
            raise ValueError("a quantity without a value says why: give it a reason")
        return self

    @property
    def known(self) -> bool:
        """Whether anything is known that a claim can be held against."""
        return self.low is not None or self.high is not None


class Table(_Strict):
    """Rows of texts and numbers; texts that stand below a number, such as its interval, may follow a line break."""

    title: str
    columns: list[str] = Field(min_length=1)
    rows: list[list[Cell]]
    note: str = ""

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        odd = next((number for number, row in enumerate(self.rows) if len(row) != len(self.columns)), None)
        if odd is not None:
            raise ValueError(f"row {odd} has {len(self.rows[odd])} cells, there are {len(self.columns)} columns")
        return self


class Chart(_Strict):
    """A Plotly figure (`data`, `layout`), its colours the report's CSS variables. Those of a group stand together."""

    title: str
    figure: dict[str, Any]
    group: str = ""


class Findings(_Strict):
    """Everything that an analysis says."""

    title: str = Field(min_length=1)
    notes: list[str] = []
    tables: list[Table] = []
    figures: list[Chart] = []
    quantities: dict[str, Quantity] = {}


class Picture(_Strict):
    """An image as the base64 text of a PNG file."""

    title: str
    png: str


class Sample(_Strict):
    """Pictures of one sample: those that all networks of a base share, and those of one network, with what is told."""

    caption: str
    shared: list[Picture] = []
    own: list[Picture] = []
    told: str = ""


class Gallery(_Strict):
    """Pictures of a network. Those of one base stand side by side, sample by sample."""

    title: str = Field(min_length=1)
    about: str = ""
    samples: list[Sample] = []


def read_findings(path: Path) -> Findings:
    """The findings in a file. Raises `PruneryError` if it is damaged."""
    try:
        return Findings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        why = " ".join(str(error).split())[:200]
        raise PruneryError(f"{path} is no readable analysis ({why}): delete it and run again") from error
