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

from prunery.checking import check_profiles
from prunery.config import read_profiles
from prunery.identity import identity, report_code, stage_code
from prunery.inputs import Inputs, Wildcards, base_of
from prunery.packing import pack
from prunery.registry import Registry, build_registry
from prunery.reporting.claims import read_claims
from prunery.together import Together, trained_together


class Workflow(Inputs):
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

    @cached_property
    def together(self) -> list[Together]:
        """The bases that are trained by one job, batch by batch."""
        return trained_together(self)

    # --- what a job is told ------------------------------------------------------------------------------------------

    def job(self, stage: str) -> Callable[[Wildcards], str]:
        """Params function: what a job of this stage must know, as JSON; dictionaries keep the order of the config.

        It takes wildcards only: Snakemake compares no params that are derived from input or output.
        """
        return lambda wildcards: json.dumps(self._told(stage, wildcards))

    def files(self, wildcards: Wildcards, input: Any, output: Any) -> str:
        """Params function: where a job finds things, as JSON (packed if long); Snakemake compares the files, not it."""
        named = {name: [value] if isinstance(value, str) else list(value) for name, value in input.items()}
        places = {"plugins": self.study.plugins, "data_folder": self.study.data_folder}
        return pack(json.dumps({"input": named, "output": dict(output.items()), **places}))

    def _told(self, stage: str, wildcards: Wildcards) -> dict[str, Any]:
        variant, amount = self._chosen(stage, wildcards)
        told = {"stage": stage, "variant": getattr(wildcards, stage, ""), **self._identity(stage, variant, amount)}
        told["code"] = stage_code(stage, self.scripts)
        if stage == "data":
            return told
        if stage == "analyse":
            return told | {"root": self.root}
        base = self.study.bases[base_of(wildcards)]
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
                wanted += [self.network(folder), *self.history(prefix)]
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

    @property
    def claims(self) -> list[str]:
        """The claims files that the report tests."""
        return self.study.claims

    def report_job(self) -> str:
        """Params of the report: its title, its profile, and the code that writes it."""
        told = {"stage": "report", "root": self.root, "profile": self.study.profile, "code": report_code(self.scripts)}
        return json.dumps(told | {"title": self.study.title or self.study.study})

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
