"""`prunery.data`: splits, limits, label checks, normalisation, the file format; and its torch-free companions."""

import pytest
import torch

from prunery import PruneryError
from prunery.data import Dataset, Spec, assemble, load_dataset, save_dataset
from prunery.datafolder import data_folder, dataset_folder, require, tokenizer_files
from prunery.datasettings import DataSettings


def samples(count: int, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose two pixels spell their own number."""
    numbers = torch.arange(count)
    pixels = torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8)
    return pixels.reshape(count, 1, 1, 2), numbers % classes


def numbers(inputs: torch.Tensor) -> list[int]:
    return [256 * int(first) + int(second) for first, second in inputs.reshape(-1, 2)]


def dataset(count: int = 100, **settings: object) -> Dataset:
    chosen = DataSettings.model_validate(settings)
    return assemble("image", ("even", "odd"), samples(count), samples(40), chosen, mean=(0.5,), std=(0.25,))


def test_training_and_validation_partition_the_published_training_split() -> None:
    data = dataset(validation=0.13)
    assert (len(data.train), len(data.validation), len(data.test)) == (87, 13, 40)
    assert sorted(numbers(data.train.inputs) + numbers(data.validation.inputs)) == list(range(100))
    assert numbers(data.train.inputs) == sorted(numbers(data.train.inputs))
    assert data.train.labels.tolist() == [number % 2 for number in numbers(data.train.inputs)]


def test_the_split_depends_on_its_seed_alone() -> None:
    held = [numbers(dataset(split_seed=seed).validation.inputs) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_limits_draw_subsets_before_the_split() -> None:
    data = dataset(train_limit=50, test_limit=7, validation=0.2)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 10, 7)
    kept = numbers(data.train.inputs) + numbers(data.validation.inputs)
    assert len(set(kept)) == 50
    assert max(kept) > 60  # drawn from everywhere, not the head


def test_groups_stay_together() -> None:
    groups = torch.arange(100) // 7
    data = assemble("image", ("a", "b"), samples(100), samples(10), DataSettings(), groups=groups)
    held = {int(groups[number]) for number in numbers(data.validation.inputs)}
    assert held.isdisjoint(int(groups[number]) for number in numbers(data.train.inputs))
    assert 10 <= len(data.validation) < 17


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ((samples(0)), samples(5), "the train split is empty"),
        (samples(20), samples(0), "the test split is empty"),
        ((samples(20)[0], torch.full((20,), 5)), samples(5), "labels from 5 to 5, but there are 2 classes"),
        ((samples(20)[0], torch.full((20,), 1)), samples(5), "every training label is 1"),
        (samples(20), (samples(5)[0], torch.full((5,), -1)), "the test split has labels from -1"),
    ],
)
def test_bad_labels_are_refused(
    train: tuple[torch.Tensor, torch.Tensor], test: tuple[torch.Tensor, torch.Tensor], words: str
) -> None:
    with pytest.raises(PruneryError, match=words):
        assemble("image", ("a", "b"), train, test, DataSettings())


def test_images_reach_a_network_normalised_and_texts_as_ids() -> None:
    data = dataset()
    got = data.network_inputs(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert got.tolist() == [[[[-2.0, 2.0]]]]
    ids = torch.tensor([[2, 5, 0]], dtype=torch.int32)
    text = assemble("text", ("a", "b"), (ids.repeat(9, 1), torch.arange(9) % 2), (ids, torch.zeros(1)), DataSettings())
    assert text.network_inputs(ids).dtype == torch.int64


def test_batches_cover_the_limit_in_order() -> None:
    data = dataset()
    parts = list(data.batches("test", 16, limit=20))
    assert [len(labels) for _, labels in parts] == [16, 4]
    assert torch.equal(torch.cat([labels for _, labels in parts]), data.test.labels[:20])


def test_saving_and_loading_return_the_same_data_and_bytes(tmp_path) -> None:
    data = dataset()
    for name in ("one", "two"):
        save_dataset(data, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = load_dataset(tmp_path / "one")
    assert (read.kind, read.classes, read.mean, read.std, read.vocabulary) == (
        "image",
        ("even", "odd"),
        (0.5,),
        (0.25,),
        (),
    )
    assert read.spec == Spec("image", (1, 1, 2), 2)
    for split in ("train", "validation", "test"):
        assert torch.equal(read.split(split).inputs, data.split(split).inputs)
        assert torch.equal(read.split(split).labels, data.split(split).labels)


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_damaged_file_is_named(tmp_path, keep: int) -> None:
    path = tmp_path / "data.safetensors"
    save_dataset(dataset(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PruneryError, match=r"data\.safetensors is not a readable data file"):
        load_dataset(path)


def test_a_file_of_something_else_is_named(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(PruneryError, match="other is not a readable data file"):
        load_dataset(tmp_path / "other")


def test_the_data_folder_is_the_configured_one_or_the_variable(monkeypatch) -> None:
    monkeypatch.setenv("PRUNERY_DATA", "/from/variable")
    assert str(data_folder(None)) == "/from/variable"
    assert str(data_folder("/from/config")) == "/from/config"
    monkeypatch.delenv("PRUNERY_DATA")
    assert data_folder(None) is None


def test_missing_files_are_named_with_the_place_and_the_remedy(tmp_path) -> None:
    (tmp_path / "a.gz").touch()
    assert require("s", tmp_path, [("a", "a.gz")]) == [tmp_path / "a.gz"]
    with pytest.raises(PruneryError, match=r"'s' wants b or b\.gz, c; looked in .*: put it there.*PRUNERY_DATA"):
        require("s", tmp_path, [("a", "a.gz"), ("b", "b.gz"), ("c",)])
    with pytest.raises(PruneryError, match="wants the folder 'mnist', but no data folder is set"):
        dataset_folder("idx", "mnist", None)
    assert dataset_folder("idx", "/abs", None).as_posix() == "/abs"


def test_a_tokenizer_is_words_a_file_a_folder_or_a_hub_name(tmp_path) -> None:
    (tmp_path / "tokenizer.json").touch()
    assert tokenizer_files("words") == []
    assert tokenizer_files("bert-base-uncased") == []
    assert tokenizer_files(str(tmp_path)) == tokenizer_files(str(tmp_path / "tokenizer.json"))
    with pytest.raises(PruneryError, match="no file or folder '/nowhere'"):
        tokenizer_files("/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PruneryError, match=r"wants tokenizer\.json"):
        tokenizer_files(str(tmp_path / "empty"))
