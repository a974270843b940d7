"""Published architectures and a user's own files, end to end: train, prune, quantize, bench."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

BENCH = {"backends": ["onnxruntime", "openvino"], "rounds": 5, "batch": 4}


def _texts(folder: Path) -> None:
    """A csv set of two classes that differ by a word."""
    folder.mkdir()
    (folder / "labels.json").write_text(json.dumps(["rain", "sun"]))
    for name, count in (("train", 240), ("test", 80)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for index in range(count):
                words = "wet grey cloud" if index % 2 == 0 else "dry bright sky"
                writer.writerow([f"day {index % 17} was {words} over hill {index % 5}", index % 2])


def _pictures(folder: Path) -> None:
    """An image folder of the digits 0 to 3."""
    digits = load_digits()
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if label < 4:
            place = folder / ("test" if index % 5 == 0 else "train") / f"digit-{label}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15).astype("uint8")).save(place / f"{index}.png")


def _bert(folder: Path) -> None:
    """A small BERT as transformers saves it."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=4000, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=2
    )
    BertForSequenceClassification(config).save_pretrained(folder)


@pytest.mark.slow
def test_published_networks_and_own_files_go_through_the_chain(tmp_path, make_study):
    _texts(tmp_path / "weather")
    _pictures(tmp_path / "pictures")
    _bert(tmp_path / "bert")
    chain = "prune=magnitude@0.5/quantize=ptq"
    study = make_study(
        tmp_path,
        {
            "study": "published",
            "data_folder": str(tmp_path),
            "bases": {
                "weather": {"data": "weather", "model": f"hf:{tmp_path}/bert", "train": "brief", "seeds": "0-1"},
                "pictures": {"data": "pictures", "model": "timm:resnet18", "train": "brief", "seeds": "0-1"},
                "patches": {"data": "large", "model": "timm:vit_tiny_patch16_224", "train": "brief", "seeds": "0"},
            },
            "recipes": [f"{{weather,pictures,patches}}/{chain}"],
            "measures": {"bench": {"quick": [f"{{weather,pictures,patches}}/{chain}"]}},
            "data": {
                "weather": {"method": "csv", "settings": {"folder": "weather", "length": 16}},
                "pictures": {"method": "image_folder", "settings": {"folder": "pictures", "size": 32}},
                "large": {"method": "image_folder", "settings": {"folder": "pictures", "size": 64, "train_limit": 200}},
            },
            "train": {"brief": {"method": "supervised", "settings": {"epochs": 1, "batch_size": 16}}},
            "bench": {"quick": {"method": "latency", "settings": BENCH}},
        },
    )
    answer = study.snakemake()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for folder in tmp_path.glob("results/published/*/*/prune=magnitude@0.5/quantize=ptq"):
        times = json.loads((folder / "bench=quick.json").read_text())["backends"]
        stored = json.loads((folder / "evaluate=standard.json").read_text())["replicas"]["0"]["test"]["accuracy"]
        for name, figures in times.items():
            assert figures["status"] == "ok", f"{folder} on {name}: {figures['status']}"
            assert figures["integer_share"] > 0.5, f"{folder} on {name}"
            assert figures["accuracy"]["test"] == pytest.approx(stored, abs=0.005), f"{folder} on {name}"
            assert figures["speedup"]["low"] <= figures["speedup"]["ratio"] <= figures["speedup"]["high"]
