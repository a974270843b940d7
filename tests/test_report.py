"""The report, written from made-up result folders and read back."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from prunery import PruneryError
from prunery.files import save_json, sha256
from prunery.findings import Chart, Findings, Table
from prunery.report import write_report
from prunery.reporting.figures import spectrum_figure
from prunery.reporting.page import page_data
from prunery.reporting.results import Results, read_results
from prunery.reporting.selection import shown
from prunery.reporting.spectra import network_figures
from prunery.reporting.statistics import marchenko_pastur, mean_interval, pareto_front
from prunery.reporting.summary import Speed, highlights, speed_text, summarize

SEEDS = range(5)
SIZES = {"digits-mlp": (5_706, 0.965), "digits-cnn": (8_010, 0.972), "docstrings-bert": (184_325, 0.88)}
RECIPES = (
    "",
    "prune=magnitude@0.5",
    "prune=magnitude@0.5/finetune=short",
    "prune=magnitude@0.8/finetune=short",
    "prune=random@0.5",
    "prune=random@0.5/finetune=short",
    "prune=seb@0.5/finetune=short",
    "quantize=int8",
    "prune=magnitude@0.5/finetune=short/quantize=int8",
)
COST = {"random": 0.03, "magnitude": 0.004, "seb": 0.006}
CLAIMS = """
- id: magnitude-beats-random
  statement: Magnitude keeps more accuracy than random.
  paper: {where: Table 2, value: 0.02}
  test:
    kind: difference
    metric: test_accuracy
    a: {base: [digits-mlp, digits-cnn], recipe: prune=magnitude@0.5/finetune=short}
    b: {recipe: prune=random@0.5/finetune=short}
    expect: "> 0"
- id: paper-scale-only
  statement: A claim for another profile.
  scale: paper
  test: {kind: threshold, metric: test_accuracy, of: {base: digits-mlp, recipe: dense}, expect: "> 0.5"}
