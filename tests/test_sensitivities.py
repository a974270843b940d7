"""The report's tables and figures of single layers' sensitivities, from calibration files."""

import pytest
import torch

from prunery.errors import PruneryError
from prunery.files import save_json
from prunery.measured import save_findings
from prunery.record import FORMAT
from prunery.report import write_report
from prunery.reporting.sensitivities import sensitivity_findings


def write(folder, name, rows):
    findings = {
        seed: {key: {stat: torch.tensor(value) for stat, value in row.items()} for key, row in by_key.items()}
        for seed, by_key in rows.items()
    }
    file = folder / "net" / "seeds=0-1" / f"calibrate={name}.safetensors"
    save_findings(findings, file)
    return file


def curve(accuracy, dense=0.9):
    row = {"dense_accuracy": dense, "dense_loss": 0.3, "samples": 100, "weights": 12}
    return row | {"share": [0.2, 0.8], "accuracy": accuracy, "loss": [0.4, 1.0]}


def formats(int4):
    return {"dense_accuracy": 0.9, "samples": 100, "weights": 12, "accuracy_int4": int4, "accuracy_fp16": 0.9}


@pytest.fixture
def files(tmp_path):
    seeds = {
        0: {"a.weight": curve([0.9, 0.5]), "b.weight": curve([0.8, 0.7])},
        1: {"a.weight": curve([0.88, 0.3], 0.88), "b.weight": curve([0.88, 0.8], 0.88)},
    }
    other = {0: {"a.weight": {"input_mean_abs": [1.0, 2.0], "preactivation_mean": 0.5}}}
    return [
        write(tmp_path, "weights", seeds),
        write(tmp_path, "formats", {0: {"a.weight": formats(0.6)}}),
        write(tmp_path, "activations", other),
    ]


def test_a_table_and_two_figures_of_shares(files, tmp_path):
    found = sensitivity_findings(tmp_path, files)
    assert list(found) == ["net/seeds=0-1/calibrate=weights", "net/seeds=0-1/calibrate=formats"]
    weights = found["net/seeds=0-1/calibrate=weights"]
    assert weights.title == "Sensitivity of layers: weights"
    (table,) = weights.tables
    assert table.columns == ["layer", "as it is", "0.2", "0.8"]
    assert table.rows == [["a.weight", 89.0, 89.0, 40.0], ["b.weight", 89.0, 84.0, 75.0]]
    heat, lines = (chart.figure["data"] for chart in weights.figures)
    assert heat[0]["z"] == [[0.0, 49.0], [5.0, 14.0]]
    assert heat[0]["text"] == [["89.0", "40.0"], ["84.0", "75.0"]]
    assert [(each["name"], each["x"], each["y"]) for each in lines] == [
        ("a", [0.0, 0.2, 0.8], [89.0, 89.0, 40.0]),
        ("b", [0.0, 0.2, 0.8], [89.0, 84.0, 75.0]),
    ]


def test_formats_stand_from_long_to_short(files, tmp_path):
    found = sensitivity_findings(tmp_path, files)["net/seeds=0-1/calibrate=formats"]
    assert found.tables[0].columns == ["layer", "as it is", "fp16", "int4"]
    assert found.tables[0].rows == [["a.weight", 90.0, 90.0, 60.0]]
    assert len(found.figures) == 1


def test_they_stand_on_the_page(files, tmp_path):
    record = {"provenance": {"settings": {}}, "network": {}}
    save_json(record, tmp_path / "net" / "seeds=0-1" / "model.json")
    write_report("Study", tmp_path, [tmp_path / "net" / "seeds=0-1" / "model.json", *files], [], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "net/seeds=0-1/calibrate=weights</small>" in page
    assert 'id="analysis-net/seeds=0-1/calibrate=weights-1"' in page
    assert '"net/seeds=0-1/calibrate=weights-0":{"data":[{"type":"heatmap"' in page


def test_damaged_files_are_named(tmp_path):
    file = tmp_path / "net" / "calibrate=x.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"nothing")
    with pytest.raises(PruneryError, match=r"calibrate=x.safetensors is not a readable result"):
        sensitivity_findings(tmp_path, [file])


def test_layers_stand_in_the_networks_order(files, tmp_path):
    tensors = {key: {"shape": [1]} for key in ("b.weight", "b.bias", "a.weight")}
    spec = {"kind": "image", "shape": [1], "classes": 2, "vocabulary": 0}
    record = {
        "format": FORMAT,
        "network": {"model": "toy", "settings": {}, "spec": spec},
        "provenance": {},
        "replicas": {"0": {"edits": [], "files": {}, "tensors": tensors}},
    }
    save_json(record, files[0].with_name("model.json"))
    found = sensitivity_findings(tmp_path, files[:1])["net/seeds=0-1/calibrate=weights"]
    assert [row[0] for row in found.tables[0].rows] == ["b.weight", "a.weight"]
