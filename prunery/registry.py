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
from typing import Any, get_args

import pluggy
from pydantic import BaseModel, ValidationError

from prunery.admission import check_class, told_of
from prunery.contract import Method
from prunery.datafolder import expanded
from prunery.errors import PruneryError, complaint, shown, unknown
from prunery.hooks import PROJECT, Hooks

DEEPEST = 3
"""How many levels below a folder of plugins one may lie: a slip such as `plugins: [/]` must not search a whole disk."""


class Registry:
    """Methods by (stage, name); `broken` maps a plugin's name to why it was set aside.

    A name that two plugins claim is nobody's: `contested` says whose it was, and who uses it is told.
    """

    def __init__(self) -> None:
        self.methods: dict[tuple[str, str], type[Method]] = {}
        self.distributions: dict[tuple[str, str], tuple[str, str]] = {}
        self.broken: dict[str, str] = {}
        self.contested: dict[tuple[str, str], str] = {}

    def add_plugin(self, name: str, module: ModuleType, distribution: tuple[str, str]) -> None:
        """Register what a module's hook returns, checked. Raises `PruneryError` if it breaks the contract."""
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        try:
            manager.register(module, name=name)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PruneryError(f"plugin {name}: {error} (the only hook is register_methods)") from error
        if not manager.get_hookcallers(module):
            raise PruneryError(f"plugin {name}: it has no hook: put @hookimpl above its function register_methods")
        for method in _returned(name, manager):
            self._add(name, method, distribution)

    def _add(self, plugin: str, method: type[Method], distribution: tuple[str, str]) -> None:
        with told_of(plugin):
            check_class(method)
            key = (method.stage, method.name)
            if key in self.methods:
                owners = f"{method.__module__} is taken by {self.methods[key].__module__}"
                self.contested[key] = f"{method.stage} method {method.name!r} of {owners}: rename one"
                raise PruneryError(self.contested[key])
        self.methods[key] = method
        self.distributions[key] = distribution

    def get(self, stage: str, name: str) -> type[Method]:
        """The class of a method. Raises `PruneryError` offering the nearest name, or if two plugins claim this one."""
        if (stage, name) in self.contested:
            raise PruneryError(self.contested[stage, name])
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
        made = method(_validated(method, values))
        made.registry = self
        return made


def _returned(plugin: str, manager: pluggy.PluginManager) -> list[Any]:
    """What a plugin's hook returns. Raises `PruneryError` if that is no list, or if the hook fails."""
    with told_of(plugin):
        try:
            (methods,) = manager.hook.register_methods() or [None]  # pluggy drops a None
        except Exception as error:  # foreign code may fail in any way
            raise PruneryError(f"register_methods failed: {type(error).__name__}: {error}") from error
        if not isinstance(methods, list | tuple):
            raise PruneryError(f"register_methods returned {shown(methods)}: return a list of classes")
    return list(methods)


def _validated(method: type[Method], values: dict[str, Any]) -> Any:
    try:
        return method.Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        *above, last = first["loc"] or ("",)
        field, where = ".".join(map(str, first["loc"])), f"{method.stage} method {method.name!r}"
        if first["type"] == "extra_forbidden":
            place = f", setting {'.'.join(map(str, above))!r}" if above else ""
            raise PruneryError(f"{where}{place}: {unknown('setting', str(last), _known(method, above))}") from error
        if first["type"] == "missing":
            raise PruneryError(f"{where}: the setting {field!r} is missing") from error
        raise PruneryError(f"{where}{f', setting {field!r}' if field else ''}: {complaint(first)}") from error


def _known(method: type[Method], place: list[int | str]) -> Iterable[str]:
    """The keys that are known at a place inside the settings, such as `families.mnist`."""
    model: type[BaseModel] = method.Settings
    for part in place:
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return model.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a type hint names, in a container too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def load_folder(folder: Path, package: str) -> Iterable[tuple[str, ModuleType | BaseException]]:
    """Import every plugin package below `folder` as `<package>.<path>`; yields (name, module or why it failed).

    A plugin package is a folder, at most `DEEPEST` levels below, whose `__init__.py` mentions `register_methods`.
    Names that start with `_` or `.` are skipped.
    """
    for init in sorted(found for depth in range(DEEPEST + 1) for found in folder.glob("*/" * depth + "__init__.py")):
        parts = init.parent.relative_to(folder).parts
        hidden = any(part.startswith(("_", ".")) for part in parts)
        if hidden or "register_methods" not in init.read_text("utf-8", errors="replace"):
            continue
        name = ".".join((package, *parts))
        try:
            yield name, _import_path(name, init)
        except (Exception, SystemExit) as error:  # a plugin may fail in any way; it is named and set aside
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


def _load_entry_point(found: EntryPoint) -> Iterable[tuple[str, ModuleType | BaseException]]:
    """The plugin an entry point names, or, if it names a package without a hook, the plugins in its folder."""
    try:
        module = found.load()
    except (Exception, SystemExit) as error:  # as above
        yield found.name, error
        return
    if hasattr(module, "__path__") and not hasattr(module, "register_methods"):
        yield from load_folder(Path(next(iter(module.__path__))), module.__name__)
    else:
        yield found.name, module


def _load_own(folder: str) -> list[tuple[str, ModuleType | BaseException]]:
    """The plugins of a folder that the config names. Raises `PruneryError` if there is none."""
    path = expanded(folder) if folder.strip() else None
    if path is None or not path.is_dir():
        raise PruneryError(f"plugins: there is no folder {folder!r}: name one, relative to the folder of the run")
    package = "prunery_local_" + path.resolve().name.replace("-", "_")
    found = [(_place(folder, name, package), module) for name, module in load_folder(path, package)]
    if not found:
        wanted = "a plugin is a folder in it, with an __init__.py that defines register_methods"
        raise PruneryError(f"plugins: the folder {folder!r} holds no plugin: {wanted}")
    return found


def _place(folder: str, name: str, package: str) -> str:
    """How a user knows a plugin of a folder: by its path."""
    return (Path(folder) / name.removeprefix(package).strip(".").replace(".", "/")).as_posix()


def build_registry(folders: tuple[str, ...] = ()) -> Registry:
    """A registry of all installed plugins and those in `folders`."""
    registry = Registry()
    plugins: list[tuple[str, ModuleType | BaseException, tuple[str, str]]] = []
    for found in sorted(entry_points(group=PROJECT), key=lambda point: (point.name != "builtin", point.name)):
        origin = (found.dist.name, found.dist.version) if found.dist else ("unknown", "0")
        plugins += [(name, module, origin) for name, module in _load_entry_point(found)]
    for folder in folders:
        plugins += [(name, module, (f"folder {folder}", "0")) for name, module in _load_own(folder)]
    for name, module, origin in plugins:
        _admit(registry, name, module, origin)
    return registry


def _admit(registry: Registry, name: str, module: ModuleType | BaseException, origin: tuple[str, str]) -> None:
    try:
        if isinstance(module, BaseException):
            raise PruneryError(f"import failed: {type(module).__name__}: {module}")
        registry.add_plugin(name, module, origin)
    except PruneryError as error:
        registry.broken[name] = str(error).removeprefix(f"plugin {name}: ")


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