"""


class Study:
    """A results folder that grows file by file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[Path] = []
        self.random = np.random.default_rng(0)

    def add(self, path: str, name: str, value: Any) -> Path:
        file = self.root / path / name
        save_json(value, file)
        self.files.append(file)
        return file

    def network(self, base: str, recipe: str) -> None:
        """Everything but times and spectra of one recipe."""
        path = f"{base}/seeds=0-4/{recipe}".rstrip("/")
        stage, _, variant = recipe.rpartition("/")[2].partition("=")
        parent = self.root / path.rpartition("/")[0] / "model.json"
        provenance = {
            "stage": stage or "train",
            "variant": variant.partition("@")[0] or "adam",
            "method": variant.partition("@")[0] or "adam",
            "distribution": "prunery",
            "version": "0.1.0",
            "settings": {"epochs": 20, "scope": "<global>"},
            "fingerprint": "ab" * 32,
        }
        provenance |= {"parent": sha256(parent)} if recipe and parent.exists() else {}
        self.add(path, "model.json", {"format": 1, "provenance": provenance, "replicas": {}})
        if stage in ("", "finetune", "distill"):
            self.add(path, "history.json", {str(seed): self.epochs(base) for seed in SEEDS})
        self.add(
            path, "evaluate=standard.json", {"replicas": {str(seed): self.figures(base, recipe) for seed in SEEDS}}
        )

    def epochs(self, base: str) -> list[dict[str, float]]:
        top = SIZES[base][1]
        rows = []
        for epoch in range(1, 21):
            rise, noise = 1 - np.exp(-epoch / 4), float(self.random.normal(0, 0.006))
            rows.append(
                {
                    "epoch": epoch,
                    "train_loss": 2.3 * (1 - rise) + 0.05,
                    "train_accuracy": min(1.0, 0.1 + 0.9 * rise + noise),
                    "validation_loss": 2.3 * (1 - rise) + 0.12 + noise,
                    "validation_accuracy": 0.1 + (top - 0.1) * rise + noise,
                    "learning_rate": 1e-3,
                }
            )
        return rows

    def figures(self, base: str, recipe: str) -> dict[str, Any]:
        parameters, top = SIZES[base]
        pruned = re.search(r"prune=(\w+)@([0-9.]+)", recipe)
        sparsity = float(pruned[2]) if pruned else 0.0
        drop = (COST[pruned[1]] * sparsity * 2 if pruned else 0) * (1 if "finetune" in recipe else 6)
        bits = 8 if "quantize" in recipe else 32
        shares = (("layers.0.weight", 0.7), ("layers.1.weight", 0.25), ("head.weight", 0.05))
        layers = {}
        for key, share in shares:
            count = int(parameters * share)
            layers[key] = {
                "parameters": count,
                "nonzero": int(count * (1 - sparsity)),
                "macs": count,
                "bits": count * bits,
                "dtype": f"int{bits}" if bits == 8 else "float32",
                "sparsity": sparsity,
            }

        def split(samples: int) -> dict[str, float]:
            accuracy = top - drop - 0.003 * (bits == 8) + float(self.random.normal(0, 0.004))
            return {"accuracy": accuracy, "loss": 1 - accuracy, "agreement": 0.99 - drop, "samples": samples}

        return {
            "validation": split(144),
            "test": split(360),
            "parameters": parameters,
            "nonzero": int(parameters * (1 - sparsity)),
            "weight_sparsity": sparsity,
            "sparsity": sparsity * 0.97,
            "bits": parameters * bits,
            "macs": parameters,
            "layers": layers,
        }

    def times(self, base: str, recipe: str) -> None:
        quantized = "quantize" in recipe
        backends: dict[str, Any] = {"tensorrt": {"status": "no CUDA device here"}}
        for name, ratio in (("torch", 0.7), ("onnxruntime", 1.3), ("openvino", 2.1)):
            if quantized and name == "torch":
                backends[name] = {"status": "no integer kernels", "precision": "int8", "reference_precision": "fp32"}
                continue
            dense = {"torch": 0.4, "onnxruntime": 0.15, "openvino": 0.11}[name] * SIZES[base][0] / 5000
            gain = ratio if quantized else 1 + float(self.random.normal(0, 0.01))
            median = dense / gain
            backends[name] = {
                "status": "ok",
                "precision": "int8" if quantized else "fp32",
                "reference_precision": "fp32",
                "kind": "quantization" if quantized else "structure",
                "latency_ms": {"median": median, "low": 0.97 * median, "high": 1.04 * median},
                "reference_latency_ms": {"median": dense, "low": 0.98 * dense, "high": 1.03 * dense},
                "speedup": {"ratio": gain, "low": 0.97 * gain, "high": 1.03 * gain},
                "control": {"ratio": 1.01, "low": 0.95, "high": 1.04},
                "throughput": 1000 / median,
                "integer_share": 0.94 if quantized else None,
                "max_error": 1e-6,
                "agreement": 1.0,
                "accuracy": 0.96,
            }
        machine = {
            "cpu": "Example CPU",
            "flags": ["avx2", "avx512_vnni"],
            "threads": 2,
            "versions": {"openvino": "2026.4"},
        }
        self.add(
            f"{base}/seeds=0-4/{recipe}", "bench=cpu.json", {"machine": machine, "batch": 64, "backends": backends}
        )

    def spectrum(self, base: str) -> None:
        rows = {
            str(seed): {
                "layers.0.weight": self.fit(),
                "head.weight": {"place": 1, "fitted": False, "reason": "the shorter side is 5"},
            }
            for seed in SEEDS
        }
        self.add(f"{base}/seeds=0-4", "spectral_fit=mp.json", rows)

    def fit(self) -> dict[str, Any]:
        p, n = 120, 300
        noise = self.random.normal(0, 0.1, (p, n))
        spike = np.outer(self.random.normal(size=p), self.random.normal(size=n)) * 0.04
        values = np.linalg.eigvalsh((noise + spike) @ (noise + spike).T / n)
        plus = 0.01 * (1 + np.sqrt(p / n)) ** 2 * 1.02
        counts, _ = np.histogram(values, bins=64, range=(0, 1.5 * plus))
        spikes = int((values > plus).sum())
        return {
            "place": 0,
            "fitted": True,
            "gamma": p / n,
            "sigma_hat": 0.1,
            "lambda_plus": float(plus),
            "sigma_plus": float(np.sqrt(n * plus)),
            "fit_error": 0.012,
            "bulk_fraction": 1 - spikes / p,
            "spikes": spikes,
            "spike_mass": 0.2,
            "hill": 3.1,
            "largest": values[:-22:-1].tolist(),
            "histogram": counts.tolist(),
            "histogram_edges": [0.0, float(1.5 * plus)],
            "histogram_beyond": int(p - counts.sum()),
        }


