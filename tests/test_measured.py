"""Measurement files: what is written is what is read."""

import pytest
import torch

from prunery.errors import PruneryError
from prunery.measured import load_findings, save_findings


def test_tensors_round_trip_by_seed_key_and_statistic(tmp_path):
    findings = {3: {"blocks.0.fc.weight": {"input_max": torch.tensor(2.5), "histogram": torch.arange(4)}}, 4: {}}
    path = tmp_path / "calibrate=activations.safetensors"
    save_findings(findings, path)
    read = load_findings(path)
    assert list(read) == [3]
    assert read[3]["blocks.0.fc.weight"]["input_max"] == 2.5
    assert torch.equal(read[3]["blocks.0.fc.weight"]["histogram"], torch.arange(4))


def test_json_round_trips_and_layers_keep_their_order(tmp_path):
    path = tmp_path / "spectral_fit=mp.json"
    found = {0: {"layer.4.weight": {"sigma_plus": 0.1, "spikes": 2}, "layer.11.weight": {"spikes": 0}}}
    save_findings(found, path)
    assert load_findings(path) == found
    assert list(load_findings(path)[0]) == ["layer.4.weight", "layer.11.weight"]


@pytest.mark.parametrize("name", ["broken.json", "broken.safetensors"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(PruneryError, match="delete it and run again"):
        load_findings(tmp_path / name)
