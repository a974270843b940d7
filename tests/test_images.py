"""`prunery.images`: pictures, sheets of tiles, label files."""

import numpy as np
import pytest
import torch
from PIL import Image

from prunery import PruneryError
from prunery.datasettings import ImageSettings, PhotoSettings
from prunery.images import normalisation, open_image, read_label_arrays, read_sheets, square


def sheet(tiles: np.ndarray, columns: int, path) -> None:
    """Write tiles `[N, H, W, 3]` row by row as one lossless picture."""
    count, size = tiles.shape[:2]
    grid = np.zeros((-(-count // columns) * size, columns * size, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        grid[row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
    Image.fromarray(grid).save(path, lossless=True)


def test_tiles_come_back_in_order_without_the_padding(tmp_path) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), np.uint8)
    sheet(tiles[:6], 3, tmp_path / "1.webp")
    sheet(tiles[6:], 3, tmp_path / "2.webp")  # five tiles and one of padding
    got = read_sheets([tmp_path / "1.webp", tmp_path / "2.webp"], 4, 11)
    assert torch.equal(got, torch.from_numpy(tiles).permute(0, 3, 1, 2))


def test_sheets_that_do_not_fit_their_labels_are_named(tmp_path) -> None:
    sheet(np.zeros((6, 4, 4, 3), np.uint8), 3, tmp_path / "s.png")
    with pytest.raises(PruneryError, match=r"s\.png in .* hold 6 tiles of 4 pixels for 7 labels"):
        read_sheets([tmp_path / "s.png"], 4, 7)
    with pytest.raises(PruneryError, match=r"12 x 8 pixels: no grid of 5-pixel tiles: set tile to their size"):
        read_sheets([tmp_path / "s.png"], 5, 6)


def test_resizing_is_antialiased() -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    got = square(Image.fromarray(checkers), PhotoSettings(size=8, channels=1))
    assert got.shape == (1, 8, 8)
    assert (got.float() - 127.5).abs().max() < 3  # without a filter every pixel would be 0 or 255


def test_a_wide_image_is_cropped_or_stretched() -> None:
    thirds = np.repeat(np.array([0, 255, 0], np.uint8), 16)[None].repeat(16, 0)
    crop = square(Image.fromarray(thirds), PhotoSettings(size=16))
    assert crop.shape == (3, 16, 16)
    assert crop.min() > 250
    stretch = square(Image.fromarray(thirds), PhotoSettings(size=16, fit="stretch"))
    assert stretch[0, :, 0].max() < 5
    assert stretch[0, :, 8].min() > 250


def test_a_camera_s_orientation_is_heeded(tmp_path) -> None:
    upper = np.zeros((8, 8), np.uint8)
    upper[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was held upside down
    Image.fromarray(upper).save(tmp_path / "turned.png", exif=exif)
    got = square(open_image(tmp_path / "turned.png"), PhotoSettings(size=8, channels=1))
    assert got[0, 0].max() == 0
    assert got[0, 7].min() == 255


def test_a_damaged_image_is_named(tmp_path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    with pytest.raises(PruneryError, match=r"cut\.png is not a readable image"):
        open_image(tmp_path / "cut.png")


def test_one_mean_serves_all_channels_and_other_numbers_are_refused() -> None:
    assert normalisation(ImageSettings(mean=(0.1,), std=(1, 2, 3)), 3) == {"mean": (0.1,) * 3, "std": (1, 2, 3)}
    with pytest.raises(PruneryError, match="setting std has 2 values, but the images have 3"):
        normalisation(ImageSettings(std=(1, 2)), 3)


def test_label_files_are_checked_and_never_executed(tmp_path) -> None:
    np.savez(tmp_path / "l.npz", a=np.array([1, 2], np.uint8), b=np.array([0.5]), c=np.array([{}], object))
    assert read_label_arrays(tmp_path / "l.npz", {"a": 2})["a"].tolist() == [1, 2]
    for name, count in (("a", 3), ("b", None), ("c", None), ("d", None)):
        with pytest.raises(PruneryError, match=r"l\.npz is not a readable file of labels"):
            read_label_arrays(tmp_path / "l.npz", {name: count})
    (tmp_path / "l.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(PruneryError, match=r"l\.npz is not a readable file of labels"):
        read_label_arrays(tmp_path / "l.npz", {"a": 2})