@pytest.fixture(name="study")
def make_study(tmp_path: Path) -> Study:
    study = Study(tmp_path / "results")
    for base in SIZES:
        for recipe in RECIPES:
            study.network(base, recipe)
            if recipe.endswith(("finetune=short", "int8")) and base != "docstrings-bert":
                study.times(base, recipe)
        study.spectrum(base)
    return study


@pytest.fixture(name="write")
def make_write(study: Study) -> Callable[..., str]:
    def write(files: list[Path] | None = None, profile: str | None = "cpu") -> str:
        claims = study.root.parent / "claims.yaml"
        claims.write_text(CLAIMS)
        return write_report(
            "A <b>title</b>", study.root, files or study.files, [claims], study.root / "report.html", profile
        )

    return write


def test_equal_results_give_equal_bytes(write: Callable[..., str], study: Study) -> None:
    outputs = [study.root / name for name in ("report.html", "table.csv", "claims.json")]
    write()
    first = [sha256(path) for path in outputs]
    write()
    assert [sha256(path) for path in outputs] == first


def test_the_page_is_one_file_that_may_fetch_nothing(write: Callable[..., str], study: Study) -> None:
    write()
    page = (study.root / "report.html").read_text()
    assert "default-src 'none'" in page
    assert page.count("plotly.js v") == 1
    own = page.split("<script>")[0]  # before plotly's own source
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", own)
    assert '<link rel="stylesheet"' not in page


def test_text_from_results_is_never_markup(write: Callable[..., str], study: Study) -> None:
    write()
    page = (study.root / "report.html").read_text()
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    assert "<b>title" not in page
    assert "<global>" not in page


def test_terminal_table_names_backend_and_precisions(write: Callable[..., str], study: Study) -> None:
    rows = {line.split()[0]: line for line in write().splitlines()}
    assert "openvino (int8 to fp32)" in rows["digits-mlp/quantize=int8"]
    assert "2.10x" in rows["digits-mlp/quantize=int8"]
    assert rows["docstrings-bert/quantize=int8"].endswith("-")
    stored = json.loads((study.root / "digits-mlp/seeds=0-4/evaluate=standard.json").read_text())["replicas"]
    accuracies = [figures["test"]["accuracy"] for figures in stored.values()]
    low, high = stats.t.interval(0.95, 4, np.mean(accuracies), stats.sem(accuracies))
    assert f"{100 * np.mean(accuracies):.1f} % [{100 * low:.1f}, {100 * high:.1f}], 5 seeds" in rows["digits-mlp"]
    assert "22.3 KiB" in rows["digits-mlp"]


