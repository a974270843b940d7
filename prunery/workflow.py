"""What the rules ask: which files a job reads, what it is told, and which files the study wants.

Everything that can change a result goes to Snakemake as an input file or inside `params.job`, a JSON text with the
validated settings and the fingerprint of the code that will run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from prunery.checking import analysed, check_profiles, check_recipe, measured
from prunery.config import read_profiles
from prunery.contract import TRANSFORMS, Method
from prunery.identity import identity, report_code, stage_code
from prunery.packing import pack
from prunery.recipe import Recipe
from prunery.registry import Registry, build_registry
from prunery.reporting.claims import read_claims
from prunery.sources import Sources
from prunery.together import Together, trained_together

Wildcards = Any  # Snakemake's namedlist of wildcard values: attributes by name


class Workflow(Sources):
    """One study as the rules see it. Raises `PruneryError` for any mistake in the config."""

    def __init__(self, config: Mapping[str, Any], scripts: Path, registry: Registry | None = None) -> None:
        studies = read_profiles(config)
        study = next(iter(studies.values()))
        super().__init__(study, registry or build_registry(tuple(study.plugins)))
        self.listed = check_profiles(studies, self.registry)
        read_claims(map(Path, self.study.claims))
        self.absent = self.missing_files(self.listed)
        self.recipes = self.present(self.listed)
        self.scripts = scripts

    # --- input files -------------------------------------------------------------------------------------------------

    def dense(self, wildcards: Wildcards) -> str:
        """Input: the recipe's dense network."""
        return self.network(self.dense_folder(wildcards.folder))

    def data(self, wildcards: Wildcards) -> str:
        """Input: the prepared data file of the base a path starts with."""
        self._check_asked(wildcards)
        return self.data_of(_base_of(wildcards))

    def data_files(self, wildcards: Wildcards) -> list[str]:
        """Input: the user's files that a data source reads."""
        return self.files_of("data", self.data_names[wildcards.data])

    def weights(self, wildcards: Wildcards) -> list[str]:
        """Input: the local files with first values that a base's model names."""
        return self.weights_of(wildcards.base)

    def measured(self, stage: str) -> Callable[[Wildcards], list[str]]:
        """Input function: the measurements of the parent that the stage's method needs."""

        def inputs(wildcards: Wildcards) -> list[str]:
            self._check_asked(wildcards)
            needs = [need.partition("=") for need in self._method(stage, wildcards).needs()]
            return [self.measure(wildcards.parent, kind, variant) for kind, _, variant in needs]

        return inputs

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
            trained = [prefix for prefix in recipe.prefixes() if self._history(prefix)]
            found += [file for prefix in trained for file in (self.network(str(prefix)), *self._history(prefix))]
            found.append(self.measure(str(recipe), "evaluate", self.study.measures.evaluate[0]))
        return list(dict.fromkeys([*found, *self._measured(method)]))

    def _measured(self, method: Method) -> list[str]:
        """The other measures that an analysis reads."""
        found = measured(self.study, self.registry, method, self.listed)
        return [self.measure(str(recipe), *kind) for recipe, *kind in found if recipe.base not in self.absent]

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

    @cached_property
    def together(self) -> list[Together]:
        """The bases that are trained by one job, batch by batch."""
        return trained_together(self)

    # --- what a job is told ------------------------------------------------------------------------------------------

    def job(self, stage: str) -> Callable[[Wildcards], str]:
        """Params function: what a job of this stage must know, as JSON with sorted keys.

        It takes wildcards only: Snakemake compares no params that are derived from input or output.
        """
        return lambda wildcards: json.dumps(self._told(stage, wildcards), sort_keys=True)

    def files(self, wildcards: Wildcards, input: Any, output: Any) -> str:
        """Params function: where a job finds things, as JSON (packed if long); Snakemake compares the files, not it."""
        named = {name: [value] if isinstance(value, str) else list(value) for name, value in input.items()}
        places = {"plugins": self.study.plugins, "data_folder": self.study.data_folder}
        return pack(json.dumps({"input": named, "output": dict(output.items()), **places}, sort_keys=True))

    def _told(self, stage: str, wildcards: Wildcards) -> dict[str, Any]:
        variant, amount = self._chosen(stage, wildcards)
        told = {"stage": stage, "variant": getattr(wildcards, stage, ""), **self._identity(stage, variant, amount)}
        told["code"] = stage_code(stage, self.scripts)
        if stage == "data":
            return told
        if stage == "analyse":
            return told | {"root": self.root}
        base = self.study.bases[_base_of(wildcards)]
        told["model"] = self._identity("model", base.model)
        if stage == "train":
            told |= {"variant": base.train, "seeds": wildcards.seeds}
        if stage == "evaluate" and wildcards.folder in self.floors:
            told["floor"] = self.floors[wildcards.folder]
        if stage == "bench":
            backends = (self.registry.configured(*used, {}) for used in self._method(stage, wildcards).uses())
            told["backends"] = [identity(self.registry, backend) for backend in backends]
        return told

    def told_together(self, bases: list[str], seeds: str) -> dict[str, Any]:
        """What a job must know that trains several bases of one grid: as for the first, and the models' settings."""
        base = self.study.bases[bases[0]]
        models = [self._configured("model", self.study.bases[name].model) for name in bases]
        told = {"stage": "train", "variant": base.train, **self._identity("train", base.train)}
        told |= {"code": stage_code("train", self.scripts), "model": self._identity("model", base.model)}
        settings = [[name, model.settings.model_dump(mode="json")] for name, model in zip(bases, models, strict=True)]
        return told | {"seeds": seeds, "together": settings}

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

    @cache  # noqa: B019 - as above
    def _identity(self, stage: str, variant: str, amount: str | None = None) -> dict[str, Any]:
        return identity(self.registry, self._configured(stage, variant, amount))

    @cached_property
    def floors(self) -> dict[str, float]:
        """Folder of a recipe -> the mean validation accuracy that the config asks of it."""
        return {str(one): floor for text, floor in self.study.floors.items() for one in self.study.written_out([text])}

    # --- what the study wants ----------------------------------------------------------------------------------------

    @cached_property
    def wanted(self) -> list[str]:
        """The result files of every recipe, in order: what the report is made of."""
        measures, wanted = self.study.measures, []
        for recipe in self.recipes:
            for prefix in recipe.prefixes():
                folder = str(prefix)
                wanted += [self.network(folder), *self._history(prefix)]
                wanted += [self.measure(folder, "evaluate", name) for name in measures.evaluate]
            dense = str(recipe.prefixes()[0])
            wanted += [self.measure(dense, "calibrate", name) for name in measures.calibrate]
            wanted += [self.measure(dense, "spectral_fit", name) for name in measures.spectral_fit]
        for name, texts in measures.bench.items():
            benched = self.present(self.study.written_out(texts))
            wanted += [self.measure(str(recipe), "bench", name) for recipe in benched]
        for name in measures.analyse:
            wanted += [*self._measured(self._configured("analyse", name)), self.analysis(name)]
        return list(dict.fromkeys(wanted))

    def _history(self, recipe: Recipe) -> list[str]:
        last = recipe.steps[-1].stage if recipe.steps else "train"
        return [f"{self.root}/{recipe}/history.json"] if last in ("train", "finetune", "distill") else []

    @property
    def claims(self) -> list[str]:
        """The claims files that the report tests."""
        return self.study.claims

    def report_job(self) -> str:
        """Params of the report: its title, its profile, and the code that writes it."""
        told = {"stage": "report", "root": self.root, "profile": self.study.profile, "code": report_code(self.scripts)}
        return json.dumps(told | {"title": self.study.title or self.study.study}, sort_keys=True)

    @property
    def imports(self) -> list[str]:
        """Heavy modules that the study's jobs will want, for the process they are forked from."""
        used = [method for (stage, _), method in self.registry.methods.items() if stage in ("backend", "bench")]
        for base in self.study.bases.values():
            used.append(type(self.study.method(self.registry, "model", base.model)))
        return sorted({module for method in used for module in method.imports})

    def threads(self, stage: str) -> int:
        """Cores of one job of a stage: the config's `threads`, else one (small networks are fastest so)."""
        return self.study.threads.get(stage, 1)


def _base_of(wildcards: Wildcards) -> str:
    names = dict(wildcards.items())
    return str(names.get("base") or (names.get("parent") or names["folder"]).split("/")[0])
