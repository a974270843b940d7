"""Tell what became of one tensor, from training down to a folder.

Every step has a line; below it stand the tensor and its companions with type, shape, share of zeros and hash.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from prunery.trace import trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, help="a recipe's folder below results/")
    parser.add_argument("key", help="a tensor's name, such as fc1.weight")
    parser.add_argument("--seed", type=int, help="the replica; its first one if not given")


def run(options: argparse.Namespace) -> int:
    """Print the journey."""
    print("\n".join(trace(options.folder, options.key, options.seed)))
    return 0