def test_csv_holds_every_recipe(write: Callable[..., str], study: Study) -> None:
    write()
    with (study.root / "table.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(SIZES) * len(RECIPES)
    row = rows["digits-mlp/seeds=0-4/quantize=int8"]
    assert float(row["bits"]) == 8 * 5706
    assert float(row["openvino_speedup"]) == pytest.approx(2.1)
    assert (row["openvino_precision"], row["openvino_reference_precision"]) == ("int8", "fp32")
    assert row["torch_speedup"] == ""


def test_replicas_that_diverged_are_counted_in_what_was_made_of_them(write: Callable[..., str], study: Study) -> None:
    record = study.root / "digits-cnn/seeds=0-4/model.json"
    told = json.loads(record.read_text())
    told["provenance"]["diverged"] = {"2": 7, "4": 1}
    save_json(told, record)
    rows = {line.split()[0]: line for line in write().splitlines()}
    assert "5 seeds, 2 diverged" in rows["digits-cnn"]
    assert "5 seeds, 2 diverged" in rows["digits-cnn/quantize=int8"]
    assert "diverged" not in rows["digits-mlp"]
    assert "<small>2 diverged</small>" in (study.root / "report.html").read_text()


def test_ledger_is_written_with_its_numbers(write: Callable[..., str], study: Study) -> None:
    write()
    first, second = json.loads((study.root / "claims.json").read_text())
    assert (first["verdict"], len(first["cases"])) == ("holds", 2)
    assert first["cases"][0]["count"] == 5
    assert second["verdict"] == "not testable at this scale"
    assert "paper" in second["reason"]


def test_choices_are_made_on_validation(study: Study) -> None:
    lines = summarize(read_results(study.root, study.files))
    for line in lines:
        line.columns["seen"] = True
    found = {item.base: item for item in highlights(lines)}["digits-mlp"]
    assert found.smallest is not None
    assert found.fastest is not None
    assert found.smallest.validation.mean >= found.dense.validation.mean - 0.01
    assert found.shrink == pytest.approx(4)
    assert found.fastest.columns["quantize"] == "int8"


def test_pareto_figures_carry_recipe_interval_and_front(study: Study) -> None:
    lines = summarize(read_results(study.root, study.files))
    data = page_data(read_results(study.root, study.files), lines)
    figures = data["pareto"]["digits-mlp"]
    assert set(figures) == {"bits", "macs", "latency:torch", "latency:onnxruntime", "latency:openvino"}
    assert set(data["pareto"]["docstrings-bert"]) == {"bits", "macs"}
    points = {path: trace for trace in figures["bits"]["data"][1:] for path in trace["customdata"]}
    assert len(points) == len(RECIPES)
    hover = next(
        text for trace in figures["latency:openvino"]["data"][1:] for text in trace["text"] if "quantize" in text
    )
    assert "ms [" in hover
    assert "int8" in hover
    assert "5 seeds" in hover
    front = figures["bits"]["data"][0]
    assert front["y"] == sorted(front["y"])
    assert front["x"] == sorted(front["x"])


def test_lineage_is_checked(study: Study) -> None:
    parent = study.root / "digits-mlp/seeds=0-4/prune=magnitude@0.5/model.json"
    child = "digits-mlp/seeds=0-4/prune=magnitude@0.5/finetune=short"

    def intact() -> Any:
        results = read_results(study.root, study.files)
        return page_data(results, summarize(results))["stages"][child]["intact"]

    assert intact() is True
    parent.write_text(parent.read_text() + "\n")
    assert intact() is False


def test_missing_pieces_leave_the_rest(write: Callable[..., str], study: Study) -> None:
    few = [
        path for path in study.files if path.parent.name == "seeds=0-4" and path.name.startswith(("model", "evaluate"))
    ]
    assert len(write(few).splitlines()) == 2 + len(SIZES)
    page = (study.root / "report.html").read_text()
    assert "This study measures no speed." in page
    assert "This study fits no spectra." in page
    ledger = json.loads((study.root / "claims.json").read_text())
    assert ledger[0]["verdict"] == "not testable at this scale"


def test_nothing_at_all_is_a_page_too(study: Study) -> None:
    assert write_report("Empty", study.root, [], [], study.root / "report.html").startswith("recipe")


@pytest.mark.parametrize("damage", ["{", '{"replicas": 3}'])
def test_a_damaged_file_is_named(study: Study, damage: str) -> None:
    broken = study.root / "digits-mlp/seeds=0-4/evaluate=standard.json"
    broken.write_text(damage)
    with pytest.raises(PruneryError, match=r"evaluate=standard.json is not a readable result"):
        read_results(study.root, study.files)


def test_a_missing_file_and_a_stranger_are_named(study: Study, tmp_path: Path) -> None:
    with pytest.raises(PruneryError, match="not a readable result"):
        read_results(study.root, [study.root / "digits-mlp/seeds=0-4/prune=seb@0.9/model.json"])
    with pytest.raises(PruneryError, match="not below the results folder"):
        read_results(study.root, [tmp_path / "elsewhere/model.json"])


def test_interval_is_students() -> None:
    values = [0.91, 0.95, 0.93, 0.97]
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 3, np.mean(values), stats.sem(values)))
    assert mean_interval([0.5]).low is None


