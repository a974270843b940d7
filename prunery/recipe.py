"""Recipes: paths such as `digits-mlp/prune={magnitude,seb}@0.5/finetune=short`, their spellings and parts."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod

from prunery.contract import MEASURES, TRANSFORMS
from prunery.errors import PruneryError, shown, unknown

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
AMOUNT = r"[0-9]+(?:\.[0-9]+)?"
_SEGMENT = re.compile(rf"(?P<stage>[a-z_]+)=(?P<variant>{NAME})(?:@(?P<amount>{AMOUNT}))?")
_SEEDS = re.compile(r"(0|[1-9][0-9]*)-(0|[1-9][0-9]*)")
_REPEATED = re.compile(r"(.+?)\1{19}")
LAST_SEED = 2**32 - 1
MOST_RECIPES = 100_000
"""Recipes that one spelling may stand for; more are a slip, and would not fit into memory."""
MOST_ROUNDS = 1000
"""Rounds of one cycle."""
LONGEST_NAME = 100
"""Characters of a name that becomes part of a file's."""
LONGEST_STEP, LONGEST_PATH = 200, 3000
"""Characters of a folder's name and of a recipe's path: file systems admit 255 and 4096 with all that is put around."""
NO_STEPS = dict.fromkeys(("train", "data", "model"), "is part of a base") | {
    "analyse": "is a measure of the whole study, listed under measures"
}
"""Stages that are neither steps nor measures of a folder, and what to say of them."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_CYCLE = re.compile(r"\(([^()]*)\)(?:\*(\d+))?")
_RANGE = re.compile(rf"@({AMOUNT})\.\.({AMOUNT}):({AMOUNT})")


@dataclass(frozen=True)
class Step:
    """One transform of a recipe: `prune=seb@0.5` is `Step("prune", "seb", "0.5")`."""

    stage: str
    variant: str
    amount: str | None = None

    def __str__(self) -> str:
        return f"{self.stage}={self.label}"

    @property
    def label(self) -> str:
        """What stands behind `stage=`."""
        return self.variant + (f"@{self.amount}" if self.amount else "")


@dataclass(frozen=True)
class Recipe:
    """A base, its seeds, and the transforms in order. `str(recipe)` is its folder below the results folder."""

    base: str
    seeds: tuple[int, int]
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return "/".join((self.base, "seeds={}-{}".format(*self.seeds), *map(str, self.steps)))

    def prefixes(self) -> list[Recipe]:
        """The dense network and every network on the way, this recipe last."""
        return [Recipe(self.base, self.seeds, self.steps[:count]) for count in range(len(self.steps) + 1)]


def parse_seeds(text: str | int) -> tuple[int, int]:
    """`"0-4"` is `(0, 4)`, both included; a single number is a range of one."""
    found = _SEEDS.fullmatch(str(text)) or _SEEDS.fullmatch(f"{text}-{text}")
    if not found or int(found[1]) > int(found[2]):
        raise PruneryError(f"seeds {shown(text)}: write a range such as 0-4, first seed not above the last")
    if int(found[2]) > LAST_SEED:
        raise PruneryError(f"seeds {shown(text)}: seeds go up to {LAST_SEED}")
    return int(found[1]), int(found[2])


def parse_step(segment: str) -> Step:
    """One `stage=variant@amount` segment. Raises `PruneryError` for a measure, an unknown stage or bad spelling."""
    found = _SEGMENT.fullmatch(segment)
    if not found:
        raise PruneryError(f"{shown(segment)} is no step: write stage=variant or stage=variant@amount")
    stage = found["stage"]
    if stage in (*MEASURES, *NO_STEPS):
        why = NO_STEPS.get(stage, "is a measure, taken in a recipe's folders")
        raise PruneryError(f"{shown(segment)}: {stage} {why}; the steps of a recipe are {', '.join(TRANSFORMS)}")
    if stage not in TRANSFORMS:
        raise PruneryError(unknown("stage", stage, TRANSFORMS))
    return Step(stage, found["variant"], found["amount"])


def parse(path: str, default_seeds: dict[str, str]) -> Recipe:
    """A written-out recipe; without a `seeds=` segment it takes its base's. Raises `PruneryError` for a bad path."""
    if len(path) > LONGEST_PATH or max(map(len, path.split("/"))) > LONGEST_STEP:
        limits = f"{LONGEST_PATH} characters in all and {LONGEST_STEP} a step"
        raise PruneryError(f"the path is too long for file systems: write at most {limits}")
    base, *segments = path.strip("/").split("/")
    if base not in default_seeds:
        raise PruneryError(unknown("base", base, default_seeds))
    seeds = default_seeds[base]
    if segments and segments[0].startswith("seeds="):
        seeds = segments.pop(0).removeprefix("seeds=")
    if _REPEATED.search("/" + "/".join(segments)):
        raise PruneryError(
            "the same steps stand in a row 20 times or more, which Snakemake takes for endless: repeat fewer"
        )
    return Recipe(base, parse_seeds(seeds), tuple(map(parse_step, segments)))


