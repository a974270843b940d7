"""Long texts on a command line: the system takes 128 KiB an argument, and the paths of a large study are more."""

from __future__ import annotations

import lzma
from base64 import b64decode, b64encode

LONGEST = 30_000
"""Characters up to which a text stays readable."""
MARK = "xz:"


def pack(text: str) -> str:
    """The text, compressed if it is long: the paths of a study are so alike that they shrink fiftyfold."""
    return text if len(text) <= LONGEST else MARK + b64encode(lzma.compress(text.encode())).decode("ascii")


def unpack(text: str) -> str:
    """What was packed."""
    return lzma.decompress(b64decode(text.removeprefix(MARK))).decode() if text.startswith(MARK) else text
