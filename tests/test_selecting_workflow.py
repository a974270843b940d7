"""Cycles of a method that trains before it chooses, run by Snakemake."""

from __future__ import annotations

import json

import pytest

BRIEF = {"batch_size": 128, "least_batches": 4}
STUDY = {
    "study": "cycles",
    "bases": {"net": {"data": "digits", "model": "tiny", "train": "quick", "seeds": "0-1"}},
    "recipes": ["net/(prune=early@0.4..0.6:0.2/finetune=quick)"],
    "measures": {"evaluate": ["standard"]},
    "model": {"tiny": {"method": "mlp", "settings": {"widths": [24, 24]}}},
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 12}}},
    "finetune": {"quick": {"method": "supervised", "settings": {"epochs": 1}}},
    "prune": {"early": {"method": "hybrid", "settings": {**BRIEF, "switch": "drop", "drop": 0.0}}},
}
CYCLES = ("net/seeds=0-1/prune=early@0.4", "finetune=quick/prune=early@0.6")


@pytest.mark.slow
def test_a_cycle_reads_the_way_before_it_and_the_dense_spectra(tmp_path, make_study):
    study = make_study(tmp_path / "cycles", json.loads(json.dumps(STUDY)))
    study.run()
    first, second = study.results / CYCLES[0], study.results / CYCLES[0] / CYCLES[1]
    for folder, sparsity in ((first, 0.4), (second, 0.6)):
        assert evaluated(folder, "weight_sparsity") == pytest.approx([sparsity] * 2, abs=0.005)
    assert list(study.results.rglob("spectral_fit=mp.json")) == [study.results / "net/seeds=0-1/spectral_fit=mp.json"]
    before, after = (
        [row["accuracy"] for row in evaluated(folder, "validation")]
        for folder in (study.results / "net/seeds=0-1", first / "finetune=quick")
    )
    trained = ["reservoir: epoch 1/1" in log_of(study, folder) for folder in (first, second)]
    assert trained == [False, any(now < was for was, now in zip(before, after, strict=True))]
    assert study.jobs() == set()


def evaluated(folder, name):
    """A figure of every replica."""
    return [row[name] for row in json.loads((folder / "evaluate=standard.json").read_text())["replicas"].values()]


def log_of(study, folder):
    """What the job said that made a network."""
    return (study.folder / "logs" / folder.relative_to(study.folder) / "prune.log").read_text()
