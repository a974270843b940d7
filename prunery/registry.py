"""The registry: pluggy discovers, a dictionary selects.

Plugins come from entry points in group `prunery` (the built-in ones too) and from folders listed under `plugins:` in
the config. A plugin that cannot be loaded is set aside with its reason; only configs that use it fail.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from pydantic import ValidationError

from prunery.composition import check_rules
from prunery.contract import BASES, Method
from prunery.errors import PruneryError, unknown
from prunery.hooks import PROJECT, Hooks
from prunery.method import CHANGES


class Registry:
    """Methods by (stage, name); `broken` maps a plugin's name to why it was set aside."""

    def __init__(self) -> None:
        self.methods: dict[tuple[str, str], type[Method]] = {}
        self.distributions: dict[tuple[str, str], tuple[str, str]] = {}
        self.broken: dict[str, str] = {}

    def add_plugin(self, name: str, module: ModuleType, distribution: tuple[str, str]) -> None:
        """Register what a module's hook returns, checked. Raises `PruneryError` if it breaks the contract."""
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        manager.register(module, name=name)
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PruneryError(f"plugin {name}: {error} (the only hook is register_methods)") from error
        for methods in manager.hook.register_methods():
            for method in methods:
                self._add(name, method, distribution)

    def _add(self, plugin: str, method: type[Method], distribution: tuple[str, str]) -> None:
        stage, name = getattr(method, "stage", None), getattr(method, "name", None)
        if stage not in BASES or not name:
            stages = ", ".join(BASES)
            raise PruneryError(
                f"plugin {plugin}: {method.__qualname__} states no valid stage and name (stages: {stages})"
            )
        if not issubclass(method, BASES[stage]):
            wanted = BASES[stage].__name__
            raise PruneryError(f"plugin {plugin}: {method.__qualname__} is registered for {stage} but is no {wanted}")
        _check_promises(plugin, method)
        key = (stage, name)
        if key in self.methods:
            owners = f"{method.__module__} is taken by {self.methods[key].__module__}"
            raise PruneryError(f"plugin {plugin}: {stage} method {name!r} of {owners}: rename one")
        self.methods[key] = method
        self.distributions[key] = distribution

    def get(self, stage: str, name: str) -> type[Method]:
        """The class of a method. Raises `PruneryError` offering the nearest name."""
        if (stage, name) not in self.methods:
            raise PruneryError(unknown(f"{stage} method", name, self.names(stage)) + self.set_aside)
        return self.methods[stage, name]

    @property
    def set_aside(self) -> str:
        """What an error about an unknown name adds: the plugins that could not be loaded, and why."""
        aside = "; ".join(f"plugin {plugin} was set aside: {why}" for plugin, why in self.broken.items())
        return f" ({aside})" if aside else ""

    def names(self, stage: str) -> list[str]:
        """The names of a stage's methods, sorted."""
        return sorted(name for kind, name in self.methods if kind == stage)

    def configured(self, stage: str, name: str, settings: dict[str, Any], amount: float | None = None) -> Method:
        """A method with validated settings; `amount` is the number behind `@`, put into the field the method names."""
        method = self.get(stage, name)
        values = dict(settings)
        if amount is not None:
            target = method.Settings.amount
            if target is None:
                raise PruneryError(f"{stage} method {name!r} takes no amount: remove '@{amount:g}'")
            values[target] = amount
        return method(_validated(method, values))


def _check_promises(plugin: str, method: type[Method]) -> None:
    """The rules of composition and the promised changes of a method must be words that mean something."""
    for change in method.changes:
        if change not in CHANGES:
            raise PruneryError(f"plugin {plugin}: {method.__qualname__}.changes: {unknown('change', change, CHANGES)}")
    try:
        check_rules(method)
    except PruneryError as error:
        raise PruneryError(f"plugin {plugin}: {method.__qualname__}: {error}") from error


def _validated(method: type[Method], values: dict[str, Any]) -> Any:
    try:
        return method.Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "settings"
        where = f"{method.stage} method {method.name!r}, setting {field!r}"
        if first["type"] == "extra_forbidden":
            raise PruneryError(f"{where}: " + unknown("setting", field, method.Settings.model_fields)) from error
        raise PruneryError(f"{where}: {first['msg']} (given: {first['input']!r})") from error


def load_folder(folder: Path, package: str) -> Iterable[tuple[str, ModuleType | Exception]]:
    """Import every plugin package below `folder` as `<package>.<path>`; yields (name, module or why it failed).

    A plugin package is a folder whose `__init__.py` mentions `register_methods`. Names that start with `_` or `.` are
    skipped.
    """
    for init in sorted(folder.rglob("__init__.py")):
        parts = init.parent.relative_to(folder).parts
        if any(part.startswith(("_", ".")) for part in parts) or "register_methods" not in init.read_text("utf-8"):
            continue
        name = ".".join((package, *parts))
        try:
            yield name, _import_path(name, init)
        except Exception as error:  # a plugin may fail in any way; it is named and set aside
            yield name, error


def _import_path(name: str, init: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(init.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load_entry_point(found: EntryPoint) -> Iterable[tuple[str, ModuleType | Exception]]:
    """The plugin an entry point names, or, if it names a package without a hook, the plugins in its folder."""
    try:
        module = found.load()
    except Exception as error:  # as above
        yield found.name, error
        return
    if hasattr(module, "__path__") and not hasattr(module, "register_methods"):
        yield from load_folder(Path(next(iter(module.__path__))), module.__name__)
    else:
        yield found.name, module


def build_registry(folders: tuple[str, ...] = ()) -> Registry:
    """A registry of all installed plugins and those in `folders`."""
    registry = Registry()
    plugins: list[tuple[str, ModuleType | Exception, tuple[str, str]]] = []
    for found in sorted(entry_points(group=PROJECT), key=lambda point: (point.name != "builtin", point.name)):
        origin = (found.dist.name, found.dist.version) if found.dist else ("unknown", "0")
        plugins += [(name, module, origin) for name, module in _load_entry_point(found)]
    for folder in folders:
        if not Path(folder).is_dir():
            raise PruneryError(f"plugins: there is no folder {folder!r}")
        package = "prunery_local_" + Path(folder).resolve().name.replace("-", "_")
        plugins += [(name, module, (f"folder {folder}", "0")) for name, module in load_folder(Path(folder), package)]
    for name, module, origin in plugins:
        _admit(registry, name, module, origin)
    return registry


def _admit(registry: Registry, name: str, module: ModuleType | Exception, origin: tuple[str, str]) -> None:
    try:
        if isinstance(module, Exception):
            raise PruneryError(f"import failed: {type(module).__name__}: {module}")
        registry.add_plugin(name, module, origin)
    except PruneryError as error:
        registry.broken[name] = str(error)


_folders: tuple[str, ...] = ()


def use_folders(folders: tuple[str, ...]) -> None:
    """Name the plugin folders that this process's registry includes (the config's `plugins`)."""
    global _folders
    _folders = folders


def registry() -> Registry:
    """The registry of this process, built once."""
    return _registry(_folders)


@lru_cache(maxsize=8)
def _registry(folders: tuple[str, ...]) -> Registry:
    return build_registry(folders)
