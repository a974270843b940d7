"""Every mistake is one clear line: the table of what was given and what came, and the same through Snakemake.

`python tests/test_bad_input.py` writes the table to `docs/mistakes.md`.
"""
# ruff: noqa: E501 - a table reads best with a row to a line

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from prunery import files
from prunery.checkpoint import Checkpoint, Origin, Replica, save
from prunery.complaints import report_mistakes, why_not
from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.files import sha256
from prunery.findings import read_findings
from prunery.network import architecture, load_checkpoint
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.toyresults import toy_results
from prunery.toys import toy_checkpoint, toy_images
from prunery.train import train
from prunery.workflow import Workflow
from prunery.yamlfile import read_mapping

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mistakes.md"
STUDY: dict[str, Any] = {
    "study": "mine",
    "bases": {"net": {"data": "digits", "model": "mlp", "train": "quick", "seeds": "0-1"}},
    "recipes": ["net/prune=half@0.5"],
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 1}}},
    "prune": {"half": {"method": "magnitude"}},
}
BASE = STUDY["bases"]["net"]
REGIMES = {"mine": {"method": "regimes", "settings": {"families": {"net": {"bases": "net"}}}}}
Act = Callable[[Path], Any]


@dataclass(frozen=True)
class Row:
    """A mistake: what was given (in words), what a user's action calls, and the essential words said."""

    given: str
    act: Act
    says: str


# --- what a user does ------------------------------------------------------------------------------------------------


def config(**keys: Any) -> Act:
    """A run of the study with other keys, up to its first job."""
    return lambda _: Workflow({**STUDY, **keys}, ROOT / "scripts")


def simulate(**values: Any) -> Any:
    """The edits of quantization-aware training, for a small network."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    return registry().configured("finetune", "qat", values).edits(network, torch.zeros(1, 2))


class Doubled(torch.nn.Linear):
    """A layer with a forward of its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Twice the product."""
        return 2 * super().forward(input)


def quantized(**values: Any) -> Act:
    """Quantizing the weights of a small network, one of its layers unusual, one of its weights large."""

    def act(_: Path) -> None:
        network = torch.nn.Sequential(torch.nn.Flatten(), Doubled(64, 8), torch.nn.Linear(8, 4))
        network[2].weight.data[0, 0] = 1e6
        parent = Checkpoint(Origin("net", {}, toy_images().spec), {0: Replica(network)})
        quantize(registry().configured("quantize", "weights", values), parent, {})

    return act


def narrowed(**values: Any) -> Act:
    """Removing channels of a small network."""
    return lambda _: prune(registry().configured("prune", "channels", values), toy_checkpoint((0,)), {})


def base(**keys: Any) -> Act:
    """The same with another base."""
    return config(bases={"net": {**BASE, **keys}})


def settings(stage: str, method: str, **values: Any) -> Act:
    """The same with another variant of a stage."""
    return config(**{stage: {**STUDY.get(stage, {}), "mine": {"method": method, "settings": values}}})


def families(**found: Any) -> Act:
    """The same with an analysis of these families."""
    chosen = {"method": "regimes", "settings": {"families": found}}
    return config(measures={"analyse": ["mine"]}, analyse={"mine": chosen})


def sizes(key: str) -> Act:
    """An analysis of a made-up sweep by this setting of its model."""
    method: Any = registry().configured("analyse", "regimes", {"families": {"net": {"bases": "net-*"}}, "size": key})
    return lambda _: method.analyse(toy_results(method.recipes(), 2))


def damaged_analysis(folder: Path) -> None:
    """Reading an analysis of which the end is lost."""
    (folder / "analyse=mine.json").write_text('{"title": "Sizes", "tables": [')
    read_findings(folder / "analyse=mine.json")


def recipe(text: str) -> Act:
    """The same with another recipe."""
    return config(recipes=[text])


def text(content: str | bytes) -> Act:
    """Reading a config file with this content."""

    def act(folder: Path) -> None:
        (folder / "my.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        read_mapping(folder / "my.yaml")

    return act


def asked(path: str) -> Act:
    """A file that is asked for on the command line."""

    def act(_: Path) -> None:
        raise PruneryError(why_not(Workflow(STUDY, ROOT / "scripts"), path))

    return act


def plugin(code: str, used: str = "mine") -> Act:
    """A run of the study with a plugin of this code, whose method a recipe uses."""

    def act(folder: Path) -> None:
        own = folder / "methods" / "own"
        own.mkdir(parents=True)
        (own / "__init__.py").write_text(textwrap.dedent(code))
        try:
            config(plugins=[str(folder / "methods")], recipes=[f"net/prune={used}"])(folder)
        finally:
            sys.modules.pop("prunery_local_methods.own", None)

    return act


METHOD = """
    from prunery import LayerPruner, Settings, hookimpl

    class Mine(LayerPruner):
        name = "mine"
        {body}

        def mask(self, key, weight, measured, generator):
            return weight != 0

    @hookimpl
    def register_methods():
        return [Mine]
"""


def method(body: str) -> Act:
    """The same with a method that has this line in its class."""
    return plugin(METHOD.format(body=body))


# --- data ------------------------------------------------------------------------------------------------------------


def data(source: str, change: Callable[[Path], Any] | None = None, **values: Any) -> Act:
    """Reading a small data set of this kind in which something was changed."""

    def act(folder: Path) -> None:
        made = WRITERS[source](folder / "set")
        if change:
            change(made)
        registry().configured("data", source, {"folder": str(made), **values}).load(None)

    return act


def idx(path: Path, values: np.ndarray) -> None:
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes())


def idx_files(folder: Path) -> Path:
    folder.mkdir()
    for part, count in (("train", 40), ("t10k", 10)):
        idx(folder / f"{part}-images-idx3-ubyte", np.arange(count * 64, dtype=np.uint8).reshape(count, 8, 8))
        idx(folder / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 3)
    return folder


def csv_files(folder: Path) -> Path:
    folder.mkdir()
    for part in ("train", "test"):
        rows = [f"text number {number},{number % 2}" for number in range(20)]
        (folder / f"{part}.csv").write_text("\n".join(["text,label", *rows, ""]))
    return folder


def pictures(folder: Path) -> Path:
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (folder / place).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (9, 9), (number, 5, 9)).save(folder / place / f"{number}.webp", lossless=True)
    return folder


def sheets(folder: Path) -> Path:
    folder.mkdir()
    for part in ("train", "test"):
        Image.fromarray(np.arange(24 * 24 * 3, dtype=np.uint8).reshape(24, 24, 3)).save(
            folder / f"{part}.webp", lossless=True
        )
    np.savez(folder / "labels.npz", train_y=np.arange(9) % 3, test_y=np.arange(9) % 3)
    return folder


WRITERS = {"idx": idx_files, "csv": csv_files, "image_folder": pictures, "sheets": sheets}


def cut(name: str, kept: int = 30) -> Callable[[Path], Any]:
    """The file keeps only its first bytes."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:kept])


