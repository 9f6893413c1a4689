"""Corruptions beside the libraries called directly, and pixels worked out by hand."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torchvision.transforms import functional

from medzoo.data.registry import load_dataset
from medzoo.data.samples.corruptions import corrupt
from medzoo.data.samples.corruptions.amounts import amounts_of
from medzoo.data.samples.corruptions.apply import CORRUPTIONS
from medzoo.data.samples.corruptions.artefacts import HED
from medzoo.data.samples.corruptions.blur import motion_kernel
from medzoo.data.seeding import generator


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    """224 pixels, where lengths are as MedMNIST-C has them."""
    dataset = load_dataset("phantom", channels=3, size=224, patients=8)
    row = dataset.table[dataset.table["diameter"] > 25].iloc[0]
    return np.array(dataset.reader.read(*(row[column] for column in dataset.reader.columns)))


def changed(pixels: NDArray[Any], name: str, severity: int = 3, modality: str = "skin") -> NDArray[Any]:
    return corrupt(pixels, name, severity, modality=modality, seed=0, sample="s")


def pillow(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.moveaxis(pixels, 0, -1))


def apart(one: NDArray[Any], image: Image.Image) -> int:
    return int(np.abs(one.astype(int) - np.moveaxis(np.asarray(image), -1, 0).astype(int)).max())


def test_jpeg_is_pillows(photograph: NDArray[np.uint8]) -> None:
    content = io.BytesIO()
    pillow(photograph).save(content, "JPEG", quality=15)
    assert apart(changed(photograph, "jpeg"), Image.open(content)) == 0
    gray = photograph[:1]
    content = io.BytesIO()
    Image.fromarray(gray[0]).save(content, "JPEG", quality=15)
    np.testing.assert_array_equal(changed(gray, "jpeg")[0], np.asarray(Image.open(content)))


def test_pixelate_is_pillows_boxes(photograph: NDArray[np.uint8]) -> None:
    small = pillow(photograph).resize((int(224 * 0.4), int(224 * 0.4)), Image.Resampling.BOX)
    assert apart(changed(photograph, "pixelate"), small.resize((224, 224), Image.Resampling.BOX)) <= 1


@pytest.mark.parametrize(("name", "factor"), [("brightness_up", 1.3), ("brightness_down", 0.7)])
def test_brightness_is_pillows(photograph: NDArray[np.uint8], name: str, factor: float) -> None:
    assert apart(changed(photograph, name), ImageEnhance.Brightness(pillow(photograph)).enhance(factor)) <= 1


@pytest.mark.parametrize(("name", "factor"), [("contrast_up", 1.3), ("contrast_down", 0.6)])
def test_contrast_is_pillows(photograph: NDArray[np.uint8], name: str, factor: float) -> None:
    assert apart(changed(photograph, name), ImageEnhance.Contrast(pillow(photograph)).enhance(factor)) <= 1


def test_gamma_is_torchvisions_on_pillow(photograph: NDArray[np.uint8]) -> None:
    assert apart(changed(photograph, "gamma_up", modality="xray"), functional.adjust_gamma(pillow(photograph), 1.3)) <= 1


def test_gaussian_blur_is_opencvs(photograph: NDArray[np.uint8]) -> None:
    found = changed(photograph, "gaussian_blur", modality="xray")
    blurred = cv2.GaussianBlur(np.moveaxis(photograph, 0, -1), (7, 7), 0.15 * 7 + 0.35, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(found.astype(int) - np.moveaxis(blurred, -1, 0)).max() <= 1
    torch.testing.assert_close(
        torch.from_numpy(found), functional.gaussian_blur(torch.from_numpy(photograph), 7), atol=1, rtol=0
    )  # what MedMNIST-C calls, which takes torchvision's own standard deviation


def test_lengths_are_scaled_with_the_image() -> None:
    line = np.zeros((1, 448, 448), np.uint8)
    line[:, :, 224:] = 255
    wide = changed(line, "gaussian_blur", modality="xray")[0, 0].astype(float)
    narrow = changed(line[:, ::2, ::2], "gaussian_blur", modality="xray")[0, 0].astype(float)
    assert ((wide > 3) & (wide < 252)).sum() == pytest.approx(2 * ((narrow > 3) & (narrow < 252)).sum(), abs=2)


def test_noise_by_hand() -> None:
    pixels = np.full((1, 40, 40), 0.5, np.float32)
    drawn = generator(0, "corruption", "gaussian_noise", "s").standard_normal((1, 1, 40, 40))
    np.testing.assert_allclose(changed(pixels, "gaussian_noise")[None], np.clip(0.5 + 0.12 * drawn, 0, 1), atol=1e-6)
    assert changed(pixels, "speckle_noise", 1).std() == pytest.approx(0.5 * 0.05, rel=0.1)  # the noise goes with the pixel
    counts = changed(np.full((1, 200, 200), 0.2, np.float32), "shot_noise", 2) * 25
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-5)
    assert counts.mean() == pytest.approx(5, rel=0.03)
    assert counts.var() == pytest.approx(5, rel=0.05)  # of Poisson the mean


def test_a_motion_smears_along_its_line() -> None:
    kernel = motion_kernel((5, 4), 0.0, 1.0)
    middle = kernel.shape[0] // 2
    assert kernel.sum() == pytest.approx(1)
    assert kernel[middle].sum() == pytest.approx(1)  # at 0 degrees nothing leaves the row
    assert kernel[middle, :middle].sum() == 0  # nor goes the other way
    np.testing.assert_array_less(kernel[middle, middle + 2 : middle + 10], kernel[middle, middle + 1 : middle + 9])
    turned = motion_kernel((5, 4), np.pi / 4, 1.0)
    places = np.argwhere(turned > turned.max() / 10) - middle
    assert np.abs(places[:, 0] - places[:, 1]).max() <= 1


def test_corners_and_vignette_by_hand() -> None:
    white = np.full((3, 101, 101), 255, np.uint8)
    corner = changed(white, "black_corner", 3)[0]
    assert corner[50, 1] == 255
    assert corner[0, 0] == 0
    assert (corner == 0).mean() == pytest.approx(1 - np.pi / 4, abs=0.02)  # outside of the circle in a square
    vignette = changed(white, "vignette", 3)[0]
    assert vignette[50, 50] == 255
    assert vignette[0, 0] == 128  # half of it in the corner
    assert vignette[50, 0] == 191  # a quarter at an edge


def test_a_ruler_covers_its_share_at_one_side() -> None:
    gray = np.full((1, 100, 100), 90, np.uint8)
    found = changed(gray, "ruler_marks", 2)[0]
    covered = found != 90
    assert covered.sum() == 10 * 100
    assert covered.all(axis=0).sum() in (0, 10)
    assert covered.all(axis=1).sum() in (0, 10)
    assert {int(level) for level in np.unique(found)} == {13, 90, 255}


def test_stains_by_hand() -> None:
    """A pixel of known amounts of each stain comes back with those amounts, each times its factor."""
    stains = np.array([0.5, 0.3, 0.1])
    pixel = np.exp(-stains @ HED).astype(np.float32).reshape(3, 1, 1) * np.ones((1, 2, 2), np.float32)
    found = changed(pixel, "stain_shift", 4, modality="histology")
    back = -np.log(found[:, 0, 0].astype(np.float64)) @ np.linalg.inv(HED)
    factors = back / stains
    assert np.all(np.abs(factors - 1) <= 0.20 + 1e-4)
    assert np.all(np.abs(factors - 1) >= 0.10 - 1e-4)
    less = -np.log(changed(pixel, "stain_shift", 2)[:, 0, 0].astype(np.float64)) @ np.linalg.inv(HED) / stains
    np.testing.assert_allclose((factors - 1) / (less - 1), 2, atol=1e-3)
    glass = np.full((3, 2, 2), 255, np.uint8)
    np.testing.assert_array_equal(changed(glass, "stain_shift", 5), glass)


def test_hairs_of_a_severity_are_among_those_of_the_next(photograph: NDArray[np.uint8]) -> None:
    few, more = (changed(photograph, "hair", severity) != photograph for severity in (2, 3))
    assert (more & few).sum() == pytest.approx(few.sum(), rel=0.02)  # where two cross, a pixel may come out as it was
    assert more.sum() > few.sum()


def test_volumes_are_torchios() -> None:
    torchio = pytest.importorskip("torchio")
    volume = np.random.default_rng(0).random((1, 9, 12, 15), dtype=np.float32)
    rng = generator(0, "corruption", "volume_ghosting", "s")
    ghosts, axis = int(rng.integers(4, 10, endpoint=True)), int(rng.integers(3))
    scan = torch.from_numpy(np.ascontiguousarray(volume.transpose(0, 3, 2, 1)))
    own = torchio.Ghosting(num_ghosts=ghosts, axis=axis, intensity=0.6, restore=None)(scan).numpy().transpose(0, 3, 2, 1)
    np.testing.assert_allclose(changed(volume, "volume_ghosting"), np.clip(own, 0, 1), atol=1e-6)
    field = changed(np.full((1, 8, 8, 8), 0.3, np.float32), "volume_bias_field", 2)
    coefficients = 0.2 * generator(0, "corruption", "volume_bias_field", "s").uniform(-1, 1, 20)
    place = np.arange(-4, 4) + 0.5
    x, y, z = np.meshgrid(place / 3.5, place / 3.5, place / 3.5, indexing="ij")  # TorchIO's axes: W, H, D
    powers = [(i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j)]
    terms = sum(c * x**i * y**j * z**k for c, (i, j, k) in zip(coefficients, powers, strict=True))
    np.testing.assert_allclose(field[0].transpose(2, 1, 0), np.clip(0.3 * np.exp(terms), 0, 1), atol=1e-5)


def test_the_same_numbers_drive_up_and_down() -> None:
    assert CORRUPTIONS["gamma_up"].run is CORRUPTIONS["gamma_down"].run
    assert all(up > 1 > down for up, down in zip(*(amounts_of(f"gamma_{way}", "xray")[0] for way in ("up", "down")), strict=True))
