"""The registry: what it refuses, what it sets aside, and what it says."""

import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import prunery
from prunery.errors import PruneryError
from prunery.hooks import hookimpl
from prunery.registry import Registry, build_registry, load_folder

ORIGIN = ("somewhere", "1.0")


def pruner(name: str, module: str = "first", **attributes):
    """A pruner class that claims to come from `module`."""
    body = {"mask": lambda *_: None, "__module__": module, **attributes}
    return type("Made", (prunery.LayerPruner,), {**body, **({"name": name} if name else {})})


def plugin(*methods, hook: str = "register_methods") -> ModuleType:
    module = ModuleType("made")
    setattr(module, hook, hookimpl(lambda: list(methods)))
    return module


def write(folder: Path, name: str, code: str) -> Path:
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return package


METHOD = """
    from prunery import LayerPruner, hookimpl

    class Rows(LayerPruner):
        name = "{name}"

        def mask(self, key, weight, measured, generator):
            return weight != 0

    @hookimpl
    def register_methods():
        return [Rows]
"""


def test_duplicates_name_both_culprits():
    registry = Registry()
    registry.add_plugin("one", plugin(pruner("thin", "package_a")), ORIGIN)
    with pytest.raises(PruneryError, match=r"two: prune method 'thin' of package_b is taken by package_a") as raised:
        registry.add_plugin("two", plugin(pruner("thin", "package_b")), ORIGIN)
    assert "\n" not in str(raised.value)
    assert registry.methods["prune", "thin"].__module__ == "package_a"


def test_unknown_hooks_are_refused():
    with pytest.raises(PruneryError, match=r"plugin odd: .*register_method\b.*the only hook is register_methods"):
        Registry().add_plugin("odd", plugin(pruner("thin"), hook="register_method"), ORIGIN)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (pruner(""), "Made states no valid stage and name"),
        (pruner("thin", stage="shrink"), "Made states no valid stage and name"),
        (pruner("thin", stage="quantize"), "registered for quantize but is no Quantizer"),
    ],
)
def test_classes_without_a_place_are_refused(method, said):
    with pytest.raises(PruneryError, match=f"plugin odd: .*{said}"):
        Registry().add_plugin("odd", plugin(method), ORIGIN)


def test_unknown_methods_offer_the_nearest():
    registry = build_registry()
    with pytest.raises(PruneryError, match=r"unknown prune method 'magnitud': did you mean 'magnitude'\?"):
        registry.get("prune", "magnitud")
    with pytest.raises(PruneryError, match=r"known are .*magnitude, nm, random, rmt, seb"):
        registry.get("prune", "xyz")


def test_plugins_of_a_folder_are_found(tmp_path):
    write(tmp_path, "rows", METHOD.format(name="rows"))
    write(tmp_path, "deep/er", METHOD.format(name="deeper"))
    write(tmp_path, "_template", METHOD.format(name="template"))
    write(tmp_path, "helpers", "x = 1")
    registry = build_registry((str(tmp_path),))
    assert {"rows", "deeper"} <= set(registry.names("prune"))
    assert "template" not in registry.names("prune")
    assert registry.distributions["prune", "rows"][0] == f"folder {tmp_path}"
    assert registry.broken == {}


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(PruneryError, match=r"there is no folder .*nowhere"):
        build_registry((str(tmp_path / "nowhere"),))


def test_a_broken_plugin_fails_only_those_who_use_it(tmp_path):
    write(tmp_path, "broken", METHOD.format(name="broken") + "\n    import no_such_module_anywhere")
    write(tmp_path, "sound", METHOD.format(name="sound"))
    registry = build_registry((str(tmp_path),))
    assert len(registry.broken) == 1
    assert registry.get("prune", "sound").name == "sound"
    with pytest.raises(
        PruneryError, match=r"unknown prune method 'broken'.*set aside.*no_such_module_anywhere"
    ) as raised:
        registry.get("prune", "broken")
    assert "\n" not in str(raised.value)


def test_a_name_that_two_plugins_claim_is_nobodys(tmp_path):
    write(tmp_path, "mine", METHOD.format(name="magnitude"))
    registry = build_registry((str(tmp_path),))
    (reason,) = registry.broken.values()
    assert "is taken by prunery_plugins.prune.magnitude: rename one" in reason
    with pytest.raises(PruneryError, match=r"is taken by prunery_plugins\.prune\.magnitude: rename one"):
        registry.get("prune", "magnitude")
    assert registry.get("prune", "random").__module__ == "prunery_plugins.prune.random"


def test_a_failed_import_leaves_nothing_behind(tmp_path):
    package = write(tmp_path, "late", "raise RuntimeError('not yet')  # register_methods")
    ((name, failure),) = load_folder(tmp_path, "late_plugins")
    assert (name, str(failure)) == ("late_plugins.late", "not yet")
    (package / "__init__.py").write_text(textwrap.dedent(METHOD.format(name="late")), encoding="utf-8")
    ((_, module),) = load_folder(tmp_path, "late_plugins")
    assert isinstance(module, ModuleType)


@pytest.mark.parametrize(
    ("name", "settings", "amount", "said"),
    [
        ("nm", {}, 0.5, "prune method 'nm' takes no amount: remove '@0.5'"),
        ("magnitude", {}, 1.5, r"prune method 'magnitude', setting 'sparsity': .*than or equal to 1 \(given: 1.5\)"),
        ("magnitude", {"scopes": "layer"}, None, r"unknown setting 'scopes': did you mean 'scope'\?"),
        ("magnitude", {"scope": "row"}, None, "setting 'scope': .*'profile' or 'sensitivity'"),
        ("magnitude", {"sparsity": "much"}, None, "setting 'sparsity': .*number"),
        ("magnitude", {"sparsity": float("nan")}, None, "setting 'sparsity'"),
    ],
)
def test_bad_settings_are_one_line(name, settings, amount, said):
    with pytest.raises(PruneryError, match=said) as raised:
        build_registry().configured("prune", name, settings, amount)
    assert "\n" not in str(raised.value)


def test_the_amount_sets_the_field_the_method_names():
    method = build_registry().configured("prune", "magnitude", {"scope": "layer"}, amount=0.7)
    assert (method.settings.sparsity, method.settings.scope) == (0.7, "layer")
