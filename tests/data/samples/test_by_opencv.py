"""medzoo's own policies on OpenCV are what they were on albumentations: the same draws, the same pixels for the same draw."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from benchmarks.augmentation import figures, photograph
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.by_albumentations import build
from medzoo.data.samples.by_opencv import OpenCv
from medzoo.data.samples.policies import POLICIES, Policy, Transform
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.seeding import Draws

USED = {f"{name}/{t.name}": t for name, policy in POLICIES.items() for t in policy.transforms}
"""Every transform of every policy, as `policy/transform`."""
SURE = 1e-3
"""How often all comparisons together may find a difference where there is none. Seeds are fixed: they find none, or always do."""
Drawn = Any


def step_of(transform: Transform) -> Any:
    return OpenCv(Policy("A test."), [transform], Preprocess((40, 30))).steps[0]


def numbers(name: str, drawn: Drawn) -> list[float]:
    """Return a step's drawn values as a row; of one that is left out, a row that no drawn one is."""
    if name == "ColorJitter":
        return [9.0] * 8 if drawn is None else [*map(float, drawn[0]), *drawn[1]]
    width = {"Affine": 3, "RandomBrightnessContrast": 2}.get(name, 1)
    return [9e9] * width if drawn is None else [float(v) for v in (drawn if isinstance(drawn, tuple) else (drawn,))]


def by_albumentations(built: Any) -> Drawn:
    """Return what albumentations draws for a (1000, 2000) image, as our step has it."""
    if not built.should_apply():
        return None
    data = {"image": np.broadcast_to(np.float32(0), (1000, 2000, 3))}
    found = built.get_params() | built.get_params_dependent_on_data({"shape": (1000, 2000)}, data)
    match type(built).__name__:
        case "RandomRotate90":
            return found["factor"] or None
        case "Affine":
            matrix = found["matrix"]
            shift = matrix[:2] @ (999.5, 499.5, 1) - (999.5, 499.5)
            return np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0])), shift[0] / 2000, shift[1] / 1000
        case "RandomBrightnessContrast":
            return found["alpha"], found["beta"]
        case "RandomGamma":
            return found["gamma"]
        case "ColorJitter":
            return tuple(found["order"]), tuple(found[key] for key in ("brightness", "contrast", "saturation", "hue"))
    return True


@pytest.mark.parametrize("name", USED)
def test_values_are_drawn_as_albumentations_draws_them(name: str) -> None:
    transform, step = USED[name], step_of(USED[name])
    built = build(transform)
    built.set_random_state(np.random.default_rng(5), random.Random(5))
    theirs = np.array([numbers(transform.name, by_albumentations(built)) for _ in range(3000)])
    ours = np.array([numbers(transform.name, step.draw(Draws(seed))) for seed in range(3000)])
    if transform.name == "Affine":  # whole pixels there, of 2000 and 1000; ours become whole in `apply`
        ours[:, 1:] = np.where(ours[:, 1:] < 1, np.trunc(ours[:, 1:] * (2000, 1000)) / (2000, 1000), ours[:, 1:])
        theirs[:, 1:] = theirs[:, 1:].round(9)
    for one, other in zip(theirs.T, ours.T, strict=True):
        assert ks_2samp(one, other).pvalue > SURE / 40


def shapes(dtype: str, channels: int) -> NDArray[Any]:
    """Return a (40, 30) image of soft shapes in all colours, with some noise; two dimensions for one channel."""
    rng = np.random.default_rng(1)
    down, right = np.mgrid[:40, :30]
    waves = [np.sin(right / a) + np.cos(down / b) for a, b in ((5, 9), (11, 6), (7, 13))][:channels]
    image = np.stack(waves, -1) / 4 + 0.5 + rng.normal(0, 0.03, (40, 30, channels))
    image = image.clip(0, 1).astype(np.float32)
    image = image if channels == 3 else image[..., 0]
    return (image * 255).round().astype(np.uint8) if dtype == "uint8" else image


def applied(built: Any, pixels: NDArray[Any], values: Drawn) -> NDArray[Any]:
    """Return what a transform of albumentations makes of pixels with the values that our step drew."""
    from albumentations.augmentations.geometric import functional

    height, width = pixels.shape[:2]
    largest = 255 if pixels.dtype == np.uint8 else 1
    match type(built).__name__:
        case "RandomRotate90":
            given: dict[str, Any] = {"factor": values}
        case "Affine":
            moved = {"x": int(values[1] * width), "y": int(values[2] * height)}
            matrix = functional.create_affine_transformation_matrix(
                moved, {"x": 0, "y": 0}, {"x": 1, "y": 1}, values[0], functional.center((height, width))
            )
            given = {"matrix": matrix, "output_shape": (height, width)}
        case "RandomBrightnessContrast":
            given = {"alpha": values[0], "beta": values[1] * largest}
        case "RandomGamma":
            given = {"gamma": values}
        case "ColorJitter":
            given = dict(zip(("brightness", "contrast", "saturation", "hue"), values[1], strict=True), order=list(values[0]))
        case _:
            given = {}
    found: NDArray[Any] = built.apply(pixels, **given)
    return found


