"""The command `prunery`, beside Snakemake: it lists, checks, explains and starts things, and runs no job itself.

Each subcommand is a module of `prunery.commands`. Its docstring is its help, `add_arguments` declares what it takes,
`run` does it and returns the exit code. Importing them imports nothing heavy, so that an answer comes at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import NoReturn

from prunery import __version__
from prunery.commands import check, diff, doctor, methods, new, trace, why
from prunery.errors import PruneryError, unknown

COMMANDS = {module.__name__.rpartition(".")[2]: module for module in (methods, check, trace, why, diff, doctor, new)}


class _Parser(argparse.ArgumentParser):
    """Tells a mistake on the command line as every other mistake is told."""

    def error(self, message: str) -> NoReturn:
        raise PruneryError(f"{message}: see {self.prog} --help")


def main(arguments: Iterable[str]) -> int:
    """Run one subcommand; returns the exit code. A user's mistake is one line and 1."""
    try:
        options = _options(list(arguments))
        code: int = COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # such as in `prunery methods | head`; the interpreter must not try again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (PruneryError, OSError) as error:
        print(f"prunery: {error}", file=sys.stderr)
        return 1
    return code


def main_from_shell() -> int:
    """The entry point of the installed command."""
    return main(sys.argv[1:])


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="prunery", description=_first_line(__doc__))
    parser.add_argument("--version", action="version", version=f"prunery {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        raw = argparse.RawDescriptionHelpFormatter
        added = subparsers.add_parser(
            name, help=_first_line(module.__doc__), description=module.__doc__, formatter_class=raw
        )
        module.add_arguments(added)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise PruneryError(unknown("command", arguments[0], COMMANDS))
    return parser.parse_args(arguments)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0]