def file_name(name: str) -> str:
    """A data set's name as part of a file name. `hf:org/set` gets a digest, so that no two names share a file.

    >>> file_name("digits"), file_name("hf:org/set")
    ('digits', 'hf-org-set-04065d63')
    """
    if re.fullmatch(NAME, name) and len(name) <= LONGEST_NAME:
        return name
    return f"{re.sub('[^A-Za-z0-9_.-]', '-', name[:LONGEST_NAME])}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def expand(text: str) -> list[str]:
    """The written-out recipes of a short spelling: brace lists multiply, cycles repeat.

    >>> expand("net/prune={seb,random}@0.5")
    ['net/prune=seb@0.5', 'net/prune=random@0.5']
    >>> expand("net/(prune=seb@0.1..0.2:0.1/finetune=short)")
    ['net/prune=seb@0.1/finetune=short/prune=seb@0.2/finetune=short']
    >>> expand("net/(finetune=short)*2")
    ['net/finetune=short/finetune=short']
    """
    parts = _BRACES.split(text)
    choices = [part.split(",") if odd else [part] for part, odd in zip(parts, _alternate(len(parts)), strict=True)]
    if (count := prod(map(len, choices))) > MOST_RECIPES:
        raise PruneryError(f"it stands for {count:.3g} recipes: write fewer in its braces, {MOST_RECIPES:,} in all")
    return [_CYCLE.sub(_cycle, "".join(choice)) for choice in product(*choices)]


def _alternate(count: int) -> list[bool]:
    return [index % 2 == 1 for index in range(count)]


def _cycle(found: re.Match[str]) -> str:
    body, times = found[1], found[2]
    ranges = _RANGE.findall(body)
    if times:
        _check_rounds(Decimal(times))
        return "/".join([body] * int(times))
    if len(ranges) != 1:
        raise PruneryError(f"cycle ({body}): give one range such as @0.1..0.5:0.1, or a count such as (...)*3")
    return "/".join(_RANGE.sub(f"@{amount}", body) for amount in _amounts(*ranges[0]))


def _amounts(first: str, last: str, step: str) -> list[str]:
    try:
        low, high, by = Decimal(first), Decimal(last), Decimal(step)
    except InvalidOperation as error:  # pragma: no cover - the pattern admits numbers only
        raise PruneryError(f"range {first}..{last}:{step} is not numeric") from error
    if by <= 0 or high < low:
        raise PruneryError(f"range {first}..{last}:{step}: the step must be positive and the end not below the start")
    _check_rounds((high - low) / by)
    count = int((high - low) / by) + 1
    return [format(low + by * index, "f") for index in range(count)]


def _check_rounds(count: Decimal) -> None:
    if count > MOST_ROUNDS:
        raise PruneryError(f"a cycle of {count:.3g} rounds is too long: write at most {MOST_ROUNDS:,}")
