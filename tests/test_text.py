"""`prunery.text`: word vocabularies and pretrained tokenizers."""

from pathlib import Path

import pytest
import torch

from prunery import PruneryError
from prunery.datasettings import TextSettings
from prunery.text import encode

TRAIN = ["The cat, the CAT and the dog", "a dog; a cat"]


def test_words_are_numbered_by_frequency_then_alphabet() -> None:
    first, second, vocabulary = encode(TRAIN, ["the bird cat"], TextSettings(length=9, vocabulary=9))
    # cat and the occur three times, a and dog twice, the rest once: of those the first two in order get an id
    assert vocabulary == ("[PAD]", "[UNK]", "[CLS]", "cat", "the", "a", "dog", ",", ";")
    assert first.tolist() == [[2, 4, 3, 7, 4, 3, 1, 4, 6], [2, 5, 6, 8, 5, 3, 0, 0, 0]]
    assert second.tolist() == [[2, 4, 1, 3, 0, 0, 0, 0, 0]]
    assert first.dtype == torch.int32


def test_words_beyond_the_length_and_words_of_the_test_texts_get_no_id() -> None:
    _, _, vocabulary = encode(TRAIN, ["zebra"], TextSettings(length=3))
    assert vocabulary[3:] == ("a", "cat", "dog", "the")


def test_empty_texts_are_only_a_start() -> None:
    first, second, vocabulary = encode([""], [], TextSettings(length=4))
    assert first.tolist() == [[2, 0, 0, 0]]
    assert second.shape == (0, 4)
    assert len(vocabulary) == 3


def pretrained(folder: Path, *special: str) -> Path:
    """A word tokenizer that starts texts with [CLS], saved as pretrained ones are."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = [*special, "[UNK]", "[CLS]", "cat", "dog"]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A", None, [("[CLS]", names.index("[CLS]"))])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_pretrained_tokenizer_decides_ids_and_vocabulary(tmp_path) -> None:
    settings = TextSettings(length=4, tokenizer=str(pretrained(tmp_path, "[PAD]")))
    first, second, vocabulary = encode(["dog cat bird dog", "cat"], ["dog"], settings)
    assert first.tolist() == [[2, 4, 3, 1], [2, 3, 0, 0]]
    assert second.tolist() == [[2, 4, 0, 0]]
    assert vocabulary == ("[PAD]", "[UNK]", "[CLS]", "cat", "dog")
    alone = encode(["dog"], [], settings.model_copy(update={"tokenizer": str(tmp_path / "tokenizer.json")}))
    assert alone[0].tolist() == [[2, 4, 0, 0]]


def test_another_padding_id_is_refused(tmp_path) -> None:
    with pytest.raises(PruneryError, match="pads with id 1; only id 0 is supported"):
        encode(["a"], [], TextSettings(tokenizer=str(pretrained(tmp_path, "<s>", "<pad>"))))
    with pytest.raises(PruneryError, match="has no padding token"):
        encode(["a"], [], TextSettings(tokenizer=str(pretrained(tmp_path))))


def test_a_damaged_tokenizer_is_named(tmp_path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(PruneryError, match=r"cannot read .*tokenizer\.json"):
        encode(["a"], [], TextSettings(tokenizer=str(tmp_path)))
