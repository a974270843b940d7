"""Plain text that reads well at 100 columns: paragraphs, and tables whose cells wrap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

WIDTH = 100
"""Columns of everything that the command prints."""
GAP = "  "
WIDEST = 26
"""Columns of a cell before the last one; what is longer goes on below."""


def paragraph(text: str, indent: str = "") -> str:
    """A text wrapped at `WIDTH` columns; words (paths) that are longer stay whole."""
    found = wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(found)


def table(rows: Sequence[Sequence[str]], indent: str = "", widest: int = WIDEST) -> str:
    """Rows with their columns below each other; cells wrap, the last one at the edge of the page.

    >>> print(table([["one", "first"], ["twenty", "last"]], indent="  "))
      one     first
      twenty  last
    """
    columns = list(zip(*rows, strict=True))[:-1]
    widths = [min(widest, max(map(len, column))) for column in columns]
    left = len(indent) + sum(width + len(GAP) for width in widths)
    return "\n".join(_row(row, [*widths, max(WIDTH - left, WIDEST)], indent) for row in rows)


def _row(cells: Sequence[str], widths: Sequence[int], indent: str) -> str:
    wrapped = [_cell(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = zip_longest(*wrapped, fillvalue="")
    return "\n".join((indent + GAP.join(map(str.ljust, line, widths))).rstrip() for line in lines)


def _cell(text: str, width: int) -> list[str]:
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