def test_pareto_front_by_brute_force() -> None:
    generator = np.random.default_rng(1)
    cost, gain = generator.integers(0, 12, 60).tolist(), generator.integers(0, 12, 60).tolist()
    found = {(cost[i], gain[i]) for i in pareto_front(cost, gain)}
    points = list(zip(cost, gain, strict=True))
    best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
    assert found == best


@pytest.mark.parametrize("gamma", [0.2, 0.7, 1.0])
def test_density_integrates_to_one_and_to_the_variance(gamma: float) -> None:
    variance = 0.3
    x = variance * (1 + np.sqrt(gamma)) ** 2 * np.linspace(1e-5, 1, 400_001) ** 2  # crowded where gamma = 1 diverges
    density = marchenko_pastur(x, gamma, variance)
    assert np.trapezoid(density, x) == pytest.approx(1, abs=5e-3)
    assert np.trapezoid(density * x, x) == pytest.approx(variance, rel=1e-3)


def test_spectrum_figure_has_unit_mass_and_marks_the_spike(study: Study) -> None:
    fit = study.fit()
    bars, law, edge, spikes = spectrum_figure(fit)["data"]
    mass = np.dot(bars["y"], bars["width"]) + fit["histogram_beyond"] / 120
    assert mass == pytest.approx(1, abs=1e-3)
    assert np.trapezoid(law["y"], law["x"]) == pytest.approx(fit["bulk_fraction"], abs=0.01)
    assert edge["x"] == pytest.approx([fit["lambda_plus"]] * 2, rel=1e-5)
    assert len(spikes["x"]) == fit["spikes"] == 1


def test_networks_are_drawn_layer_by_layer(study: Study) -> None:
    results: Results = read_results(study.root, study.files)
    path, rows = next((path, rows) for (path, _), rows in results.spectra.items())
    for seed in rows:  # a part of a layer's weight
        rows[seed]["layers.0.weight[q]"] = {**rows[seed]["layers.0.weight"], "sigma_plus": 2.0}
    entry = next(each for each in page_data(results, summarize(results))["spectra"] if each["title"].startswith(path))
    edges, bulk, spikes = (entry["network"][name]["data"] for name in ("edges", "bulk", "spikes"))
    expected = mean_interval([row["layers.0.weight"]["sigma_plus"] for row in rows.values()])
    whole, parts = edges
    assert (whole["x"], whole["customdata"]) == ([1], ["layers.0.weight"])  # the head has no fit: a gap
    assert whole["y"] == pytest.approx([expected.mean], rel=1e-5)
    assert whole["error_y"]["array"] == pytest.approx([expected.half_width], rel=1e-4)
    assert whole["error_y"]["arrayminus"] == pytest.approx([expected.half_width], rel=1e-4)
    assert (parts["x"], parts["y"], parts["customdata"]) == ([1], [2.0], ["layers.0.weight[q]"])
    assert bulk[0]["y"] == pytest.approx([1 - 1 / 120], abs=1e-4)
    assert spikes[0]["y"] == [1.0]


def test_intervals_of_shares_end_at_one() -> None:
    rows = {str(seed): {"a.weight": {"place": 0, "bulk_fraction": share}} for seed, share in enumerate((1.0, 0.9))}
    (trace,) = network_figures(rows)["bulk"]["data"]
    assert (trace["y"], trace["error_y"]["array"]) == ([0.95], pytest.approx([0.05]))
    assert trace["error_y"]["arrayminus"] == pytest.approx([0.05 * 12.7062], rel=1e-4)