def lose(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def fill(name: str, content: str | bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def labels(values: list[int]) -> Callable[[Path], Any]:
    """The labels of the idx files' training split."""
    return lambda folder: idx(folder / "train-labels-idx1-ubyte", np.array(values, np.uint8))


# --- checkpoints and weights -----------------------------------------------------------------------------------------

SPEC = Spec("image", (1, 4, 4), 3)


def mlp() -> Any:
    return registry().configured("model", "mlp", {"width": 5})


def stored(folder: Path) -> Path:
    """A checkpoint of one small network."""
    save(Checkpoint(Origin(*mlp().origin(), SPEC), {0: Replica(mlp().build(SPEC))}), folder / "net")
    return folder / "net"


def checkpoint(change: Callable[[Path], Any]) -> Act:
    """Loading a checkpoint in which something was changed."""

    def act(folder: Path) -> None:
        made = stored(folder)
        change(made)
        load_checkpoint(made)

    return act


def record(change: Callable[[dict[str, Any]], Any]) -> Act:
    """The same where `model.json` says something else."""

    def edit(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text())
        change(content)
        (folder / "model.json").write_text(json.dumps(content))

    return checkpoint(edit)


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Act:
    """The same with other tensors, whose file has the hash that `model.json` says."""

    def edit(folder: Path) -> None:
        state = load_file(folder / "0.safetensors")
        change(state)
        save_file(state, folder / "0.safetensors")
        content = json.loads((folder / "model.json").read_text())
        content["replicas"]["0"]["files"]["0.safetensors"] = sha256(folder / "0.safetensors")
        (folder / "model.json").write_text(json.dumps(content))

    return checkpoint(edit)


def grid(**keys: Any) -> Act:
    """A config whose bases come from a grid."""
    whole = {"data": "digits", "train": "quick", "method": "mlp", "over": {"width": [5]}, **keys}
    return config(bases={}, grids={"g-{width}": whole}, recipes=["g-*"])


def weights(write: Callable[[Path], Any], name: str = "weights.pt", **values: Any) -> Act:
    """Starting from a file of weights."""

    def act(folder: Path) -> None:
        write(folder / name)
        chosen = {"path": str(folder / name), "model": "mlp", "settings": {"width": 5}, **values}
        registry().configured("model", "checkpoint", chosen).create(SPEC)

    return act


class Trap:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def trapped(path: Path) -> None:
    torch.save({"fc1.weight": torch.zeros(2), "extra": Trap(path.with_name("ran"))}, path)


def other_values(path: Path, **values: torch.Tensor) -> None:
    torch.save({**mlp().build(SPEC).state_dict(), **values}, path)


# --- jobs ------------------------------------------------------------------------------------------------------------


def diverge(_: Path) -> None:
    """Training at a rate at which it cannot but fail."""
    recipe = registry().configured("train", "supervised", {"epochs": 3, "learning_rate": 1e30, "optimizer": "sgd"})
    origin = Origin("mlp", {"width": 8}, toy_images().spec)
    train(recipe, architecture(origin), origin, toy_images(), [0, 1], lambda _: None)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can be synced to disk any more."""

    def fail(_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept, files.os.fsync = files.os.fsync, fail
    try:
        yield
    finally:
        files.os.fsync = kept


def save_on_full_disk(folder: Path) -> None:
    with full_disk():
        stored(folder)


CYCLE = {"a": {"method": "kd", "settings": {"teacher": "net/distill=b"}},
         "b": {"method": "kd", "settings": {"teacher": "net/distill=a"}}}  # fmt: skip

# --- the table -------------------------------------------------------------------------------------------------------

NAMES = [
    Row("a base that does not exist: `recipes: [nett]`", recipe("nett"), "recipe nett: unknown base 'nett': did you mean 'net'?"),
    Row("a stage that does not exist: `net/prun=half`", recipe("net/prun=half"), "unknown stage 'prun': did you mean 'prune'?"),
    Row("a variant that does not exist: `net/prune=hafl`", recipe("net/prune=hafl"), "unknown prune variant 'hafl': did you mean 'half'?"),
    Row("a method that does not exist: `method: magnitud`", settings("prune", "magnitud"), "prune.mine: unknown prune method 'magnitud': did you mean 'magnitude'?"),
    Row("a setting that does not exist: `sparsty: 0.5`", settings("prune", "magnitude", sparsty=0.5), "unknown setting 'sparsty': did you mean 'sparsity'?"),
    Row("a key that does not exist: `recipies:`", config(recipies=[]), "config, recipies: unknown key 'recipies': did you mean 'recipes'?"),
    Row("a key of a base that does not exist: `sedes: 0-4`", base(sedes="0-4"), "unknown key 'sedes': did you mean 'seeds'?"),
    Row("a base without its data", config(bases={"net": {"model": "mlp", "train": "quick"}}), "config: the key bases.net.data is missing"),
    Row("a model that does not exist: `model: mpl`", base(model="mpl"), "bases.net: unknown model variant 'mpl': did you mean 'mlp'?"),
    Row("an argument for a method without: `model: mlp:big`", base(model="mlp:big"), "model method 'mlp' takes no argument: remove ':big'"),
    Row("a measure that does not exist: `evaluate: [standrad]`", config(measures={"evaluate": ["standrad"]}), "measures.evaluate: unknown evaluate variant 'standrad': did you mean 'standard'?"),
    Row("a rule that does not exist: `threads: {trian: 2}`", config(threads={"trian": 2}), "threads: unknown rule 'trian': did you mean 'train'?"),
    Row("a profile that does not exist: `--config profile=gpu`", config(profile="gpu"), "unknown profile 'gpu': did you mean 'cpu'?"),
    Row("a mistake in a profile that is not in use", config(profiles={"cpu": {}, "paper": {"recipes": ["net/prune=hafl"]}}), "with profile paper: recipe net/seeds=0-1/prune=hafl: unknown prune variant"),
    Row("a name that is no folder's name: `prune: {a/b: ...}`", config(prune={**STUDY["prune"], "a/b": {"method": "magnitude"}}), "prune.a/b: a name is made of letters, digits"),
    Row("a study's name that leads elsewhere: `study: ../up`", config(study="../up"), "config, study: "),
    Row("a floor for a recipe that is not listed", config(floors={"net/prune=half@0.9": 0.5}), "floors: unknown recipe 'net/seeds=0-1/prune=half@0.9': did you mean"),
    Row("a folder of plugins that is not there", config(plugins=["my_methds"]), "plugins: there is no folder 'my_methds'"),
    Row("a claims file that is not there", config(claims=["no-claims.yaml"]), "there is no file 'no-claims.yaml'"),
]  # fmt: skip
VALUES = [
    Row("`sparsity: 1.5`", settings("prune", "magnitude", sparsity=1.5), "prune method 'magnitude', setting 'sparsity': it should be less than or equal to 1 (given: 1.5)"),
    Row("`net/prune=half@1.5`", recipe("net/prune=half@1.5"), "setting 'sparsity': it should be less than or equal to 1 (given: 1.5)"),
    Row("`bits: 3.5`", settings("quantize", "ptq", bits=3.5), "quantize method 'ptq', setting 'bits': it should be 8 or 4 (given: 3.5)"),
    Row("`net/quantize=ptq@3`", recipe("net/quantize=ptq@3"), "setting 'bits': it should be 8 or 4 (given: 3)"),
    Row("a clipping percentile of 0", settings("quantize", "ptq", range="percentile", percentile=0), "setting 'percentile': it should be greater than 50 (given: 0)"),
    Row("weights clipped at no percentile", settings("quantize", "ptq", clip_weights=True), "clip_weights goes with range: percentile"),
    Row("`net/quantize=weights@5`", recipe("net/quantize=weights@5"), "quantize method 'weights', setting 'format': it should be"),
    Row("a group of 48 weights", settings("quantize", "weights", format="int4", group=48), "setting 'group': runtimes have kernels for powers of two only"),
    Row("`prune=channels@0.95`, which leaves nothing of a layer", narrowed(share=0.95), "a share of 0.95 leaves none of the 8 channels of 0.weight: lower it, or set least"),
    Row("a profile for a layer that is not there", narrowed(scope="profile", profile={"fc9*": 0.5}), "unknown weight 'fc9*': known are 0.weight, 2.weight, 5.weight"),
    Row("a profile for the layer that gives the classes", narrowed(scope="profile", profile={"7.weight": 0.5}), "the channels of 7.weight cannot go: its channels are the network's output"),
    Row("a profile of two shares for three layers", narrowed(scope="profile", profile=[0.5, 0.5]), "the setting profile has 2 shares for 3 groups of layers: 0.weight, 2.weight, 5.weight"),
    Row("more multiply-accumulates than can go", narrowed(target="macs", scope="global", share=0.99), "of the macs can go under these settings, not 99.0%: ask for less"),
    Row("`score: l3`", settings("prune", "channels", score="l3"), "prune.mine: unknown score method 'l3'"),
    Row("a setting that its score does not have", settings("prune", "channels", score_settings={"power": 2}), "score method 'l2': unknown setting 'power'"),
    Row("a format for a layer that is not there", quantized(formats={"fc9*": "int4"}), "'fc9*'"),
    Row("int4 for a layer that has no such form", quantized(formats={"1.weight": "int4"}), "1.weight cannot be int4: its layer is a Doubled, whose forward is its own and stays in fp32"),
    Row("values beyond fp16", quantized(format="fp16"), "fp16 ends at 65504, so use bf16"),
    Row("`epochs: -1`", settings("train", "supervised", epochs=-1), "setting 'epochs': it should be greater than or equal to 0 (given: -1)"),
    Row("`epochs: many`", settings("train", "supervised", epochs="many"), "setting 'epochs': it should be a valid integer"),
    Row("`epochs: yes`, which YAML reads as true", settings("train", "supervised", epochs=True), "setting 'epochs': true and false (in YAML also yes, no, on, off) are no value for it"),
    Row("`learning_rate: .nan`", settings("train", "supervised", learning_rate=float("nan")), "setting 'learning_rate': it should"),
    Row("`.inf` within a setting that is a mapping", settings("model", "hf", config={"model_type": "bert", "hidden_size": float("inf")}), "setting 'config': it should hold finite numbers only"),
    Row("`widths: 256` where a list is due", settings("model", "mlp", widths=256), "setting 'widths': it should be a valid tuple (given: 256)"),
    Row("an amount for a method without: `net/prune=nm@0.5`", recipe("net/prune=nm@0.5"), "prune method 'nm' takes no amount: remove '@0.5'"),
    Row("`keep: 4, group: 4`, which prunes nothing", settings("prune", "nm", keep=4, group=4), "keep must be below group (4), or nothing would be pruned"),
    Row("`seeds: 4-2`", base(seeds="4-2"), "bases.net: seeds '4-2': write a range such as 0-4, first seed not above the last"),
    Row("`seeds: [0, 1]`", base(seeds=[0, 1]), "config, bases.net.seeds: it should be text (given: [0, 1])"),
    Row("`recipes: net` where a list is due", config(recipes="net"), "config, recipes: it should be a valid list (given: 'net')"),
    Row("`bases: []` where a mapping is due", config(bases=[]), "config, bases: it should be a mapping of keys to values (given: [])"),
    Row("`threads: {train: 0}`", config(threads={"train": 0}), "config, threads.train: it should be greater than or equal to 1 (given: 0)"),
    Row("`floors: {net/prune=half@0.5: 90}`, a share being due", config(floors={"net/prune=half@0.5": 90}), "it should be less than or equal to 1 (given: 90)"),
    Row("a width of 0 in a grid", grid(over={"width": [0, 5]}), "model.g-0: model method 'mlp', setting 'width': it should be greater than or equal to 1 (given: 0)"),
    Row("channels of 0 in a grid", grid(method="cnn", over={"width": [5], "channels": [0]}), "model.g-5: model method 'cnn', setting 'channels': it should be greater than or equal to 1 (given: 0)"),
    Row("a grid without members: `over: {width: []}`", grid(over={"width": []}), "grids.g-{width}: it has 0 members: give every key of over a value"),
    Row("sequences of a negative length: `times: -1`", grid(over={"width": [5], "shape": {"each": ["equal"], "times": -1}}), "it should be greater than or equal to 0 (given: -1)"),
    Row("a value twice in a grid: `over: {width: [5, 5]}`", grid(over={"width": [5, 5]}), "grids.g-{width}: two of its members are called 'g-5': give no value twice"),
    Row("a setting that a grid both fixes and varies", grid(settings={"width": 3}), "grids.g-{width}: 'width' stands in settings and in over: remove it from one"),
    Row("`together` with a key that does not vary", grid(together=["depth"]), "grids.g-{width}: unknown key of over 'depth': did you mean 'width'?"),
    Row("heads that do not divide the width", settings("model", "vit", dim=6, heads=4), "model method 'vit': heads 4 does not divide dim 6"),
    Row("optional data that are missing, and nothing else to do", config(data={"far": {"method": "idx", "optional": True}}, bases={"net": {**BASE, "data": "far"}}), "bases.net.data: data source 'idx' wants the folder 'mnist', but no data folder is set"),
    Row("`data_folder: ~nobody-here/data`", config(data_folder="~nobody-here/data", bases={"net": {**BASE, "data": "idx"}}), "the path '~nobody-here/data' names a user that does not exist"),
]  # fmt: skip
RECIPES = [
    Row("training after quantizing: `net/quantize=ptq/finetune=supervised`", recipe("net/quantize=ptq/finetune=supervised"), "finetune=supervised may not stand after quantize: put it before, or drop one of the two"),
    Row("pruning after quantizing", recipe("net/quantize=ptq/prune=half"), "prune=magnitude may not stand after quantize"),
    Row("quantizing twice", recipe("net/quantize=ptq/quantize=ptq"), "quantize=ptq may not stand after quantize"),
    Row("`quantize=qat` without training for it", recipe("net/finetune=supervised/quantize=qat"), "quantize=qat must stand after finetune=qat or train=qat: add that step before it, or train the base so"),
    Row("training for integers after them: `net/quantize=ptq/finetune=qat`", recipe("net/quantize=ptq/finetune=qat"), "finetune=qat may not stand after quantize"),
    Row("`bits: 3` of `finetune=qat`", settings("finetune", "qat", bits=3), "finetune method 'qat', setting 'bits': it should be 8 or 4"),
    Row("`formats` of `finetune=qat` without a `format`", settings("finetune", "qat", formats={"fc1*": "int4"}), "formats goes with a format: say which one all other layers have"),
    Row("`epochs: 0` of `train=qat`", settings("train", "qat", epochs=0), "train method 'qat', setting 'epochs': it should be greater than or equal to 1"),
    Row("`exclude` with every layer", lambda _: simulate(exclude=["*"]), "the setting exclude (*) leaves no layer"),
    Row("`quantize=qat` of a network that never simulated", lambda _: registry().configured("quantize", "qat", {}).plan({}, {}), "no layer of the network was trained under simulated quantization"),
    Row("a measure as a step: `net/evaluate=standard`", recipe("net/evaluate=standard"), "'evaluate=standard': evaluate is a measure, taken in a recipe's folders"),
    Row("training as a step: `net/train=quick`", recipe("net/train=quick"), "'train=quick': train is part of a base; the steps of a recipe are prune, finetune"),
    Row("a step without a variant: `net/prune`", recipe("net/prune"), "'prune' is no step: write stage=variant or stage=variant@amount"),
    Row("two slashes: `net//prune=half`", recipe("net//prune=half"), "'' is no step"),
    Row("an open brace: `net/prune={half`", recipe("net/prune={half"), "'prune={half' is no step"),
    Row("a cycle without a count: `net/(prune=half)`", recipe("net/(prune=half)"), "cycle (prune=half): give one range such as @0.1..0.5:0.1, or a count"),
    Row("a range that runs backwards", recipe("net/(prune=half@0.5..0.1:0.1)"), "the step must be positive and the end not below the start"),
    Row("a range of a million steps", recipe("net/(prune=half@0..1:0.000001)"), "a cycle of 1e+6 rounds is too long: write at most 1,000"),
    Row("the same step 20 times in a row", recipe("net/(finetune=supervised)*20"), "the same steps stand in a row 20 times or more"),
    Row("braces that stand for 10 million recipes", recipe("net" + "/prune={half,half,half,half,half,half,half,half,half,half}" * 7), "it stands for 1e+07 recipes: write fewer in its braces"),
    Row("a path too long for file systems", recipe("net" + "/prune=half/finetune=supervised/prune=random" * 90), "the path is too long for file systems"),
    Row("a teacher that its own student teaches", config(distill=CYCLE, recipes=["net/distill=a"]), "is made by its own student, distill="),
    Row("a teacher that stands for two recipes", settings("distill", "kd", teacher="net/prune={half,random}"), "distill.mine: teacher: 'net/prune={half,random}' stands for 2 recipes: name one"),
    Row("a teacher that does not exist", settings("distill", "kd", teacher="big"), "distill.mine: teacher: recipe big: unknown base 'big': known are net"),
]  # fmt: skip
YAML = [
    Row("a bracket that is not closed", text("bases: {net: [\n"), "my.yaml, line 2, column 1: this is no YAML"),
    Row("a tab", text("bases:\n\tnet: 1\n"), "my.yaml, line 2, column 1: this is no YAML: found character '\\t' that cannot start any token"),
    Row("a key that stands twice", text("recipes: [a]\nstudy: b\nrecipes: [c]\n"), "my.yaml, line 3: the key 'recipes' is there twice: it stands in line 1 already"),
    Row("an empty file", text(""), "my.yaml holds nothing: write lines of 'key: value'"),
    Row("a list at the top", text("- net\n"), "my.yaml holds a list: write lines of 'key: value'"),
    Row("bytes that are no UTF-8", text(b"study: \xff\n"), "my.yaml is not readable YAML ('utf-8' codec can't decode byte 0xff"),
    Row("a date that is none", text("title: 2024-99-99\n"), "my.yaml is not readable YAML (month must be in 1..12)"),
    Row("an anchor that holds itself", text("bases: &a {net: *a}\n"), "an anchor holds an alias of itself"),
    Row("a tag that would run code", text("study: !!python/object/apply:os.getcwd []\n"), "could not determine a constructor for the tag"),
    Row("no file", lambda folder: read_mapping(folder / "my.yaml"), "there is no file"),
]  # fmt: skip
LEAF = "results/mine/net/seeds=0-1"
TARGETS = [
    Row(f"`{LEAF}/prune=hafl@0.5/model.json`", asked(f"{LEAF}/prune=hafl@0.5/model.json"), "unknown prune variant 'hafl': did you mean 'half'?"),
    Row("`results/mine/nett/seeds=0-1/model.json`", asked("results/mine/nett/seeds=0-1/model.json"), "unknown base 'nett': did you mean 'net'?"),
    Row(f"a folder: `{LEAF}/prune=half@0.5`", asked(f"{LEAF}/prune=half@0.5"), f"ask for {LEAF}/prune=half@0.5/model.json"),
    Row(f"`{LEAF}/evaluate=standrad.json`", asked(f"{LEAF}/evaluate=standrad.json"), "unknown evaluate variant 'standrad': did you mean 'standard'?"),
    Row(f"`{LEAF}/quantize=ptq/prune=half/model.json`", asked(f"{LEAF}/quantize=ptq/prune=half/model.json"), "prune=magnitude may not stand after quantize"),
    Row("another study's file: `results/yours/report.html`", asked("results/yours/report.html"), "results/yours/report.html is not below results/mine"),
]  # fmt: skip
PLUGINS = [
    Row("an import that fails", plugin("import no_such_module  # register_methods"), "methods/own was set aside: import failed: ModuleNotFoundError: No module named 'no_such_module'"),
    Row("code that is no Python", plugin("def register_methods(:"), "was set aside: import failed: SyntaxError"),
    Row("a plugin that ends the program", plugin("import sys; sys.exit(3)  # register_methods"), "was set aside: import failed: SystemExit: 3"),
    Row("a folder without a plugin", plugin("x = 1"), "holds no plugin: a plugin is a folder in it, with an __init__.py that defines register_methods"),
    Row("a class without a name", plugin(METHOD.replace('name = "mine"', "").format(body="")), "Mine states no valid stage and name"),
    Row("a name that is no folder's name", method("name = 'a b'"), "its name 'a b' should be letters, digits"),
    Row("a built-in method's name", plugin(METHOD.replace('"mine"', '"magnitude"').format(body="")), "prune method 'magnitude' of prunery_local_methods.own is taken by prunery_plugins.prune.magnitude: rename one"),
    Row("an unknown hook", plugin("    # register_methods" + METHOD.replace("def register_methods", "def register_method").format(body="")), "unknown hook 'register_method'"),
    Row("a hook without @hookimpl", plugin(METHOD.replace("@hookimpl", "").format(body="")), "it has no hook: put @hookimpl above its function register_methods"),
    Row("a hook that returns nothing", plugin(METHOD.replace("return [Mine]", "pass").format(body="")), "register_methods returned None: return a list of classes"),
    Row("a hook that fails", plugin(METHOD.replace("return [Mine]", "1 / 0").format(body="")), "register_methods failed: ZeroDivisionError: division by zero"),
    Row("an object in the place of a class", plugin(METHOD.replace("[Mine]", "[Mine()]").format(body="")), "among its classes: return classes only"),
    Row("another stage's base class", method("stage = 'quantize'"), "Mine is registered for quantize but is no Quantizer"),
    Row("a method that is not finished", plugin(METHOD.replace("def mask", "def masc").format(body="")), "Mine: it lacks mask: define what LayerPruner asks for"),
    Row("a promise that does not exist", method("changes = ('zeroes',)"), "Mine: changes: unknown change 'zeroes': did you mean 'zeros'?"),
    Row("a forgotten comma in a tuple", method("changes = ('zeros')"), "its changes should be a tuple of texts, such as ('one',), not 'zeros'"),
    Row("a rule about what is no step", method("follows = ('calibrate',)"), "its rule 'calibrate' names no step"),
    Row("an amount that is no setting", method("Settings = type('S', (Settings,), {'amount': 'sparsity'})"), "Mine: amount: unknown setting 'sparsity'"),
    Row("settings that are no Settings", method("Settings = dict"), "Mine: its Settings should be a subclass of prunery.Settings"),
    Row("a need that is no measurement", method("needs = lambda self: ('activations',)"), "it needs 'activations', which is no measurement"),
]  # fmt: skip
DATA = [
    Row("`data: idx` without its files", data("idx", lambda folder: [path.unlink() for path in folder.iterdir()]), "data source 'idx' wants train-images-idx3-ubyte"),
    Row("`data: idx` without a data folder", base(data="idx"), "data source 'idx' wants the folder 'mnist', but no data folder is set"),
    Row("an idx file cut off", data("idx", cut("train-images-idx3-ubyte")), "train-images-idx3-ubyte holds 14 values where its header says 2560: fetch it again"),
    Row("an idx file of something else", data("idx", fill("t10k-images-idx3-ubyte", "<html>not found</html>")), "is no idx file of bytes with 3 axes"),
    Row("a packed idx file that is damaged", data("idx", lambda folder: ((folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x" * 99)[:-9]), lose("train-images-idx3-ubyte")(folder))), "train-images-idx3-ubyte.gz is a damaged gzip file"),
    Row("more images than labels", data("idx", labels([0, 1, 2])), "holds 40 images, but"),
    Row("labels beyond the named classes", data("idx", classes=["a", "b"]), "has labels from 0 to 2, but there are 2 classes (0 to 1)"),
    Row("a single class", data("idx", labels([1] * 40)), "every training label is 1: a classifier needs at least two classes"),
    Row("no training samples", data("csv", fill("train.csv", "text,label\n")), "train.csv holds no rows below its header"),
    Row("nothing left to train on: `validation: 0.99` of 20", data("csv", validation=0.99), "the train split is empty: raise the limits or give more data"),
    Row("a csv file without the column", data("csv", text_column="body"), "train.csv: unknown column 'body': known are label, text"),
    Row("a csv row with a field too many", data("csv", fill("train.csv", "text,label\na,0\nb,1,2\n")), "train.csv, line 3: 3 fields where the header has 2"),
    Row("a csv file that is no text", data("csv", fill("test.csv", b"text,label\n\xff\xfe,0\n")), "test.csv is not a readable csv file"),
    Row("a csv label that is no class", data("csv", fill("test.csv", "text,label\na,7\n")), "test.csv, line 2: the label '7' is not one of the classes"),
    Row("an image folder without `test`", data("image_folder", lambda folder: (folder / "test").rename(folder / "tset")), "wants the folders train/<class>/ and test/<class>/"),
    Row("a WebP picture cut off", data("image_folder", cut("train/cat/0.webp")), "train/cat/0.webp is not a readable image"),
    Row("a class folder without pictures", data("image_folder", lambda folder: [path.unlink() for path in (folder / "train/dog").iterdir()]), "train/dog holds no pictures"),
    Row("a WebP sheet cut off", data("sheets", cut("train.webp"), tile=8), "train.webp is not a readable image"),
    Row("a sheet that is no grid of such tiles", data("sheets", tile=7), "train.webp has 24 x 24 pixels: no grid of 7-pixel tiles: set tile to their size"),
    Row("fewer tiles than labels", data("sheets", tile=12), "hold 4 tiles of 12 pixels for 9 labels"),
    Row("a labels.npz that is none", data("sheets", fill("labels.npz", "PK"), tile=8), "labels.npz is not a readable file of labels"),
    Row("a sheet without its labels", data("sheets", lose("labels.npz"), tile=8), "data source 'sheets' wants labels.npz"),
]  # fmt: skip
CHECKPOINTS = [
    Row("a tensor file cut off", checkpoint(cut("0.safetensors")), "0.safetensors is not what was written (its hash differs): delete"),
    Row("a tensor file that is gone", checkpoint(lose("0.safetensors")), "0.safetensors is missing: delete"),
    Row("a wrong hash in `model.json`", record(lambda found: found["replicas"]["0"]["files"].update({"0.safetensors": "0" * 64})), "its hash differs"),
    Row("a tensor missing", tensors(lambda state: state.pop("fc1.bias")), "does not fit the network of model.json (first difference: fc1.bias)"),
    Row("a tensor too many", tensors(lambda state: state.update(extra=torch.zeros(1))), "(first difference: extra)"),
    Row("a tensor of another shape", tensors(lambda state: state.update({"fc1.bias": torch.zeros(9)})), "(first difference: fc1.bias)"),
    Row("a tensor of another type", tensors(lambda state: state.update({"fc1.bias": torch.zeros(5, dtype=torch.int8)})), "(first difference: fc1.bias)"),
    Row("a newer format", record(lambda found: found.update(format=99)), "has format 99, this Prunery reads format 1: update Prunery"),
    Row("a `model.json` that is no JSON", checkpoint(fill("model.json", "{")), "model.json is not a readable checkpoint"),
    Row("a `model.json` that lacks a key", record(lambda found: found.pop("network")), "model.json is not a whole checkpoint (network: Field required): delete it and run again"),
    Row("a `model.json` without networks", record(lambda found: found.update(replicas={})), "model.json is not a whole checkpoint (replicas:"),
    Row("an edit that this version does not know", record(lambda found: found["replicas"]["0"]["edits"].append({"edit": "fold"})), "an edit of kind 'fold', unknown to this Prunery: update it"),
    Row("an edit that does not fit", record(lambda found: found["replicas"]["0"]["edits"].append({"edit": "mask", "keys": ["gone.weight"]})), "model.json: its edits do not fit its network (AttributeError"),
    Row("a model that is not installed", record(lambda found: found["network"].update(model="mpl")), "unknown model method 'mpl': did you mean 'mlp'?"),
]  # fmt: skip
WEIGHTS = [
    Row("a `.pt` file with code in its pickle", weights(trapped), "holds Python objects besides tensors, which would run code and are refused"),
    Row("a `.pt` file cut off", weights(lambda path: (other_values(path), path.write_bytes(path.read_bytes()[:200]))), "weights.pt is not a readable file of weights"),
    Row("a `.pt` file without tensors", weights(lambda path: torch.save({"epoch": 3}, path)), "holds no state dict (names and tensors)"),
    Row("a `.safetensors` file cut off", weights(lambda path: path.write_bytes(b"\x08\0\0\0"), "weights.safetensors"), "weights.safetensors is not a readable file of weights"),
    Row("a file that is not there", weights(lambda path: None), "there is no such file of weights"),
    Row("a key that the model does not have", weights(lambda path: other_values(path, head=torch.zeros(1))), "does not fit: 'head' is only in the file"),
    Row("a tensor of another shape", weights(lambda path: other_values(path, **{"fc1.bias": torch.zeros(9)})), "'fc1.bias' is [9] in the file, [5] in the network"),
    Row("integers for floating point", weights(lambda path: other_values(path, **{"fc1.bias": torch.zeros(5, dtype=torch.int8)})), "'fc1.bias' is of torch.int8 in the file"),
    Row("NaN among the values", weights(lambda path: other_values(path, **{"fc1.bias": torch.full((5,), float("nan"))})), "'fc1.bias' holds NaN or infinity"),
]  # fmt: skip
JOBS = [
    Row("a learning rate at which the loss becomes NaN", diverge, "lower 'learning_rate' (now 1e+30) or set 'clip_norm' in the train settings"),
    Row("a full disk", save_on_full_disk, "0.safetensors cannot be written (No space left on device)"),
    Row("a network for images on texts", lambda _: registry().configured("model", "cnn", {}).build(Spec("text", (8,), 2, 50)), "model 'cnn' wants images, but the data are of kind 'text': choose another model"),
]  # fmt: skip
ANALYSES = [
    Row("a family of bases that do not exist: `bases: nett-*`", families(net={"bases": "nett-*"}), "measures.analyse: mine: recipe nett-*: no base is called like 'nett-*': net"),
    Row("a family of a base that does not exist: `bases: nett`", families(net={"bases": "nett"}), "recipe nett: unknown base 'nett': did you mean 'net'?"),
    Row("a family of a recipe that the study does not make", families(net={"bases": "net", "prune": "prune=half@0.9"}), "it reads net/seeds=0-1/prune=half@0.9, which the study does not make: list it under recipes"),
    Row("`families: {}`", families(), "analyse method 'regimes', setting 'families': it should have at least 1 item after validation"),
    Row("a family without its bases", families(net={"prune": "prune=half@0.5"}), "analyse method 'regimes': the setting 'families.net.bases' is missing"),
    Row("a key of a family that does not exist: `prun: ...`", families(net={"bases": "net", "prun": "prune=half@0.5"}), "analyse method 'regimes', setting 'families.net': unknown setting 'prun': did you mean 'prune'?"),
    Row("an analysis that does not exist: `analyse: [minmal]`", config(measures={"analyse": ["minmal"]}), "measures.analyse: unknown analyse variant 'minmal'"),
    Row("an analysis where nothing is evaluated: `evaluate: []`", config(measures={"evaluate": [], "analyse": ["mine"]}, analyse=REGIMES), "an analysis reads evaluations: name a variant under measures.evaluate"),
    Row("an analysis as a step: `net/analyse=mine`", recipe("net/analyse=mine"), "analyse is a measure of the whole study, listed under measures"),
    Row("a size that the model lacks: `size: widht`", sizes("widht"), "analyse 'regimes', families.net, base net-1: unknown setting of toy 'widht': did you mean 'width'?"),
    Row("a size that does not count: `size: shape`", sizes("shape"), "shape is [], no size: name one that counts"),
    Row("an analysis cut short", damaged_analysis, "is no readable analysis"),
]  # fmt: skip
TABLE = {
    "Names in the config": NAMES,
    "Values in the config": VALUES,
    "Recipes": RECIPES,
    "Analyses": ANALYSES,
    "The config file": YAML,
    "Files asked for on the command line": TARGETS,
    "Plugins": PLUGINS,
    "Data": DATA,
    "Checkpoints": CHECKPOINTS,
    "Weights of other programs": WEIGHTS,
    "While a job runs": JOBS,
}
"""Heading -> rows."""
CASES = [pytest.param(row, id=f"{heading}: {row.given}") for heading, rows in TABLE.items() for row in rows]


def said(row: Row, folder: Path) -> str:
    """The line that a row ends in; the folder it was tried in is spelled `...`."""
    with pytest.raises(PruneryError) as caught:
        row.act(folder)
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(str(folder), "...")


@pytest.mark.parametrize("row", CASES)
def test_a_mistake_is_one_clear_line(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRUNERY_DATA", raising=False)
    line = said(row, tmp_path)
    assert row.says in line
    assert "Traceback" not in line
    assert len(line) < 600


def test_a_pickle_with_code_is_not_run(tmp_path):
    path = tmp_path / "weights.pt"
    with pytest.raises(PruneryError):
        weights(trapped)(tmp_path)
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)  # the trap does work
    assert (tmp_path / "ran").exists()


def test_a_full_disk_leaves_no_half_file(tmp_path):
    kept = stored(tmp_path)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    with pytest.raises(PruneryError, match="No space left on device"):
        save_on_full_disk(tmp_path)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_an_error_that_is_nobodys_mistake_is_one_line_too(capsys, monkeypatch):
    with pytest.raises(SystemExit) as left, report_mistakes():
        1 / 0  # noqa: B018
    assert left.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"prunery: ZeroDivisionError: division by zero \(in .*test_bad_input\.py, line \d+; set ", line)
    monkeypatch.setenv("PRUNERY_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError), report_mistakes():
        1 / 0  # noqa: B018


# --- through Snakemake -----------------------------------------------------------------------------------------------


def our_lines(answer: subprocess.CompletedProcess[str]) -> list[str]:
    """What a failed call said in our words."""
    everything = answer.stdout + answer.stderr
    assert answer.returncode == 1, everything
    assert "Traceback" not in everything
    return [line for line in everything.splitlines() if line.startswith("prunery:")]


SHOWN = [
    (STUDY | {"recipes": ["nett"]}, [], "prunery: recipe nett: unknown base 'nett': did you mean 'net'?"),
    (STUDY | {"prune": {"half": {"method": "magnitude", "settings": {"sparsity": 1.5}}}}, [], "setting 'sparsity': it should be less than or equal to 1 (given: 1.5)"),
    (STUDY | {"recipes": ["net/quantize=ptq/finetune=supervised"]}, [], "may not stand after quantize"),
    (STUDY | {"distill": CYCLE, "recipes": ["net/distill=a"]}, [], "is made by its own student"),
    (STUDY | {"plugins": ["nowhere"]}, [], "prunery: plugins: there is no folder 'nowhere'"),
    (STUDY | {"bases": {"net": {**BASE, "data": "idx"}}}, [], "data source 'idx' wants the folder 'mnist', but no data folder is set"),
    (STUDY, ["--config", "profile=gpu"], "prunery: unknown profile 'gpu': did you mean 'cpu'?"),
    (STUDY, [f"{LEAF}/prune=hafl@0.5/model.json"], "unknown prune variant 'hafl': did you mean 'half'?"),
    (STUDY, [f"{LEAF}/prune=half@1.5/model.json"], "setting 'sparsity': it should be less than or equal to 1 (given: 1.5)"),
    (STUDY, [f"{LEAF}/quantize=ptq/prune=half/model.json"], "prune=magnitude may not stand after quantize"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("config", "arguments", "says"), SHOWN)
def test_snakemake_says_it_in_one_line_before_any_job(config, arguments, says, tmp_path, make_study):
    answer = make_study(tmp_path, config).snakemake("--dry-run", *arguments)
    (line,) = our_lines(answer)
    assert says in line
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_plugin_that_is_set_aside_is_named_and_stops_nobody_else(tmp_path, make_study):
    own = tmp_path / "methods" / "own"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("import no_such_module  # register_methods")
    answer = make_study(tmp_path, STUDY | {"plugins": ["methods"]}).snakemake("--dry-run")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "prunery: plugin methods/own is set aside: import failed: ModuleNotFoundError" in answer.stderr
    broken = make_study(tmp_path, STUDY | {"plugins": ["methods"], "recipes": ["net/prune=mine"]})
    assert "unknown prune variant 'mine'" in our_lines(broken.snakemake("--dry-run"))[-1]


@pytest.mark.slow
def test_a_key_that_stands_twice_is_refused_by_a_run(tmp_path):
    answer = snakemake(tmp_path, "study: mine\nrecipes: [a]\nrecipes: [b]\n")
    (line,) = our_lines(answer)
    assert line.endswith("my.yaml, line 3: the key 'recipes' is there twice: it stands in line 2 already: keep one")


@pytest.mark.slow
@pytest.mark.parametrize("content", ["bases: {net: [\n", "bases:\n\tnet: 1\n", "", "- net\n"])
def test_snakemake_itself_refuses_what_is_no_config(tmp_path, content):
    """It reads the file before it reads the Snakefile."""
    answer = snakemake(tmp_path, content)
    assert our_lines(answer) == []
    assert re.search("Config file (is not valid|must be given as) JSON or YAML", answer.stdout + answer.stderr)


def snakemake(folder: Path, content: str) -> subprocess.CompletedProcess[str]:
    """A dry run with this text as config file."""
    (folder / "my.yaml").write_text(content)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "my.yaml"), "--cores", "1", "--dry-run"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.slow
def test_jobs_that_fail_are_told_once_more_at_the_end_and_leave_nothing(tmp_path, make_study):
    cut("train-images-idx3-ubyte")(idx_files(tmp_path / "set"))
    trapped(tmp_path / "weights.pt")
    imported = {"path": str(tmp_path / "weights.pt"), "model": "mlp"}
    config = STUDY | {
        "bases": {
            "wild": {**BASE, "train": "wild"},
            "cut": {**BASE, "data": "cut"},
            "evil": {**BASE, "model": "evil"},
            "net": BASE,
        },
        "recipes": ["wild", "cut", "evil", "net"],
        "data": {"cut": {"method": "idx", "settings": {"folder": str(tmp_path / "set")}}},
        "model": {"evil": {"method": "checkpoint", "settings": imported}},
        "train": STUDY["train"] | {"wild": {"method": "supervised", "settings": {"learning_rate": 1e30}}},
    }
    study = make_study(tmp_path, config)
    answer = study.snakemake()
    assert our_lines(answer) == ["prunery: these jobs failed"]
    told = answer.stderr.partition("prunery: these jobs failed\n")[2].splitlines()
    wanted = [
        "the loss of no network stays finite (seed 0: until epoch 1): lower 'learning_rate'",
        "where its header says 2560",
        "would run code and are refused",
    ]
    for words in wanted:
        assert len([line for line in told if words in line]) == 1
    assert "--job" not in answer.stderr  # the command of a failed job says nothing to anyone
    assert not (tmp_path / "ran").exists()
    assert {path.parent.parent.name for path in study.results.glob("*/*/model.json")} == {"net"}


# --- the page --------------------------------------------------------------------------------------------------------

INTRODUCTION = """# What is said of mistakes

Every mistake ends in one line that names the key, the file or the plugin and what to do, and in exit code 1; nothing that
was made before is lost. The config, the plugins and the names of files are checked before any job starts, by a dry run
(`snakemake --dry-run`) and by `prunery check` as well. What only reading the data or training can show fails the job; the
jobs that do not need it go on, and the lines of all that failed stand together at the end of the run.

Snakemake reads a file that is given by `--configfile` before it reads the Snakefile, and says in its own words what is
wrong with its YAML; if the file is missing or no UTF-8 text, it shows a traceback that ends in the reason. `prunery check
my.yaml` has one line for these as well, with the place in the file. An error that is no mistake of a user (a plugin's own,
say) is one line too; set the variable `PRUNERY_TRACEBACK` to see the way there, or look into the job's log.

The table is written by `python tests/test_bad_input.py`, from the mistakes that the test makes; `...` stands for the folder.
"""


def page() -> str:
    """The page of mistakes, every one of them made."""
    parts = [INTRODUCTION]
    for heading, rows in TABLE.items():
        lines = [f"## {heading}\n", "| given | said | exit code |", "|---|---|---|"]
        for row in rows:
            with tempfile.TemporaryDirectory() as folder:
                line = said(row, Path(folder)).replace("|", "\\|")
            lines.append(f"| {row.given} | `prunery: {line}` | 1 |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def test_the_page_of_mistakes_says_what_is_said(monkeypatch):
    monkeypatch.delenv("PRUNERY_DATA", raising=False)
    assert PAGE.read_text("utf-8") == page(), "write it anew: python tests/test_bad_input.py"


if __name__ == "__main__":
    os.environ.pop("PRUNERY_DATA", None)
    PAGE.write_text(page(), "utf-8")
