"""The contract suite over the whole registry: one test class per registered method."""

import csv
import os
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from prunery.checks import CHECKS
from prunery.data import Spec
from prunery.registry import registry
from prunery.testing import MethodContract
from prunery.toys import CLASSES, toy_images, toy_texts

# --- small files for the data sources that read files ----------------------------------------------------------------


def write_idx(folder: Path) -> Path:
    for name, split in (("train", toy_images().train), ("t10k", toy_images().test)):
        for kind, values in (("images-idx3", split.inputs[:, 0]), ("labels-idx1", split.labels.to(torch.uint8))):
            header = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape)
            file = folder / "mnist" / f"{name}-{kind}-ubyte"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(header + values.numpy().tobytes())
    return folder


def write_csv(folder: Path) -> Path:
    (folder / "agnews").mkdir()
    for name, split in (("train", toy_texts().train), ("test", toy_texts().test)):
        with (folder / "agnews" / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            for tokens, label in zip(split.inputs.tolist(), split.labels.tolist(), strict=True):
                rows.writerow([" ".join(f"word{token}" for token in tokens), label])
    return folder


def write_pictures(folder: Path) -> Path:
    for name, split in (("train", toy_images().train.head(16)), ("test", toy_images().test.head(8))):
        for number, (picture, label) in enumerate(zip(split.inputs, split.labels, strict=True)):
            place = folder / "images" / name / CLASSES[int(label)]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[0].numpy()).save(place / f"{number}.png")
    return folder


def write_sheets(folder: Path) -> Path:
    here = folder / "cifar100-subset"
    here.mkdir()
    labels = {}
    for name, split in (("train", toy_images(32).train), ("test", toy_images(32).test)):
        tiles = split.inputs[:, 0].reshape(-1, 8, 32, 32).permute(0, 2, 1, 3).reshape(-1, 256)
        Image.fromarray(tiles.numpy()).convert("RGB").save(here / f"{name}.webp", lossless=True)
        labels[f"{name}_y"] = split.labels.to(torch.uint8).numpy()
    np.savez(here / "labels.npz", **labels)
    return folder


# --- what a method needs to be tested --------------------------------------------------------------------------------

