"""Which files a job reads, by the wildcards of its rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

from prunery.checking import analysed, check_recipe, measured
from prunery.contract import TRANSFORMS, Method, Projector, Selector
from prunery.needs import Need, parse_need
from prunery.recipe import Recipe
from prunery.sources import Sources

Wildcards = Any  # Snakemake's namedlist of wildcard values: attributes by name


class Inputs(Sources):
    """The input functions of the rules, and the methods behind their wildcards."""

    listed: list[Recipe]
    """The recipes that the config lists."""

    def dense(self, wildcards: Wildcards) -> str:
        """Input: the recipe's dense network."""
        return self.network(self.dense_folder(wildcards.folder))

    def data(self, wildcards: Wildcards) -> str:
        """Input: the prepared data file of the base a path starts with."""
        self._check_asked(wildcards)
        return self.data_of(base_of(wildcards))

    def data_files(self, wildcards: Wildcards) -> list[str]:
        """Input: the user's files that a data source reads."""
        return self.files_of("data", self.data_names[wildcards.data])

    def weights(self, wildcards: Wildcards) -> list[str]:
        """Input: the local files with first values that a base's model names."""
        return self.weights_of(wildcards.base)

    def measured(self, stage: str) -> Callable[[Wildcards], list[str]]:
        """Input function: the measurements that the stage's method needs, of the parent and of those before it."""

        def inputs(wildcards: Wildcards) -> list[str]:
            self._check_asked(wildcards)
            needs = map(parse_need, self._method(stage, wildcards).needs())
            return [file for need in needs for file in self._needed(wildcards.parent, need)]

        return inputs

    def _needed(self, parent: str, need: Need) -> list[str]:
        if need.dense:
            folders = [self.dense_folder(parent)]
        else:
            folders = list(map(str, self.recipe(parent).prefixes())) if need.history else [parent]
        return [self.measure(folder, need.stage, need.variant) for folder in folders]

    def restored(self, wildcards: Wildcards) -> list[str]:
        """Input: the recipe's dense network, for pruners that bring weights of it back."""
        method = self._method("prune", wildcards)
        wanted = isinstance(method, Projector) and method.restores
        return [self.network(self.dense_folder(wildcards.parent))] if wanted else []

    def tried(self, wildcards: Wildcards) -> list[str]:
        """Input: the prepared data, for pruners that train before they choose."""
        return [self.data(wildcards)] if isinstance(self._method("prune", wildcards), Selector) else []

    def teacher(self, wildcards: Wildcards) -> list[str]:
        """Input: the network a student learns from, if its recipe has a teacher."""
        method: Any = self._method("distill", wildcards)
        return self._teacher_of(method, wildcards.parent) if method.teacher else []

    def compared(self, wildcards: Wildcards) -> list[str]:
        """Input: the network that a recipe's last student is compared with: its teacher, or one named to that end."""
        students = [step for step in self.recipe(wildcards.folder).steps if step.stage == "distill"]
        if not students:
            return []
        return self._teacher_of(
            self._configured("distill", students[-1].variant, students[-1].amount), wildcards.folder
        )

    def _teacher_of(self, method: Any, folder: str) -> list[str]:
        """The recipe's own dense network, or that of another recipe by name; none where the settings name none."""
        name = getattr(method.settings, "teacher", "dense" if method.teacher else None)
        if name in (None, "dense"):
            return [self.network(self.dense_folder(folder))] if name else []
        return [self.network(str(self.study.written_out([name])[0]))]

    def analysed(self, wildcards: Wildcards) -> list[str]:
        """Input: the evaluations and other measures that an analysis reads, and how their networks trained."""
        method: Any = self._method("analyse", wildcards)
        found = []
        for recipe in self.present(analysed(self.study, method, self.listed)):
            trained = [prefix for prefix in recipe.prefixes() if self.history(prefix)]
            found += [file for prefix in trained for file in (self.network(str(prefix)), *self.history(prefix))]
            found.append(self.measure(str(recipe), "evaluate", self.study.measures.evaluate[0]))
        return list(dict.fromkeys([*found, *self._measured(method)]))

    def _measured(self, method: Method) -> list[str]:
        """The other measures that an analysis reads."""
        found = measured(self.study, self.registry, method, self.listed)
        return [self.measure(str(recipe), *kind) for recipe, *kind in found if recipe.base not in self.absent]

    def history(self, recipe: Recipe) -> list[str]:
        """How the network that ends a recipe trained, if its last step trains."""
        last = recipe.steps[-1].stage if recipe.steps else "train"
        return [f"{self.root}/{recipe}/history.json"] if last in ("train", "finetune", "distill") else []

    def _check_asked(self, wildcards: Wildcards) -> None:
        """Refuse a recipe that breaks a rule: it may have been asked for on the command line, unlisted."""
        names = dict(wildcards.items())
        steps = [f"{stage}={names[stage]}" for stage in ("seeds", *TRANSFORMS) if stage in names]
        folder = "/".join([names.get("folder") or names.get("parent") or names["base"], *steps])
        if folder not in self._listed:
            check_recipe(self.study, self.registry, self.recipe(folder))

    @cached_property
    def _listed(self) -> set[str]:
        return {str(prefix) for recipe in self.listed for prefix in recipe.prefixes()}

    # --- the methods behind wildcards --------------------------------------------------------------------------------

    def _chosen(self, stage: str, wildcards: Wildcards) -> tuple[str, str | None]:
        """The variant and the amount of a job."""
        if stage == "train":
            return self.study.bases[wildcards.base].train, None
        if stage == "data":
            return self.data_names[wildcards.data], None
        variant, _, amount = getattr(wildcards, stage).partition("@")
        return variant, amount or None

    def _method(self, stage: str, wildcards: Wildcards) -> Method:
        return self._configured(stage, *self._chosen(stage, wildcards))

    @cache  # noqa: B019 - as above; a study of thousands of jobs has few variants
    def _configured(self, stage: str, variant: str, amount: str | None = None) -> Method:
        return self.study.method(self.registry, stage, variant, amount)


def base_of(wildcards: Wildcards) -> str:
    """The base whose network a job works on."""
    names = dict(wildcards.items())
    return str(names.get("base") or (names.get("parent") or names["folder"]).split("/")[0])
