"""Texts as token ids: a word vocabulary built from the training texts, or a pretrained tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from prunery.datafolder import tokenizer_files
from prunery.datasettings import TextSettings
from prunery.errors import PruneryError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    Ids = np.ndarray[tuple[int], np.dtype[np.int32]]

PADDING, UNKNOWN, START = 0, 1, 2
SPECIAL = ("[PAD]", "[UNK]", "[CLS]")
WORD = re.compile(r"\w+|[^\w\s]")


def encode(
    train: Sequence[str], test: Sequence[str], settings: TextSettings
) -> tuple[Int[Tensor, "train length"], Int[Tensor, "test length"], tuple[str, ...]]:
    """Token ids of both splits (int32, padding 0) and the vocabulary: the token of each id.

    Raises `PruneryError` if a pretrained tokenizer cannot be read or does not pad with id 0.
    """
    if settings.tokenizer == "words":
        return _encode_words(train, test, settings.length, settings.vocabulary)
    tokenizer = _pretrained(settings.tokenizer)
    tokenizer.enable_truncation(settings.length)
    tokenizer.enable_padding(length=settings.length, pad_id=PADDING, pad_token=_padding_token(tokenizer, settings))
    tokens = (tokenizer.id_to_token(i) or f"[unused {i}]" for i in range(tokenizer.get_vocab_size()))
    first, second = (_encode_pretrained(texts, tokenizer, settings.length) for texts in (train, test))
    return first, second, tuple(tokens)


# --- words -----------------------------------------------------------------------------------------------------------


def _encode_words(
    train: Sequence[str], test: Sequence[str], length: int, size: int
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Lower-cased words and punctuation marks; the most frequent of `train` get ids, ties in alphabetical order.

    Only the first `length - 1` words of a text count: no network sees the others. [CLS] is put before them.
    """
    numbers: dict[str, int] = {}
    rows_train = [_numbered(text, length - 1, numbers) for text in train]
    seen = list(numbers)
    rows_test = [_numbered(text, length - 1, numbers) for text in test]
    counts = np.bincount(np.concatenate([*rows_train, np.empty(0, np.int32)]), minlength=len(seen))
    frequent = sorted(range(len(seen)), key=lambda i: (-counts[i], seen[i]))[: size - len(SPECIAL)]
    ids = np.full(len(numbers), UNKNOWN, np.int32)
    ids[frequent] = np.arange(len(SPECIAL), len(SPECIAL) + len(frequent))
    vocabulary = (*SPECIAL, *(seen[i] for i in frequent))
    return _padded(rows_train, ids, length), _padded(rows_test, ids, length), vocabulary


def _numbered(text: str, limit: int, numbers: dict[str, int]) -> Ids:
    """The first `limit` words of a text by their place in `numbers`, to which new words are added."""
    words = WORD.findall(text.lower())[:limit]
    return np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)


def _padded(rows: Sequence[Ids], ids: Ids, length: int) -> Int[Tensor, "texts length"]:
    table = np.full((len(rows), length), PADDING, np.int32)
    table[:, 0] = START
    for place, row in zip(table, rows, strict=True):
        place[1 : 1 + len(row)] = ids[row]
    return torch.from_numpy(table)


# --- pretrained tokenizers -------------------------------------------------------------------------------------------


def _pretrained(name: str) -> Tokenizer:
    from tokenizers import Tokenizer

    files = tokenizer_files(name)
    try:
        return Tokenizer.from_file(str(files[0])) if files else Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises bare `Exception` for damaged files and unreachable hubs alike
        where = str(files[0]) if files else f"the hub's {name!r} (there is no such local folder)"
        raise PruneryError(f"setting tokenizer: cannot read {where}: {error}") from error


def _padding_token(tokenizer: Tokenizer, settings: TextSettings) -> str:
    """The tokenizer's padding token, which must have id 0: all of Prunery takes 0 for padding."""
    stated = tokenizer.padding
    for token in [*([stated["pad_token"]] if stated else []), "[PAD]", "<pad>"]:
        number = tokenizer.token_to_id(token)
        if number == PADDING:
            return str(token)
        if number is not None:
            raise PruneryError(f"tokenizer {settings.tokenizer!r} pads with id {number}; only id 0 is supported")
    raise PruneryError(f"tokenizer {settings.tokenizer!r} has no padding token ([PAD] or <pad>)")


def _encode_pretrained(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> Int[Tensor, "texts length"]:
    """The ids of the texts, a thousand at a time: encodings hold far more than their ids."""
    table = np.full((len(texts), length), PADDING, np.int32)
    for start in range(0, len(texts), 1000):
        batch = tokenizer.encode_batch(list(texts[start : start + 1000]))
        table[start : start + len(batch)] = [encoding.ids for encoding in batch]
    return torch.from_numpy(table)
