from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples import by_albumentations, by_torchvision
from medzoo.data.samples.augment import Augment, augment_policy
from medzoo.data.samples.crop import crop_box
from medzoo.data.samples.policies import POLICIES, Policy, Transform
from medzoo.data.samples.preprocess import Preprocess, fit

GRAY = {"channels": 1, "mean": (0.5,), "std": (0.5,)}
NEVER_MIRRORED = ("xray", "ct", "mri", "volume", "synthetic")
MIRRORED = ("skin", "fundus", "oct", "histology", "microscopy", "ultrasound")
UPRIGHT = ("xray", "ct", "mri", "volume", "synthetic", "oct", "ultrasound")


def corner_image(preprocess: Preprocess, size: tuple[int, ...] = (40, 40)) -> torch.Tensor:
    """A grey image, bright at the upper left alone."""
    image = torch.full((preprocess.channels, *size), 60, dtype=torch.uint8)
    image[..., : size[-2] // 2, : size[-1] // 2] = 220
    return image if preprocess.dtype == "uint8" else image.float() / 255


def brightest_corners(policy: str, seeds: int) -> set[tuple[str, str]]:
    """Where the bright corner went, over many seeds."""
    preprocess = Preprocess((32, 32))
    augment = Augment(POLICIES[policy], preprocess)
    found = set()
    for seed in range(seeds):
        seen = augment(corner_image(preprocess), seed).float().mean(0)
        quarters = {
            ("top", "left"): seen[:16, :16],
            ("top", "right"): seen[:16, 16:],
            ("bottom", "left"): seen[16:, :16],
            ("bottom", "right"): seen[16:, 16:],
        }
        found.add(max(quarters, key=lambda q: float(quarters[q].mean())))
    return found


@pytest.mark.parametrize("policy", NEVER_MIRRORED)
def test_sided_anatomy_is_never_flipped(policy: str) -> None:
    assert brightest_corners(policy, 150) == {("top", "left")}


@pytest.mark.parametrize("policy", MIRRORED)
def test_other_images_are_mirrored(policy: str) -> None:
    corners = brightest_corners(policy, 60)
    assert ("top", "right") in corners
    assert any(vertical == "bottom" for vertical, _ in corners) == (policy not in UPRIGHT)


def test_transforms_draw_independently() -> None:
    flips = augment_policy([{"name": "HorizontalFlip"}, {"name": "VerticalFlip"}], "skin")
    preprocess = Preprocess((2, 2), **GRAY)
    augment = Augment(flips, preprocess)
    image = torch.arange(4, dtype=torch.uint8).reshape(1, 2, 2)
    first = [int(augment(image, seed)[0, 0, 0]) for seed in range(400)]
    assert all(first.count(corner) > 60 for corner in range(4))  # 100 each, spread 9


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess((24, 32)),
        Preprocess((24, 24), dtype="float32"),
        Preprocess((24, 24), **GRAY),
        Preprocess((5, 16, 16), dtype="float32", **GRAY),
        Preprocess((5, 16, 16)),
    ],
    ids=["rgb", "float", "gray", "volume", "rgb volume"],
)
def test_every_policy_keeps_type_range_and_size(policy: str, preprocess: Preprocess) -> None:
    augment = Augment(POLICIES[policy], preprocess)
    shape = (preprocess.channels, *(s + 7 for s in preprocess.size))
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image = noise if preprocess.dtype == "float32" else (noise * 255).to(torch.uint8)
    before = image.clone()
    first, again, other = augment(image, 1), augment(image, 1), augment(image, 2)
    assert first.shape == (preprocess.channels, *preprocess.size)
    assert first.dtype == image.dtype
    assert torch.equal(first, again)
    assert torch.equal(image, before)
    if image.dtype == torch.float32:
        assert 0 <= float(first.min()) < float(first.max()) <= 1
    if policy == "none":
        assert torch.equal(first, fit(image[None], preprocess)[0])
    else:
        assert not torch.equal(first, other)


def test_draws_depend_on_nothing_but_the_seed() -> None:
    preprocess = Preprocess((24, 24))
    image = corner_image(preprocess)
    one, other = (Augment(POLICIES["skin"], preprocess) for _ in range(2))
    forward = [one(image, seed) for seed in range(6)]
    np.random.seed(7)  # noqa: NPY002  the global state is what must not matter
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    backward = [other(image, seed) for seed in reversed(range(6))]
    assert all(torch.equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    assert len({a.numpy().tobytes() for a in forward}) == 6
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.get_rng_state())


