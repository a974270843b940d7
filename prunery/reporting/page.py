"""The page: tables rendered by Jinja, figures and details as one block of JSON, everything inlined into one file."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from prunery.findings import Chart, Findings
from prunery.reporting import summary
from prunery.reporting.cases import FAILS, HOLDS, NOT_TESTABLE, UNDECIDED
from prunery.reporting.claims import Claim
from prunery.reporting.curves import curve_figures
from prunery.reporting.figures import FAMILIES, pareto_figures
from prunery.reporting.galleries import walls
from prunery.reporting.kinds import Difference, Pick, QuantitiesTest, QuantityTest, RankCorrelation, Threshold, Wilcoxon
from prunery.reporting.results import DENSE, Results
from prunery.reporting.selection import CARDS, shown
from prunery.reporting.spectra import spectra
from prunery.reporting.statistics import rounded
from prunery.reporting.summary import Line
from prunery.reporting.verdicts import Verdict

LAYER_COLUMNS = ("parameters", "nonzero", "sparsity", "bits", "macs")
SCRIPTS = ("table.js", "plots.js", "inspect.js")


def render(title: str, results: Results, lines: list[Line], verdicts: list[Verdict], profile: str | None) -> str:
    """The whole page as text; equal inputs give equal bytes. Of a large study it shows a part of the recipes."""
    seen = shown(lines)
    environment = Environment(
        loader=PackageLoader("prunery.reporting"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "percent": summary.percent, "accuracy": summary.accuracy_text, "size": summary.size_text,
        "speed": summary.speed_text, "number": number_text, "test": test_text, "grouped": grouped_charts,
    }  # fmt: skip
    return environment.get_template("report.html.j2").render(
        title=title, profile=profile, lines=seen, evaluated=len(lines), verdicts=verdicts,
        highlights=summary.highlights(lines)[:CARDS], every_base=list(dict.fromkeys(line.base for line in lines)),
        bases=list(dict.fromkeys(line.base for line in seen)), tolerance=summary.TOLERANCE, families=FAMILIES,
        tally={name: sum(v.verdict == name for v in verdicts) for name in (HOLDS, FAILS, UNDECIDED, NOT_TESTABLE)},
        bench=bench_rows(results.bench), machines=machines(results.bench), results=results, dense=DENSE,
        walls=walls(results), style=asset("report.css"), scripts=[asset(name) for name in SCRIPTS],
        plotly=Markup(get_plotlyjs()), data=inline_json(page_data(results, seen)),
    )  # fmt: skip


@cache
def asset(name: str) -> Markup:
    """A style sheet or script of this package, to be inlined as it is."""
    return Markup((resources.files("prunery.reporting") / "assets" / name).read_text(encoding="utf-8"))


def inline_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: it cannot close it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))


def number_text(value: float | None) -> str:
    """A number with its thousands apart, or four significant digits; a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"  # noqa: RUF001
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def grouped_charts(findings: Findings) -> list[tuple[str, list[tuple[int, Chart]]]]:
    """The figures of an analysis, numbered: those of a group in a row together."""
    numbered = enumerate(findings.figures)
    return [(group, list(held)) for group, held in groupby(numbered, key=lambda each: each[1].group)]


# --- tables ----------------------------------------------------------------------------------------------------------


def bench_rows(bench: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of the bench table; what was not measured is None. Those with a time have the `outcome` of `Speed`."""
    return [
        {str(k): _plain(v) for k, v in row.items()}
        | {"outcome": summary.measured_speed(row).outcome if row["status"] == "ok" else None}
        for row in bench.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and pd.isna(value) else value


def machines(bench: pd.DataFrame) -> list[dict[str, Any]]:
    """The machines on which times were taken, each once."""
    if bench.empty:
        return []
    found = {json.dumps(machine, sort_keys=True): machine for machine in bench["machine"]}
    return [found[key] for key in sorted(found)]


def test_text(claim: Claim) -> str:
    """A claim's test in one line of words."""
    test = claim.test
    match test:
        case Difference():
            what = f"({_pick(test.a)} − {_pick(test.b)})"  # noqa: RUF001
            ratio = " relative to the second" if test.relative else ""
            return f"mean of {test.metric} {what}{ratio}, paired by seed, {test.expect}"
        case Wilcoxon():
            return f"signed-rank test of {test.metric} ({_pick(test.a)} − {_pick(test.b)}), pairs pooled, {test.expect}"  # noqa: RUF001
        case RankCorrelation():
            return f"Spearman's rho of {test.x} and {test.y} over {_pick(test.of)}, {test.expect}"
        case Threshold():
            where = "" if test.metric not in ("speedup", "latency_ms") else f" on {', '.join(test.backend)}"
            return f"{test.metric} of {_pick(test.of)}{where}, {test.expect}"
        case QuantityTest():
            return f"{', '.join(test.quantity)} of the analysis {test.analyse}, {test.expect}"
        case QuantitiesTest():
            sign = "/" if test.ratio else "−"  # noqa: RUF001
            pairs = ", ".join(f"{a} {sign} {b}" for a, b in test.pairs())
            return f"{pairs} of the analysis {test.analyse}, {test.expect}"


def _pick(pick: Pick) -> str:
    return ", ".join(pick.recipe)


# --- what the scripts read -------------------------------------------------------------------------------------------


def page_data(results: Results, lines: list[Line]) -> dict[str, Any]:
    """Figures and details, by recipe, for the page's scripts: of these lines and of what they were made from."""
    chains = {line.path: results.chain(line.path) for line in lines}
    stages = dict.fromkeys(path for chain in chains.values() for path in chain)
    table = summary.csv_frame(lines).to_csv(index=False, lineterminator="\n").splitlines() if lines else [""]
    return {
        "pareto": pareto_figures(lines),
        "curves": curve_figures(results, stages),
        "analyses": {
            f"{name}-{number}": chart.figure
            for name, findings in results.analyses.items()
            for number, chart in enumerate(findings.figures)
        },
        "spectra": spectra(results),
        "layers": layer_tables(results, chains),
        "chains": chains,
        "stages": {path: provenance(results, path) for path in stages},
        "csv": {"header": table[0], "rows": {line.path: row for line, row in zip(lines, table[1:], strict=True)}},
    }


def layer_tables(results: Results, paths: Collection[str]) -> dict[str, Any]:
    """path -> rows of key, dtype and the means over seeds of `LAYER_COLUMNS`."""
    if results.layers.empty:
        return {}
    held = results.layers[results.layers["path"].isin(paths)]
    first = held.groupby("path", sort=False)["evaluate"].transform("first")
    grouped = held[held["evaluate"] == first].groupby(["path", "key"], sort=False)
    columns = [name for name in LAYER_COLUMNS if name in held]
    types = grouped["dtype"].agg(lambda names: "/".join(sorted(set(names))))
    tables: dict[str, Any] = {}
    for (path, key), dtype, means in zip(types.index, types, grouped[columns].mean().to_numpy(), strict=True):
        tables.setdefault(path, []).append([key, dtype, *rounded(means)])
    return tables


def provenance(results: Results, path: str) -> dict[str, Any]:
    """A stage's record, its hash, and whether the parent it names is the one that lies above it."""
    stage = results.stages[path]
    parent = path.rpartition("/")[0]
    named = stage.provenance.get("parent")
    intact = None if not named or parent not in results.stages else results.stages[parent].hash == named
    return {"record": stage.provenance, "hash": stage.hash, "intact": intact}
