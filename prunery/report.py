"""The report of a study: one page that opens offline, the table of recipes, and the ledger of claims."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prunery.files import save_json, save_text
from prunery.reporting.claims import read_claims
from prunery.reporting.page import render
from prunery.reporting.results import read_results
from prunery.reporting.selection import ROWS
from prunery.reporting.sensitivities import sensitivity_findings
from prunery.reporting.summary import Line, csv_frame, summarize, terminal_table
from prunery.reporting.verdicts import Verdict, judge


def write_report(
    title: str, root: Path, files: Iterable[Path], claims: Iterable[Path], output: Path, profile: str | None = None
) -> str:
    """Write `output` (html), and `table.csv` and `claims.json` beside it; returns a short table for the terminal.

    `files` are the result files to show, all below `root`; `claims` are claims files. `profile` is the study's:
    claims that need another one are not tested. Raises `PruneryError` naming a file that is missing or damaged, or
    the claim and key that are wrong.
    """
    ledger = read_claims(claims)
    files = list(files)
    results = read_results(root, files)
    results.analyses |= sensitivity_findings(root, files)
    lines = summarize(results)
    verdicts = [judge(claim, results, profile) for claim in ledger]
    save_text(csv_frame(lines).to_csv(index=False, lineterminator="\n"), output.parent / "table.csv")
    save_json([_entry(verdict) for verdict in verdicts], output.parent / "claims.json")
    save_text(render(title, results, lines, verdicts, profile), output)
    return _table(lines)


def _table(lines: list[Line]) -> str:
    """The terminal's table, of a large study its beginning."""
    more = f"\nand {len(lines) - ROWS} more: see table.csv" if len(lines) > ROWS else ""
    return terminal_table(lines[:ROWS]) + more


def _entry(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim.model_dump(mode="json", exclude_none=True)
    cases = [asdict(case) for case in verdict.cases]
    return {**claim, "verdict": verdict.verdict, "reason": verdict.reason, "cases": cases}