@pytest.mark.parametrize("policy", ["volume", "skin"])
def test_slices_of_a_volume_move_together(policy: str) -> None:
    preprocess = Preprocess((6, 24, 24), **GRAY)
    slice_ = torch.randint(0, 256, (1, 1, 30, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    augment = Augment(POLICIES[policy], preprocess)
    for seed in range(8):
        changed = augment(slice_.expand(1, 6, 30, 30), seed)
        assert torch.equal(changed, changed[:, :1].expand_as(changed))


def test_float_and_byte_images_are_augmented_alike() -> None:
    """The same draws; grey levels may differ by rounding and by colour arithmetic in 8 bits."""
    byte, real = Preprocess((24, 24)), Preprocess((24, 24), dtype="float32")
    for seed in range(5):
        first = Augment(POLICIES["xray"], byte)(corner_image(byte), seed).float() / 255
        second = Augment(POLICIES["xray"], real)(corner_image(real), seed)
        assert float((first - second).abs().mean()) < 0.02


def test_colour_jitter_on_one_channel_changes_light_only() -> None:
    jitter = {"name": "ColorJitter", "brightness": [1.2, 1.2], "contrast": [1, 1], "p": 1}
    policy = augment_policy([jitter, {"name": "ToGray", "p": 1}], "skin")
    augment = Augment(policy, Preprocess((8, 8), dtype="float32", **GRAY))
    image = torch.full((1, 8, 8), 0.5)
    # RandomBrightnessContrast adds its limit times the largest value.
    assert torch.allclose(augment(image, 0), torch.full((1, 8, 8), 0.7), atol=1e-5)


def test_quarter_turns_are_left_out_where_sides_differ() -> None:
    policy = augment_policy([{"name": "RandomRotate90", "p": 1}], "histology")
    square, oblong = Preprocess((16, 16)), Preprocess((16, 24))
    image = corner_image(square, (16, 16))
    assert any(not torch.equal(Augment(policy, square)(image, s), image) for s in range(4))
    image = corner_image(oblong, (16, 24))
    assert all(torch.equal(Augment(policy, oblong)(image, s), image) for s in range(4))
    # An array of oblong native images for a square model.
    assert Augment(policy, square)(image, 0, (16, 24)).shape == (3, 16, 24)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 10**6), st.floats(0.05, 1), st.floats(0.3, 1))