DATA = os.environ.get("PRUNERY_DATA")
WITHOUT_DATA = "" if DATA else "set PRUNERY_DATA to a folder with the published files"
ONE_BATCH = {"batches": [1]}
FEW_EPOCHS = {"epochs": 12, "learning_rate": 0.01, "batch_size": 32}
TEXTS, PHOTOS = toy_texts().spec, Spec("image", (3, 32, 32), 4)
SMALL_BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
SWEEP = {"bases": "net-*", "prune": "prune=l1@{0.1,0.5,1.0}", "int8": {"recipe": "quantize=qat"}}
TABLE = {"title": "All", "columns": {"%": {"metric": "test_accuracy"}}, "rows": {"dense": "net"}}
CASES: dict[tuple[str, str], dict[str, Any]] = {
    ("data", "idx"): {"data_folder": lambda self, tmp: write_idx(tmp)},
    ("data", "csv"): {"data_folder": lambda self, tmp: write_csv(tmp)},
    ("data", "image_folder"): {"data_folder": lambda self, tmp: write_pictures(tmp)},
    ("data", "sheets"): {"data_folder": lambda self, tmp: write_sheets(tmp)},
    ("data", "cifar10"): {
        "settings": ONE_BATCH,
        "data_folder": lambda self, tmp: Path(str(DATA)),
        "skip": WITHOUT_DATA,
    },
    ("data", "hf"): {"skip": "the hub is not asked in tests"},
    ("model", "lstm"): {"spec": TEXTS},
    ("model", "hf"): {"spec": TEXTS, "settings": {"config": SMALL_BERT}},
    ("model", "timm"): {"spec": PHOTOS, "settings": {"name": "test_resnet"}},
    ("model", "vgg"): {"spec": PHOTOS},
    ("model", "checkpoint"): {"settings": {"path": "weights.safetensors", "model": "mlp"}},
    ("train", "supervised"): {"settings": FEW_EPOCHS},
    ("train", "qat"): {"settings": FEW_EPOCHS},
    ("finetune", "qat"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
    ("finetune", "supervised"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
    ("analyse", "regimes"): {"settings": {"families": {"net": SWEEP}}},
    ("analyse", "collapse"): {"settings": {"families": {"net": {"bases": "net", "prune": "prune=l1@{0.5,0.9}"}}}},
    ("analyse", "trend"): {"settings": {"families": {"net": {"bases": "net-*", "prune": "prune=l1@{0.5,0.9}"}}}},
    ("analyse", "additive"): {"settings": {"families": {"net": {"bases": "net", "recipe": "(finetune=short)*2"}}}},
    ("analyse", "proxy"): {"settings": {"families": {"net": {"bases": "net", "steps": "prune=l1@{0.5,0.9}"}}}},
    ("analyse", "scaling"): {"settings": {"families": {"net": {"bases": "net", "steps": "quantize={int4,int8}"}}}},
    ("analyse", "tables"): {"settings": {"recipes": {"all": TABLE}}},
    ("analyse", "shapes"): {"settings": {"families": {"net": {"bases": "net-*"}}, "minimal_parameters": 10}},
    ("prune", "tome"): {"skip": "the toy network has no tokens: the stage is tested beside the method"},
    ("prune", "ser"): {"settings": {"batch_size": 32, "epochs": 2, "most_epochs": 2}},
    ("prune", "hybrid"): {"settings": {"batch_size": 32, "switch": 0.3}},
    ("prune", "factorize"): {"settings": {"rank": "energy", "energy": 0.5}},
    ("distill", "kd"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
    ("distill", "dkd"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
    ("distill", "hints"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
    ("distill", "crd"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
    ("distill", "independent"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
    ("distill", "label_smoothing"): {"settings": {**FEW_EPOCHS, "epochs": 2}},
}
"""Attributes of the test class: settings, a spec, a data folder, or why the stage cannot be tested here."""


def contract_of(stage: str, name: str) -> type[MethodContract]:
    attributes = {"method": registry().get(stage, name), **CASES.get((stage, name), {})}
    return type(f"Test_{stage}_{name}", (MethodContract,), attributes)


globals().update({each.__name__: each for each in (contract_of(*key) for key in sorted(registry().methods))})


class TestPruneNmByInputs(MethodContract):
    """The variant that needs a measurement."""

    method = registry().get("prune", "nm")
    settings: ClassVar = {"score": "wanda", "keep": 1, "layout": "im2col", "tail": "dense"}


class TestPruneCastInAnotherOrder(MethodContract):
    """The variant that moves channels."""

    method = registry().get("prune", "cast")
    settings: ClassVar = {"permute": "search", "keep": 1, "rounds": 20, "classifier": "include"}


class TestPruneMagnitudeByProfile(MethodContract):
    """The variant whose settings hold a list and a dictionary."""

    method = registry().get("prune", "magnitude")
    settings: ClassVar = {"scope": "profile", "profile": {"0.*": 0.2, "7.weight": 0.9}, "exclude": ["2.weight"]}


class TestPruneMagnitudeBySensitivity(MethodContract):
    """The variant whose shares come from measured losses."""

    method = registry().get("prune", "magnitude")
    settings: ClassVar = {"scope": "sensitivity", "sparsity": 0.6}


class TestCalibrateSensitivityToFormats(MethodContract):
    """The variant that stores layers in fewer bits."""

    method = registry().get("calibrate", "sensitivity")
    settings: ClassVar = {"mode": "formats", "formats": ["bf16", "int4"]}


class TestQuantizeMixedByCurvature(MethodContract):
    """The variant that reads two measurements."""

    method = registry().get("quantize", "mixed")
    settings: ClassVar = {"rule": "hessian_activation", "low": "int8"}


def test_no_plugin_is_broken():
    assert registry().broken == {}


def test_cases_name_methods_that_exist():
    assert set(CASES) <= set(registry().methods)


def test_every_stage_is_checked():
    assert {stage for stage, _ in registry().methods} <= set(CHECKS)
