"""The report in a real browser: nothing on the console, no request that leaves the page. Needs chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--enable-logging=stderr", "--virtual-time-budget=8000"),
]


def opened(page: Path, tmp_path: Path, *flags: str) -> tuple[str, list[str], list[str]]:
    """Open a page: its document after the scripts ran, what the console said, and the addresses that were asked for."""
    net = tmp_path / "net.json"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={net}", *flags]
    answer = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120)
    console = re.findall(r"CONSOLE[^\n]*", answer.stderr)
    events = json.loads(net.read_text())["events"]
    told = [event.get("params", {}) for event in events]
    own = "not an origin"  # what the browser itself asks for
    pages = [params for params in told if params.get("initiator", own) != own]
    asked = {str(params.get("url", "")) for params in pages}
    return answer.stdout, console, sorted(url for url in asked if url.startswith(("http", "ws")))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_report_opens_offline_without_a_word_on_the_console(tmp_path, make_study):
    config = {
        "study": "page",
        "bases": {"net": {"data": "digits", "model": "mlp", "train": "brief", "seeds": "0-1"}},
        "recipes": ["net/prune=magnitude@{0.5,0.9}/finetune=brief", "net/quantize=ptq"],
        "measures": {"spectral_fit": ["mp"], "bench": {"quick": ["net/quantize=ptq"]}},
        "train": {"brief": {"method": "supervised", "settings": {"epochs": 3}}},
        "finetune": {"brief": {"method": "supervised", "settings": {"epochs": 1}}},
        "bench": {"quick": {"method": "latency", "settings": {"backends": ["onnxruntime"], "rounds": 5}}},
    }
    answer = make_study(tmp_path, config).snakemake()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    document, console, asked = opened(tmp_path / "results/page/report.html", tmp_path)
    assert console == []
    assert asked == []
    assert document.count("js-plotly-plot") >= 3  # the plots were drawn
    assert "prune=magnitude@0.9" in document


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_this_test_would_see_a_word_or_a_request(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('oh'); fetch('http://127.0.0.1:9/x').catch(() => 0)</script>")
    _, console, asked = opened(page, tmp_path)
    assert any("oh" in line for line in console)
    assert asked == ["http://127.0.0.1:9/x"]
