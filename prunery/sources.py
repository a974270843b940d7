"""The user's own files that a study reads, and what is left out where optional ones are missing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from prunery.config import told_as
from prunery.datafolder import data_folder
from prunery.errors import PruneryError
from prunery.places import Places
from prunery.recipe import Recipe, file_name


class Sources(Places):
    """Where a study's data and first weights come from."""

    absent: dict[str, str]
    """Bases that are left out, and why."""

    def data_of(self, base: str) -> str:
        """The prepared data file of a base."""
        return f"{self.root}/data={file_name(self.study.bases[base].data)}.safetensors"

    def weights_of(self, base: str) -> list[str]:
        """The local files with first values that the model of a base names."""
        return self.files_of("model", self.study.bases[base].model)

    @cache  # noqa: B019 - one workflow lives as long as its process
    def files_of(self, stage: str, variant: str) -> list[str]:
        """The user's files that a data source or a model reads. Raises `PruneryError` where one is missing."""
        method: Any = self.study.method(self.registry, stage, variant)
        where = (data_folder(self.study.data_folder),) if stage == "data" else ()
        return [str(path) for path in method.files(*where)]

    def missing_files(self, listed: list[Recipe]) -> dict[str, str]:
        """Bases left out since the files of their optional data are missing, and the complaint of each.

        Whatever else is missing is refused before any job starts, for every base that a recipe begins with; so are
        studies that have no other bases.
        """
        absent: dict[str, str] = {}
        names = list(dict.fromkeys(recipe.base for recipe in listed))
        for name in names:
            base = self.study.bases[name]
            for stage in ("data", "model"):
                try:
                    with told_as(f"bases.{name}.{stage}"):
                        self.files_of(stage, getattr(base, stage))
                except PruneryError as error:
                    if stage == "model" or not getattr(self.study.data.get(base.data), "optional", False):
                        raise
                    absent[name] = str(error)
                    break
        if names and len(absent) == len(names):
            raise PruneryError(next(iter(absent.values())))
        return absent

    def present(self, recipes: Iterable[Recipe]) -> list[Recipe]:
        """Those of the recipes whose data are here."""
        return [recipe for recipe in recipes if recipe.base not in self.absent]
