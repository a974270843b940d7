"""A whole study run twice, in two folders, by two Snakemake runs: how many files differ in their bytes.

Compared are data, checkpoints, histories, measurements and figures; not what holds measured times (`bench=*.json` and
the report's files, which quote them). A file that one run alone has counts as differing.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import conclude, parser

CODE = Path(__file__).parents[1]
TIMED = ("bench=*.json", "report.html", "table.csv", "claims.json")


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="prunery-same-bytes-") as scratch:
        folders = [Path(scratch) / name for name in ("first", "second")]
        seconds = [run(folder, options.config.resolve(), options.profile, options.cores) for folder in folders]
        first, second = map(digests, folders)
    differ = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
    for path in differ:
        print(f"differs: {path}")
    print(f"{len(first)} files compared, {sum(path.endswith('.safetensors') for path in first)} of them tensors")
    figures: dict[str, Any] = {"files": len(first), "differ": differ, "seconds": [round(each, 1) for each in seconds]}
    conclude("same bytes", len(differ), 0, figures, options.json, at_most=True, unit=" differing files")


def arguments() -> Any:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--config", type=Path, default=CODE / "config.yaml", help="the study (default: config.yaml)")
    made.add_argument("--profile", default="cpu", help="its profile: smoke, cpu or paper (default: cpu)")
    made.add_argument("--cores", default="all", help="cores of each run (default: all)")
    return made.parse_args()


def run(folder: Path, config: Path, profile: str, cores: str) -> float:
    """Run the study in a folder of its own, beside links to what its config may name; returns the seconds it took."""
    folder.mkdir()
    for entry in CODE.iterdir():
        if not entry.name.startswith(".") and entry.name not in ("results", "logs"):
            (folder / entry.name).symlink_to(entry)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(CODE / "Snakefile"), "--directory", str(folder)]
    command += ["--profile", "none", "--workflow-profile", str(CODE / "profiles" / "default"), "--cores", cores]
    command += ["--configfile", str(config), "--config", f"profile={profile}"]
    start = time.monotonic()
    answer = subprocess.run(
        command, cwd=CODE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if answer.returncode:
        sys.exit(f"the study failed:\n{answer.stderr[-4000:]}")
    return time.monotonic() - start


def digests(folder: Path) -> dict[str, str]:
    """The digest of every result that holds no time, by path."""
    found = {}
    for path in (folder / "results").rglob("*"):
        if path.is_file() and not any(path.match(pattern) for pattern in TIMED):
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


if __name__ == "__main__":
    main()
