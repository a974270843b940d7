"""Pictures of the networks of a base side by side: what they share once, and a column for each recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from prunery.findings import Gallery, Picture
from prunery.reporting.results import DENSE, Results

COLUMNS = 24
"""Recipes of a base that are shown."""


@dataclass(frozen=True)
class Cell:
    """A picture, and what is said below it."""

    picture: Picture
    told: str = ""


@dataclass(frozen=True)
class Wall:
    """The pictures of one base: column titles, and rows of a caption and cells. `hidden` counts recipes left out."""

    place: str
    title: str
    about: str
    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]
    hidden: int


def walls(results: Results) -> list[Wall]:
    """One for each base (and seeds) and variant of `evaluate` that makes pictures, in the order of the files."""
    kept = sorted(results.galleries.items(), key=lambda item: _place(item[0]))  # stable: recipes keep their order
    return [_wall(place, [(path, each) for (path, _), each in held]) for place, held in groupby(kept, _of_item)]


def _of_item(item: tuple[tuple[str, str], Gallery]) -> tuple[str, str]:
    return _place(item[0])


def _place(key: tuple[str, str]) -> tuple[str, str]:
    """Base with seeds, and variant."""
    path, variant = key
    return "/".join(path.split("/")[:2]), variant


def _wall(place: tuple[str, str], found: list[tuple[str, Gallery]]) -> Wall:
    own = [(path, each) for path, each in found if any(sample.own for sample in each.samples)]
    shown, first = own[:COLUMNS], found[0][1]
    shared = [picture.title for picture in first.samples[0].shared] if first.samples else []
    columns = [*shared, *(_recipe(path) for path, _ in shown)]
    rows = [
        (sample.caption, [*map(Cell, sample.shared), *_cells(number, [each for _, each in shown])])
        for number, sample in enumerate(first.samples)
    ]
    base, variant = place
    return Wall(f"{base}, evaluate={variant}", first.title, first.about, columns, rows, len(own) - len(shown))


def _recipe(path: str) -> str:
    return "/".join(path.split("/")[2:]) or DENSE


def _cells(number: int, galleries: list[Gallery]) -> Iterator[Cell | None]:
    """One sample's own pictures, the first of each recipe."""
    for gallery in galleries:
        samples = gallery.samples[number : number + 1]
        yield next((Cell(sample.own[0], sample.told) for sample in samples if sample.own), None)
