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


def test_json_round_trips_and_equal_findings_give_equal_bytes(tmp_path):
    path, again = tmp_path / "spectral_fit=mp.json", tmp_path / "again.json"
    save_findings({0: {"fc.weight": {"sigma_plus": 0.1, "spikes": 2}}}, path)
    save_findings({0: {"fc.weight": {"spikes": 2, "sigma_plus": 0.1}}}, again)
    assert load_findings(path) == {0: {"fc.weight": {"sigma_plus": 0.1, "spikes": 2}}}
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", ["broken.json", "broken.safetensors"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(PruneryError, match="delete it and run again"):
        load_findings(tmp_path / name)
