"""The files of a new plugin, from the templates of its stage in `prunery/templates`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from textwrap import fill

from prunery.commands.describe import default_text, range_text
from prunery.contract import Method
from prunery.fingerprint import PACKAGE
from prunery.registry import build_registry

TEMPLATES = PACKAGE / "templates"
STAGES = {
    stage: "learner" if stage in ("train", "finetune") else stage
    for stage in (
        "data", "model", "train", "prune", "finetune", "distill", "quantize", "calibrate", "spectral_fit", "evaluate",
        "analyse", "score",
    )
}  # fmt: skip
"""The stages that have a template, and its folder."""
LEARNERS = ("train", "finetune", "distill")
BRIEF = '\n    settings: ClassVar = {"epochs": 12, "learning_rate": 0.01, "batch_size": 32}'
"""What makes the contract's tests of a training recipe quick."""


@dataclass(frozen=True)
class Names:
    """A stage, a method's name, and what is called after it."""

    stage: str
    name: str

    @property
    def identifier(self) -> str:
        """As part of a module's name."""
        return self.name.replace("-", "_").lower()

    @property
    def class_name(self) -> str:
        """In capitals, such as `MyScore` for `my-score`."""
        return "".join(part[:1].upper() + part[1:] for part in re.split("[-_]", self.name))

    @property
    def distribution(self) -> str:
        """What the package is called where it is published."""
        return f"prunery-{self.identifier.replace('_', '-')}"

    @property
    def package(self) -> str:
        """What the package is called where it is imported."""
        return f"prunery_{self.identifier}"

    @property
    def fields(self) -> dict[str, str]:
        """What templates may name."""
        names = ("stage", "name", "identifier", "class_name", "distribution", "package")
        return {name: getattr(self, name) for name in names}


def rendered(names: Names, package: bool, version: str) -> dict[str, str]:
    """The plugin's files by their paths: the module, its card and its test; a package's `pyproject.toml` too."""
    module, test = _fill(names, "method.py"), f"test_{names.identifier}.py"
    plugin = {"__init__.py": module, "README.md": _card(names, module)}
    if not package:
        return {**plugin, test: _test(names, package)}
    project = _template("package/pyproject.toml").substitute(names.fields, version=version)
    placed = {f"{names.package}/{path}": text for path, text in plugin.items()}
    return {"pyproject.toml": project, **placed, f"tests/{test}": _test(names, package)}


def _template(name: str) -> Template:
    return Template((TEMPLATES / f"{name}.tmpl").read_text(encoding="utf-8"))


def _fill(names: Names, file: str) -> str:
    return _template(f"{STAGES[names.stage]}/{file}").substitute(names.fields)


def _test(names: Names, package: bool) -> str:
    """The test: the contract suite, and the case of its stage, with what they import."""
    case, helped = _fill(names, "test.py"), BRIEF if names.stage in LEARNERS else ""
    standard = {"import math": "math." in case, "from pathlib import Path": not package}
    standard |= {"from typing import ClassVar": bool(helped)}
    foreign = {f"import {name}": f"{name}." in case for name in ("pytest", "torch")}
    own = {
        "from prunery import Layer": "Layer(" in case,
        "from prunery.registry import build_registry": not package,
        "from prunery.testing import MethodContract": True,
    }
    own |= {"from prunery.toyresults import ToyStudy": "ToyStudy" in case}
    own |= {"from prunery.toys import toy_images": "toy_images" in case}
    own |= {f"from {names.package} import {names.class_name}": package}
    groups = [[line for line, wanted in group.items() if wanted] for group in (standard, foreign, own)]
    if not package:
        found = f'build_registry((str(Path(__file__).parent),)).get("{names.stage}", "{names.name}")'
        groups.append([f"{names.class_name} = {found}"])
    imports = "\n\n".join("\n".join(group) for group in groups if group)
    return _template("plugin/test.py").substitute(names.fields, imports=imports, helped=helped, case=case.rstrip())


def _card(names: Names, module: str) -> str:
    """The card: its sections, wrapped, and the settings that the module's method has."""
    lines = (line.partition(": ") for line in _fill(names, "card.md").splitlines())
    sections = {name: fill(text, 118, break_long_words=False, break_on_hyphens=False) for name, _, text in lines}
    settings = _settings(_method(names, module))
    return _template("plugin/README.md").substitute(names.fields, settings=settings, **sections)


def _method(names: Names, module: str) -> type[Method]:
    """The class that the module registers."""
    with TemporaryDirectory(prefix="prunery_new_") as folder:
        (Path(folder) / "__init__.py").write_text(module, encoding="utf-8")
        return build_registry((folder,)).get(names.stage, names.name)


def _settings(method: type[Method]) -> str:
    """The table of settings, in Markdown."""
    rows = [
        f"| `{name}` | {field.description} | {range_text(field) or '-'} | {default_text(field)} |"
        for name, field in method.Settings.model_fields.items()
    ]
    head = ["| setting | meaning | range | default |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else "None."
