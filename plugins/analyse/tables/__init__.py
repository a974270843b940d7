"""Tables of a study, laid out as in a paper, with the paper's numbers beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, final

from pydantic import Field, model_validator

from prunery import Analyser, Settings, hookimpl
from prunery.errors import PruneryError, unknown
from prunery.families import Name, Strict
from prunery.recipe import expand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prunery.findings import Findings
    from prunery.reporting.results import Results


Label = str
Rows = dict[Label, str]
PaperRows = dict[Label, dict[Label, float]]


class Column(Strict):
    """A figure of a recipe: from its evaluation (the first, or the one named), or from a bench on a backend; `minus`
    is the row whose figure is taken off, seed by seed, or such a row for some of the rows."""

    metric: str = Field(min_length=1)
    evaluate: str | None = None
    bench: str | None = None
    backend: str | None = None
    minus: Label | dict[Label, Label] | None = None
    factor: float = 1.0
    digits: int = Field(2, ge=0, le=9)

    @property
    def named(self) -> list[Label]:
        """The rows that `minus` names."""
        if isinstance(self.minus, dict):
            return [*self.minus, *self.minus.values()]
        return [] if self.minus is None else [self.minus]

    def off(self, row: Label) -> Label | None:
        """The row whose figure is taken off that of a row."""
        return self.minus.get(row) if isinstance(self.minus, dict) else self.minus

    @model_validator(mode="after")
    def _of_one_measure(self) -> Self:
        if (self.bench is None) != (self.backend is None) or (self.bench and self.evaluate):
            raise ValueError("name an evaluation, or a bench and a backend")
        if self.bench and self.minus:
            raise ValueError("times have no seeds to be paired by: leave minus out")
        return self


class Statistic(Strict):
    """A figure of a layer: a scalar of a calibration, or a curve's value where another statistic is `at`; with `root`
    its square root."""

    statistic: str = Field(min_length=1)
    along: str = "share"
    at: float | None = None
    root: bool = False
    factor: float = 1.0
    digits: int = Field(2, ge=0, le=9)


class Recipes(Strict):
    """A table with a row for each recipe (base and steps, written out), a column for each figure."""

    title: str = Field(min_length=1)
    note: str = ""
    columns: dict[Label, Column] = Field(min_length=1)
    rows: Rows = Field(min_length=1)
    paper: PaperRows = Field({})

    @model_validator(mode="after")
    def _paper_fits(self) -> Self:
        _check_paper(self.paper, self.rows, self.columns)
        for row, recipe in self.rows.items():
            if len(expand(recipe)) != 1:
                raise ValueError(f"rows.{row}: {recipe!r} stands for {len(expand(recipe))} recipes: name one")
        for title, column in self.columns.items():
            for row in column.named:
                if row not in self.rows:
                    raise ValueError(f"columns.{title}.minus: {unknown('row', row, self.rows)}")
        return self

    def measures(self) -> list[str]:
        """What is read beside the first evaluations."""
        kinds = [f"evaluate={each.evaluate}" for each in self.columns.values() if each.evaluate]
        kinds += [f"bench={each.bench}" for each in self.columns.values() if each.bench]
        return [f"{recipe}/{kind}" for recipe in self.rows.values() for kind in dict.fromkeys(kinds)]


class Sweep(Strict):
    """A table with a row for each way of compressing and a column for each amount.

    `rows` spell recipes with `{at}` where the amount belongs, `figure` says what is told of them. `against` is, for
    some of the rows, such a recipe whose figure is taken off. A row of `paper` has a number (or none) for each amount.
    """

    title: str = Field(min_length=1)
    note: str = ""
    at: tuple[Label, ...] = Field(min_length=1)
    figure: Column
    rows: Rows = Field(min_length=1)
    against: dict[Label, str] = Field({})
    paper: dict[Label, tuple[float | None, ...]] = Field({})

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for row in (*self.paper, *self.against):
            if row not in self.rows:
                raise ValueError(f"{'paper' if row in self.paper else 'against'}: {unknown('row', row, self.rows)}")
        if self.against and self.figure.minus is not None:
            raise ValueError("give against, or minus of the figure, not both")
        for at in self.at:
            self.view(at)
        for row, numbers in self.paper.items():
            if len(numbers) != len(self.at):
                raise ValueError(f"paper.{row} has {len(numbers)} numbers, there are {len(self.at)} amounts")
        return self

    def view(self, at: Label) -> Recipes:
        """The column of an amount as a table of its own."""
        others = {f"{row}: against": text for row, text in self.against.items()}
        rows = {row: text.replace("{at}", at) for row, text in (self.rows | others).items()}
        figure = self.figure
        if others:
            figure = figure.model_copy(update={"minus": dict(zip(self.against, others, strict=True))})
        return Recipes(title=self.title, columns={at: figure}, rows=rows, paper={})

    @property
    def views(self) -> list[Recipes]:
        """All columns."""
        return [self.view(at) for at in self.at]


class Layers(Strict):
    """A table with a row for each layer (by key of its weight), a column for each statistic of one calibration."""

    title: str = Field(min_length=1)
    note: str = ""
    recipe: str = Field(min_length=1)
    calibrate: str = Field(min_length=1)
    columns: dict[Label, Statistic] = Field(min_length=1)
    rows: Rows = Field(min_length=1)
    paper: PaperRows = Field({})

    @model_validator(mode="after")
    def _paper_fits(self) -> Self:
        _check_paper(self.paper, self.rows, self.columns)
        return self


def _check_paper(paper: PaperRows, rows: dict[Label, str], columns: Iterable[Label]) -> None:
    for row, numbers in paper.items():
        if row not in rows:
            raise ValueError(f"paper: {unknown('row', row, rows)}")
        for column in numbers:
            if column not in columns:
                raise ValueError(f"paper.{row}: {unknown('column', column, columns)}")


class TablesSettings(Settings):
    """The tables."""

    recipes: dict[Name, Recipes] = Field({}, description="tables by name, with a row for each recipe")
    sweeps: dict[Name, Sweep] = Field({}, description="tables by name, with a column for each amount")
    layers: dict[Name, Layers] = Field({}, description="tables by name, with a row for each layer of one network")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [*self.recipes, *self.sweeps, *self.layers]
        if twice := sorted(name for name in set(names) if names.count(name) > 1):
            raise ValueError(f"two tables are called {twice[0]!r}")
        return self

    @property
    def of_recipes(self) -> list[Recipes]:
        """All that has a recipe in each row."""
        return [*self.recipes.values(), *(view for sweep in self.sweeps.values() for view in sweep.views)]


@final
class Tables(Analyser):
    """Means with their intervals over seeds, a paper's numbers beside them."""

    name = "tables"
    Settings = TablesSettings
    imports = ("pandas", "scipy.stats")
    versions = ("numpy", "scipy")

    def recipes(self) -> tuple[str, ...]:
        """Every row's recipe, and those whose layers are told. Raises `PruneryError` if there is no table."""
        if not (self.settings.of_recipes or self.settings.layers):
            raise PruneryError("analyse method 'tables': no table: give one under recipes, sweeps or layers")
        listed = [recipe for table in self.settings.of_recipes for recipe in table.rows.values()]
        return tuple(dict.fromkeys([*listed, *(table.recipe for table in self.settings.layers.values())]))

    def measures(self) -> tuple[str, ...]:
        """Further evaluations, benches and calibrations that columns name."""
        found = [text for table in self.settings.of_recipes for text in table.measures()]
        found += [f"{table.recipe}/calibrate={table.calibrate}" for table in self.settings.layers.values()]
        return tuple(dict.fromkeys(found))

    def analyse(self, results: Results) -> Findings:
        """The tables, and every cell as a quantity; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Tables]