@pytest.mark.parametrize(
    ("name", "channels"), [(n, c) for n, t in USED.items() for c in (3, 1) if c == 3 or t.name != "ColorJitter"]
)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_same_values_make_the_same_image(name: str, dtype: str, channels: int) -> None:
    transform, step, built = USED[name], step_of(USED[name]), build(USED[name])
    pixels = shapes(dtype, channels)
    drawn = [values for seed in range(60) if (values := step.draw(Draws(seed))) is not None]
    assert len(drawn) > 10
    before = pixels.copy()
    for values in drawn:
        ours, theirs = step.apply(pixels, values), applied(built, pixels, values)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(pixels, before)
        if dtype == "float32":
            np.testing.assert_allclose(ours, theirs.clip(0, 1), atol=2e-5)
        elif transform.name == "ColorJitter":
            # Of bytes, albumentations cuts off each of the four changes and knows 180 hues: their floats are the measure.
            real = applied(built, pixels.astype(np.float32) / 255, values) * 255
            assert abs(float((ours - real).mean())) < 0.5
            assert float(np.abs(ours - real).mean()) < 2.5
        else:
            most = 1 if transform.name in ("RandomBrightnessContrast", "RandomGamma") else 0
            assert np.abs(ours.astype(int) - theirs).max() <= most


def least_p(first: dict[str, NDArray[np.float64]], second: dict[str, NDArray[np.float64]]) -> float:
    return min(float(ks_2samp(first[name], second[name]).pvalue) for name in first)


@pytest.mark.parametrize("policy", ["skin", "histology", "mri"])
def test_images_are_distributed_as_before(policy: str) -> None:
    """Turn, shifts, enlargement, mirroring, light, contrast and colour; the three policies hold all seven transforms."""
    old, new = (figures(policy, name, draws=400, side=28, dtype="float32") for name in ("albumentations", "opencv"))
    assert least_p(old, new) > SURE / (3 * len(old))


def test_another_policy_would_be_told_apart() -> None:
    one, other = (figures(name, "opencv", draws=400, side=28, dtype="float32") for name in ("skin", "fundus"))
    assert least_p(one, other) < SURE / (3 * len(one))


def test_bytes_are_rounded_and_not_cut_off() -> None:
    """What is drawn alike is as light in bytes as in floats; four changes of colour that cut off would take two levels."""
    picture, differences = photograph(28, 3), []
    byte, real = (Augment(POLICIES["skin"], Preprocess((28, 28), dtype=dtype)) for dtype in ("uint8", "float32"))
    for seed in range(200):
        differences.append(float((byte(picture, seed).float() - 255 * real(picture.float() / 255, seed)).mean()))
    assert abs(np.mean(differences)) < 0.3


@pytest.mark.parametrize("mode", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("source", [(20, 30), (24, 24), (61, 47), (20, 60)], ids=str)
def test_a_crop_is_fitted_as_evaluation_fits_images(mode: Any, source: tuple[int, int]) -> None:
    """A policy whose box is the whole image, all but surely, against `fit`."""
    policy = Policy("A test.", scale=(0.999999, 1.0))
    for dtype, most in (("uint8", 1.0), ("float32", 2e-6)):
        preprocess = Preprocess((24, 28), mode=mode, fill=90, dtype=dtype)  # type: ignore[arg-type]
        real = torch.rand((3, *source), generator=torch.Generator().manual_seed(2))
        image = real if dtype == "float32" else (real * 255).to(torch.uint8)
        difference = Augment(policy, preprocess)(image, 0).float() - fit(image[None], preprocess)[0].float()
        assert float(difference.abs().max()) <= most


@pytest.mark.parametrize("layout", ["planes", "pixels"])
def test_memory_layout_changes_nothing(layout: str) -> None:
    augment = Augment(POLICIES["skin"], Preprocess((24, 24)))
    image = torch.randint(0, 256, (3, 30, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = image if layout == "planes" else image.movedim(0, -1).contiguous().movedim(-1, 0)
    seen = [augment(given, seed) for seed in range(8)]
    assert all(torch.equal(s, augment(image.clone(), seed)) for seed, s in enumerate(seen))
    assert all(s.is_contiguous() for s in seen)


@pytest.mark.parametrize("side", [24, 80])
def test_large_images_are_warped_as_small_ones_are(side: int) -> None:
    """The fourth channel that large images are warped with leaves the others as they are."""
    step = step_of(USED["skin/Affine"])
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    planes: Callable[[int], NDArray[Any]] = lambda c: step.apply(np.ascontiguousarray(pixels[..., c]), (20.0, 0.03, -0.04))  # noqa: E731
    np.testing.assert_array_equal(step.apply(pixels, (20.0, 0.03, -0.04)), np.stack([planes(c) for c in range(3)], -1))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("size", [(28, 28), (6, 20, 24)], ids=["images", "volumes"])
def test_each_of_many_planes_is_augmented_as_a_gray_image(policy: str, dtype: str, size: tuple[int, ...]) -> None:
    planes = 9
    shape = (planes, *(9, 40, 36)[3 - len(size) :])
    image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = image if dtype == "uint8" else image.float() / 255
    many = Preprocess(size, channels=planes, dtype=dtype, mean=(0.5,) * planes, std=(0.5,) * planes)  # type: ignore[arg-type]
    gray = Preprocess(size, channels=1, dtype=dtype, mean=(0.5,), std=(0.5,))  # type: ignore[arg-type]
    together, alone = Augment(POLICIES[policy], many), Augment(POLICIES[policy], gray)
    for seed in range(6):
        wanted = torch.cat([alone(image[plane : plane + 1], seed) for plane in range(planes)])
        difference = (together(image, seed).float() - wanted.float()).abs() * (1 if dtype == "uint8" else 255)
        assert float(difference.max()) <= 1  # OpenCV's kernels for one channel and for several round by turns