def test_crop_box_lies_within_the_image(height: int, width: int, seed: int, scale: float, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    top, left, box_height, box_width = crop_box(rng, height, width, (scale, 1.0), (ratio, 1 / ratio))
    assert box_height >= 1
    assert box_width >= 1
    assert 0 <= top <= height - box_height
    assert 0 <= left <= width - box_width


def test_crop_box_keeps_its_share_of_the_area() -> None:
    rng = np.random.default_rng(0)
    boxes = [crop_box(rng, 1000, 500, (0.25, 0.36), (1.0, 1.0)) for _ in range(300)]
    shares = [h * w / 500_000 for _, _, h, w in boxes]
    assert 0.249 < min(shares) < 0.26
    assert 0.35 < max(shares) < 0.361
    assert all(abs(h / w - 2) < 0.02 for _, _, h, w in boxes)


def test_own_list_crops_only_when_asked() -> None:
    preprocess = Preprocess((16, 16))
    image = corner_image(preprocess, (16, 16))
    nothing = Augment(augment_policy([], "xray"), preprocess)
    assert torch.equal(nothing(image, 3), image)
    choice = [{"name": "HorizontalFlip", "p": 1.0}, {"name": "RandomResizedCrop", "scale": [0.3, 0.5]}]
    policy = augment_policy(choice, "xray")
    assert policy.scale == (0.3, 0.5)
    assert policy.ratio == (1.0, 1.0)
    assert [t.name for t in policy.transforms] == ["HorizontalFlip"]
    mirrored = Augment(augment_policy(choice[:1], "xray"), preprocess)(image, 0)
    assert torch.equal(mirrored, image.flip(-1))


def test_policies_by_name() -> None:
    assert augment_policy("auto", "xray") is POLICIES["xray"]
    assert augment_policy("none", "xray") is POLICIES["none"]
    assert augment_policy("skin", "xray") is POLICIES["skin"]
    for policy in POLICIES.values():
        assert len(policy.reason) > 40


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("xrya", "unknown augmentation policy 'xrya'; did you mean 'xray'?"),
        ([{"name": "HorizontalFlp"}], "unknown augmentation transform 'HorizontalFlp'; did you mean 'HorizontalFlip'"),
        ([{"name": "Affine", "rotat": 3}], "unknown argument 'rotat' of augmentation Affine; did you mean 'rotate'?"),
        ([{"name": "HorizontalFlip", "q": 1}], "unknown argument 'q' of augmentation HorizontalFlip"),
        ([{"name": "RandomResizedCrop", "scales": [1, 1]}], "did you mean 'scale'?"),
        ([{"name": "Normalize"}], "unknown augmentation transform 'Normalize'"),
        ([{"name": "Affine", "rotate": "much"}], "augmentation Affine: rotate: "),
        ([{"name": "HorizontalFlip", "p": 3}], "augmentation HorizontalFlip: p: "),
        (
            [{"name": "torchvision.HorizontalFlip"}],
            "'HorizontalFlip' of torchvision.transforms.v2; did you mean 'RandomHorizontalFlip'",
        ),
        (
            [{"name": "RandomHorizontalFlp"}],
            "unknown augmentation transform 'RandomHorizontalFlp'; did you mean 'RandomHorizontalFlip'",
        ),
        (
            [{"name": "RandomAffine", "degree": 3}],
            "unknown argument 'degree' of augmentation torchvision.RandomAffine; did you mean",
        ),
        ([{"name": "RandomAffine", "degrees": "much"}], "augmentation torchvision.RandomAffine: degrees should be"),
        ([{"name": "RandomAffine"}], "augmentation torchvision.RandomAffine: "),
        ([{"name": "torchvision.Normalize", "mean": [0], "std": [1]}], "unknown augmentation transform 'Normalize'"),
        ([{"name": "RandomResizedCrop", "scale": [0.5, 2]}], "the crop's scale [0.5, 2.0] is not"),
        ([{"name": "RandomResizedCrop", "scale": 0.5}], "scale must be two numbers"),
        (["HorizontalFlip"], "'HorizontalFlip' is not a transform"),
        (7, "got 7"),
    ],
)
def test_wrong_choices_are_one_clear_line(choice: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        augment_policy(choice, "xray")  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_modality_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'fundus'"):
        augment_policy("auto", "funds")


@pytest.mark.parametrize(
    "transform",
    [
        Transform("Resize", {"height": 5, "width": 5}, "albumentations"),
        Transform("OverlayElements", {}, "albumentations"),
        Transform("MaskDropout", {}, "albumentations"),
        Transform("RandomCrop", {"size": 5}, "torchvision"),
        Transform("RandomRotation", {"degrees": [90, 90], "expand": True}, "torchvision"),
    ],
    ids=lambda t: t.name,
)
def test_transforms_that_cannot_work_fail_at_the_start(transform: Transform) -> None:
    with pytest.raises(ConfigError, match=rf"augmentation \({transform.name}\)") as caught:
        Augment(Policy("A test.", transforms=(transform,)), Preprocess((16, 20)))
    assert "\n" not in str(caught.value)


def test_libraries_are_imported_when_needed_only() -> None:
    program = (
        "import sys, medzoo.data.samples.sample_dataset, medzoo.data.samples.augment as a, medzoo.data.samples.preprocess as p;"
        "[a.Augment(policy, p.Preprocess((8, 8))) for policy in a.POLICIES.values()];"
        "sys.exit(bool({'albumentations', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "albumentations": raise ModuleNotFoundError("No module named 'albumentations'", name=name)
sys.meta_path.insert(0, Absent())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "albumentations" else found(name, package)
from medzoo.data.errors import MissingDependencyError
from medzoo.data.samples.augment import POLICIES, Augment, augment_policy
from medzoo.data.samples.preprocess import Preprocess
for policy in POLICIES.values():
    Augment(policy, Preprocess((16, 16)))
augment_policy([{"name": "RandomHorizontalFlip"}, {"name": "torchvision.ColorJitter", "hue": 0.1}], "skin")
for choice in ("HorizontalFlip", "ColorJitter", "albumentations.Affine"):
    try:
        augment_policy([{"name": choice}], "skin")
    except MissingDependencyError as error:
        print(error)
try:
    Augment(POLICIES["skin"], Preprocess((16, 16)), "albumentations")
except MissingDependencyError as error:
    print(error)
"""


def test_without_albumentations_what_needs_it_names_the_extra_and_all_else_runs() -> None:
    lines = subprocess.run([sys.executable, "-c", WITHOUT], check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == 4
    assert all("pip install 'medzoo[augment]'" in line for line in lines)
    assert "HorizontalFlip is none of torchvision's" in lines[0]
    assert "or write torchvision.ColorJitter" in lines[1]


def test_names_of_both_libraries_are_those_that_must_be_told_apart() -> None:
    assert set(by_albumentations.offered()) & set(by_torchvision.offered()) == by_torchvision.SHARED


@pytest.mark.parametrize(
    ("name", "arguments", "library"),
    [
        ("HorizontalFlip", {"p": 1.0}, "albumentations"),
        ("RandomHorizontalFlip", {"p": 1.0}, "torchvision"),
        ("torchvision.RandomHorizontalFlip", {"p": 1.0}, "torchvision"),
        ("albumentations.HorizontalFlip", {"p": 1.0}, "albumentations"),
    ],
)
@pytest.mark.parametrize("preprocess", [Preprocess((8, 12)), Preprocess((3, 8, 12), dtype="float32", **GRAY)], ids=str)
def test_a_list_speaks_the_words_of_either_library(
    name: str, arguments: dict[str, float], library: str, preprocess: Preprocess
) -> None:
    policy = augment_policy([{"name": name, **arguments}], "skin")
    assert [(t.name, t.library) for t in policy.transforms] == [(name.rpartition(".")[2], library)]
    image = corner_image(preprocess, preprocess.size)
    assert torch.equal(Augment(policy, preprocess)(image, 0), image.flip(-1))


def test_a_name_of_both_libraries_is_albumentations() -> None:
    names = [
        augment_policy([{"name": n, "brightness": 0.2}], "skin").transforms[0] for n in ("ColorJitter", "torchvision.ColorJitter")
    ]
    assert [(t.name, t.library) for t in names] == [("ColorJitter", "albumentations"), ("ColorJitter", "torchvision")]


def test_both_libraries_in_one_list_draw_from_the_seed_alone() -> None:
    choice = [
        {"name": "RandomResizedCrop", "scale": [0.5, 1.0]},
        {"name": "HorizontalFlip"},
        {"name": "RandomRotation", "degrees": 40, "interpolation": "bilinear"},
        {"name": "RandomErasing", "p": 0.5},
        {"name": "RandomBrightnessContrast"},
    ]
    preprocess = Preprocess((24, 24))
    image = corner_image(preprocess)
    one, other = (Augment(augment_policy(choice, "skin"), preprocess) for _ in range(2))
    before = torch.get_rng_state()
    forward = [one(image, seed) for seed in range(8)]
    torch.manual_seed(5)  # the global state is what must not matter, and must stay as it is
    state = torch.get_rng_state()
    backward = [other(image, seed) for seed in reversed(range(8))]
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(before)
    assert all(torch.equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    assert len({image.numpy().tobytes() for image in forward}) == 8


def test_torchvision_draws_for_all_slices_alike() -> None:
    policy = augment_policy([{"name": "RandomAffine", "degrees": 30, "translate": [0.2, 0.2]}], "ct")
    preprocess = Preprocess((5, 16, 16), **GRAY)
    slice_ = torch.randint(0, 256, (1, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    changed = Augment(policy, preprocess)(slice_.expand(1, 5, 16, 16), 1)
    assert torch.equal(changed, changed[:, :1].expand_as(changed))
    assert not torch.equal(changed[:, 0], slice_[:, 0])


def test_the_augmenter_is_one_of_two_and_both_draw_their_own() -> None:
    preprocess = Preprocess((16, 16))
    with pytest.raises(UnknownNameError, match=r"unknown trainer.augmenter 'opencvv'.*did you mean 'opencv'"):
        Augment(POLICIES["skin"], preprocess, "opencvv")
    image = corner_image(preprocess)
    ours, theirs = (Augment(POLICIES["skin"], preprocess, name)(image, 3) for name in ("opencv", "albumentations"))
    assert not torch.equal(ours, theirs)
    flips = augment_policy([{"name": "HorizontalFlip"}, {"name": "Affine", "rotate": [-30, 30]}], "skin")
    listed = [Augment(flips, preprocess, name)(image, 3) for name in ("opencv", "albumentations")]
    assert torch.equal(*listed)  # a list runs in its library, whatever runs the policies
