"""Pictures of evaluations: what the report shows of them, and claims about figures beside accuracies."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunery import PruneryError
from prunery.files import save_json
from prunery.findings import Gallery, Picture, Sample
from prunery.report import write_report
from prunery.reporting.claims import read_claims
from prunery.reporting.galleries import COLUMNS, walls
from prunery.reporting.results import Results, read_results
from prunery.reporting.summary import summarize
from prunery.reporting.verdicts import judge

CLAIM = """
- id: focus
  statement: Attention stays.
  test: {kind: threshold, metric: test_cam_overlap, of: {base: net, recipe: prune=l1@0.5EVALUATE}, expect: "> 0.5"}
"""


def gallery(own: str | None, captions: tuple[str, ...] = ("a cat", "a <dog>")) -> Gallery:
    mine = [] if own is None else [Picture(title="map", png=own)]
    shared = [Picture(title="input", png="aW4="), Picture(title="dense", png="ZGU=")]
    samples = [Sample(caption=caption, shared=shared, own=mine, told="rho 0.9") for caption in captions]
    return Gallery(title="Maps", about="What they are.", samples=samples)


def made(root: Path) -> list[Path]:
    """Two evaluations of a dense network and of one that was pruned; the one with pictures comes first."""
    files = []
    for recipe, own in (("", None), ("/prune=l1@0.5", "bWFw")):
        folder = root / f"net/seeds=0-2{recipe}"
        save_json({"provenance": {"stage": "train"}}, folder / "model.json")
        split = {"accuracy": 0.9, "loss": 0.1, "agreement": 1.0, "samples": 9}
        standard = {str(seed): {"test": split, "validation": split, "bits": 99} for seed in range(3)}
        overlap = {"cam_overlap": 0.8, "samples": 4}
        maps = {str(seed): {"test": overlap, "validation": overlap, "bits": 99} for seed in range(3)}
        save_json({"replicas": maps, "gallery": gallery(own).model_dump()}, folder / "evaluate=maps.json")
        save_json({"replicas": standard}, folder / "evaluate=standard.json")
        files += [folder / name for name in ("model.json", "evaluate=maps.json", "evaluate=standard.json")]
    return files


def test_the_report_shows_them_side_by_side_and_offline(tmp_path):
    output = tmp_path / "report.html"
    write_report("study", tmp_path, made(tmp_path), [], output)
    page = output.read_text()
    assert page.count('src="data:image/png;base64,aW4="') == 2  # an input for each sample, once for both networks
    assert page.count('src="data:image/png;base64,bWFw"') == 2
    assert "a &lt;dog&gt;" in page
    assert 'href="#pictures"' in page


def test_a_study_without_pictures_has_no_section(tmp_path):
    files = [file for file in made(tmp_path) if "maps" not in file.name]
    write_report("study", tmp_path, files, [], tmp_path / "report.html")
    assert 'id="pictures"' not in (tmp_path / "report.html").read_text()


def test_accuracies_are_told_by_the_evaluation_that_has_them(tmp_path):
    results = read_results(tmp_path, made(tmp_path))
    assert [line.test.mean for line in summarize(results)] == pytest.approx([0.9, 0.9])
    only_maps = read_results(tmp_path, [file for file in made(tmp_path) if "standard" not in file.name])
    assert summarize(only_maps) == []


def test_columns_are_recipes_and_too_many_are_counted():
    results = Results()
    results.galleries["net/seeds=0-2", "maps"] = gallery(None)
    for number in range(COLUMNS + 3):
        results.galleries[f"net/seeds=0-2/prune=l1@0.{number + 10}", "maps"] = gallery("bWFw", ("a cat",))
    results.galleries["other/seeds=0", "maps"] = gallery(None)
    first, second = walls(results)
    assert first.columns[:3] == ["input", "dense", "prune=l1@0.10"]
    assert (len(first.columns), first.hidden) == (COLUMNS + 2, 3)
    assert [caption for caption, _ in first.rows] == ["a cat", "a <dog>"]
    assert first.rows[0][1][2].told == "rho 0.9"
    assert first.rows[1][1][2] is None  # that recipe has one sample only
    assert second.columns == ["input", "dense"]


def test_claims_may_test_the_figures_of_an_evaluation_they_name(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIM.replace("EVALUATE", ", evaluate: maps"))
    (claim,) = read_claims([path])
    verdict = judge(claim, read_results(tmp_path, made(tmp_path)), None)
    assert (verdict.verdict, verdict.cases[0].estimate) == ("holds", pytest.approx(0.8))
    path.write_text(CLAIM.replace("EVALUATE", ""))
    with pytest.raises(PruneryError, match="unknown metric 'test_cam_overlap'"):
        read_claims([path])
