"""Where everything of a study lies: the names that stand in paths, and the paths they stand in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from prunery.config import Study
from prunery.contract import TRANSFORMS
from prunery.recipe import AMOUNT, Recipe, file_name, parse
from prunery.registry import Registry

EXTENSION = {"calibrate": "safetensors", "spectral_fit": "json", "evaluate": "json", "bench": "json", "analyse": "json"}
RESULTS = "results"


class Places:
    """The folders and files of one study."""

    def __init__(self, study: Study, registry: Registry) -> None:
        self.study = study
        self.registry = registry

    @property
    def root(self) -> str:
        """The study's results folder: `results` for the default study, `results/<study>` for others."""
        return RESULTS if self.study.study == "default" else f"{RESULTS}/{self.study.study}"

    @property
    def report(self) -> str:
        """The page a user opens."""
        return f"{self.root}/report.html"

    def analysis(self, variant: str) -> str:
        """What a variant of `analyse` found in the study."""
        return f"{self.root}/analyse={variant}.{EXTENSION['analyse']}"

    @cached_property
    def constraints(self) -> dict[str, str]:
        """A regular expression for every wildcard, built from the names that exist."""
        variants = {stage: self._names_of(stage) for stage in (*TRANSFORMS, *EXTENSION)}
        steps = "|".join(f"{stage}={variants[stage]}" for stage in TRANSFORMS)
        dense = rf"(?:{_any_of(self.study.bases)})/seeds=\d+-\d+"
        folder = rf"{dense}(?:/(?:{steps}))*"
        plain = {"base": _any_of(self.study.bases), "seeds": r"\d+-\d+", "data": _any_of(self.data_names)}
        return {**plain, **variants, "parent": folder, "folder": folder}

    def _names_of(self, stage: str) -> str:
        names = {*self.study.variants(stage), *self.registry.names(stage)}
        return rf"(?:{_any_of(names)})" + (rf"(?:@{AMOUNT})?" if stage in TRANSFORMS else "")

    @cached_property
    def data_names(self) -> dict[str, str]:
        """What stands behind `data=` in file names -> what the config calls it."""
        bases = [base.data for base in self.study.bases.values()]
        return {file_name(name): name for name in (*self.study.data, *self.registry.names("data"), *bases)}

    def recipe(self, folder: str) -> Recipe:
        """The recipe that a folder below the results folder spells."""
        return parse(folder, {name: str(base.seeds) for name, base in self.study.bases.items()})

    def dense_folder(self, folder: str) -> str:
        """The folder of the recipe's own dense network."""
        return str(self.recipe(folder).prefixes()[0])

    def network(self, folder: str) -> str:
        """The record of the checkpoint in a folder."""
        return f"{self.root}/{folder}/model.json"

    def measure(self, folder: str, stage: str, variant: str) -> str:
        """What a variant of a measure found of the network in a folder."""
        return f"{self.root}/{folder}/{stage}={variant}.{EXTENSION[stage]}"


def _any_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names))