def test_curves_are_means_with_bands(study: Study) -> None:
    results: Results = read_results(study.root, study.files)
    curves = page_data(results, summarize(results))["curves"]["digits-mlp/seeds=0-4"]["accuracy"]["data"]
    band, line = curves[2:]
    rows = results.history[(results.history["path"] == "digits-mlp/seeds=0-4") & (results.history["epoch"] == 7)]
    expected = mean_interval(rows["validation_accuracy"])
    assert line["y"][6] == pytest.approx(expected.mean, rel=1e-5)
    assert band["y"][6] == pytest.approx(expected.high, rel=1e-5)
    assert len(band["x"]) == 2 * len(line["x"])


@pytest.mark.parametrize(
    ("speedup", "control", "outcome"),
    [
        ((1.30, 1.20, 1.40), (1.00, 0.95, 1.05), "faster"),
        ((1.30, 1.20, 1.40), (1.20, 1.10, 1.25), "within noise"),
        ((1.30, 1.20, 1.40), (0.80, 0.75, 0.90), "within noise"),
        ((0.70, 0.60, 0.75), (1.00, 0.95, 1.05), "slower"),
        ((0.97, 0.96, 0.98), (1.00, 0.95, 1.05), "within noise"),
    ],
)
def test_a_ratio_counts_only_beyond_what_equal_networks_differ_by(speedup, control, outcome):
    ones = (1.0, 1.0, 1.0)
    speed = Speed("eager", "fp32", "fp32", "structure", 1, ones, ones, speedup, control)
    assert speed.outcome == outcome
    assert (", within noise" in speed_text(speed)) == (outcome == "within noise")


# --- large studies ---------------------------------------------------------------------------------------------------


def test_a_page_shows_a_part_of_a_large_study_and_the_table_all_of_it(study: Study, monkeypatch: Any) -> None:
    lines = summarize(read_results(study.root, study.files))
    kept = shown(lines, 12)
    assert len(kept) == 12
    assert [line for line in lines if line in kept] == kept  # in their order
    timed = [line.path for line in lines if line.speeds]
    assert set(timed[:12]) <= {line.path for line in kept}
    fronts = shown([replace(line, speeds=()) for line in lines], 12)
    assert {line.base for line in fronts} == {line.base for line in lines}
    assert shown(lines, len(lines)) is lines
    monkeypatch.setattr("prunery.reporting.page.shown", lambda every: shown(every, 5))
    output = study.root / "large.html"
    write_report("Large", study.root, study.files, [], output)
    page = output.read_text()
    assert page.count("<tr data-path=") == 5
    assert f"This page shows 5 of {len(lines)} networks" in page
    assert len((study.root / "table.csv").read_text().splitlines()) == len(lines) + 1


def test_the_terminal_shows_the_beginning_of_a_large_study(study: Study, monkeypatch: Any) -> None:
    monkeypatch.setattr("prunery.report.ROWS", 3)
    said = write_report("Large", study.root, study.files, [], study.root / "large.html").splitlines()
    assert len(said) == 2 + 3 + 1
    assert said[-1].startswith("and ")
    assert said[-1].endswith(" more: see table.csv")


def test_the_page_shows_what_analyses_found(study: Study) -> None:
    table = Table(title="Minimal <sizes>", columns=["family", "size"], rows=[["mlp", "10\n[8, 14]"], ["cnn", None]])
    charts = [Chart(title=f"c{n}", figure={"data": [], "layout": {}}, group="mlp" if n < 2 else "") for n in range(3)]
    found = Findings(title="Sizes", notes=["A note."], tables=[table], figures=charts)
    study.add(".", "analyse=sizes.json", found.model_dump(mode="json"))
    output = study.root / "with-analyses.html"
    write_report("Analysed", study.root, study.files, [], output)
    page = output.read_text()
    assert "Minimal &lt;sizes&gt;" in page
    assert 'data-save="analysis-sizes-table-0"' in page
    assert page.count('id="analysis-sizes-') == 3 + 1
    section = page.partition('<section id="analyses"')[2].partition("</section>")[0]
    assert section.count('<div class="plots three">') == 2
