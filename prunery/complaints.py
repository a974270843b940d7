"""What a user reads when something is wrong: one line of ours, in the place of what Snakemake would say of it."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING

from prunery.contract import MEASURES
from prunery.errors import PruneryError
from prunery.yamlfile import read_mapping

if TYPE_CHECKING:
    from prunery.registry import Registry
    from prunery.workflow import Workflow

TRACEBACK = "PRUNERY_TRACEBACK"
"""Variable that, set to anything, shows the traceback of an error that is nobody's mistake in a config."""
_COMMAND = re.compile(
    r"Command '[^\n]*PRUNERY_LAUNCH.*' (returned non-zero exit status \d+|died with [^\n.]+)", re.DOTALL
)
_MISTAKE = re.compile(r".*?\bPruneryError: ([^\n]+).*", re.DOTALL)
_MISSING = re.compile(r".*?No rule to produce (.+?) \(if you use input functions.*", re.DOTALL)


@contextmanager
def report_mistakes() -> Iterator[None]:
    """While the Snakefile is parsed: whatever is wrong is one line, and exit code 1."""
    try:
        yield
    except PruneryError as error:
        said = str(error)
    except Exception as error:  # a plugin's fault, or ours
        if environ.get(TRACEBACK):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}, line {place.lineno}; set {TRACEBACK}=1 to see the way there"
        said = " ".join(f"{type(error).__name__}: {error} (in {where})".split())
    else:
        return
    print(f"prunery: {said}", file=sys.stderr)
    sys.exit(1)


def checked(path: str) -> str:
    """The path of a config file, once it is found to be sound YAML: Snakemake would take the last of two equal keys."""
    with report_mistakes():
        read_mapping(Path(path))
    return path


def shorten(study: Workflow) -> None:
    """Have Snakemake's messages on the terminal shortened from here on; its log file keeps all of them."""
    for handler in logging.getLogger("snakemake.logging").handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            plain = handler.formatter or logging.Formatter()
            handler.setFormatter(_Short(plain, lambda path: why_not(study, path)))


def tell_set_aside(registry: Registry) -> None:
    """Name the plugins that cannot be used: a run that needs none of them goes on, perhaps with a namesake."""
    for plugin, why in registry.broken.items():
        print(f"prunery: plugin {plugin} is set aside: {why}", file=sys.stderr)


def tell_absent(study: Workflow) -> None:
    """Say which bases are left out, by the reason."""
    reasons: dict[str, list[str]] = {}
    for base, why in study.absent.items():
        reasons.setdefault(why.partition(": ")[2], []).append(base)
    for why, bases in reasons.items():
        others = f" and {len(bases) - 1} more bases" if len(bases) > 1 else ""
        print(f"prunery: {bases[0]}{others} left out, since optional data are not here: {why}", file=sys.stderr)


class _Short(logging.Formatter):
    """Leaves the command line of a failed job out, and of a mistake everything but what it is."""

    def __init__(self, plain: logging.Formatter, explain: Callable[[str], str]) -> None:
        super().__init__()
        self.plain, self.explain = plain, explain

    def format(self, record: logging.LogRecord) -> str:
        """What is shown of a message."""
        text = str(self.plain.format(record))
        if record.levelno < logging.ERROR:
            return text
        text = _COMMAND.sub(r"The job \1: what it said stands above, and at the end of the run", text)
        text = _MISTAKE.sub(r"prunery: \1", text)
        return _MISSING.sub(lambda found: f"prunery: {self.explain(found[1])}", text)


def why_not(study: Workflow, path: str) -> str:
    """Why no rule makes a file that was asked for, and what to ask for."""
    from prunery.commands.targets import target

    try:
        asked = target(study, path)
        _check_measure(study, Path(asked))
    except PruneryError as error:
        return f"no rule makes {path}: {error}"
    if asked != path:
        return f"no rule makes {path}: ask for {asked}"
    near = get_close_matches(path, study.wanted, n=1)
    return f"no rule makes {path}: " + (f"did you mean {near[0]}?" if near else f"ask for one such as {study.report}")


def _check_measure(study: Workflow, path: Path) -> None:
    stage, _, variant = path.stem.partition("=")
    if stage in MEASURES:
        study.study.method(study.registry, stage, variant)
