"""The pinned versions are the same wherever they stand, and no file names where to download them from."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_pins_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = [line for line in (ROOT / "envs/pins.txt").read_text().splitlines() if not line.startswith("#")]
    assert pins == project["tool"]["uv"]["constraint-dependencies"]


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {pin.split("==")[0].lower() for pin in project["tool"]["uv"]["constraint-dependencies"]}
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    assert {re.split(r"[><=]", name)[0].lower() for name in wanted} <= pinned
