"""medzoo's augmentation on OpenCV beside the same policies on albumentations: what the images look like, and how long they take.

    python benchmarks/augmentation.py [--draws 10000] [--rounds 9] [--policies skin xray ...]

`--draws` images of each policy are made by either from one picture with three spots, one a channel (where they went tells the
turn, the shift, the enlargement along each side and the mirroring), and from one with the colours of a photograph (light,
contrast, saturation, hue). Each figure's two distributions are compared by the Kolmogorov–Smirnov statistic, the largest
difference of the shares below any value, and its p. float32 images must not be told apart: the least p, times how many there
are, is the chance that no difference would look so large. Of bytes, which albumentations cuts off and OpenCV rounds, the
largest difference of a mean or quantile is told, and where.

The time is the processor's for one image in one process, with images of the model's size in memory. The two take turns, a short
block each; the ratio is that of the least times, and the median of the ratios of the rounds stands beside it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from medzoo.data.samples.augment import Augment
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.seeding import derived_seed

DRAWN = [name for name in POLICIES if name != "none"]
GRAY = ("xray", "oct", "ultrasound", "ct", "mri", "volume", "synthetic")
"""Policies without colour, whose images are compared and timed with one channel."""
SPOTS = ((0.3, 0.35), (0.62, 0.4), (0.45, 0.68))
"""Centres of the spots as shares of (width, height): no two alike, within every crop."""
UNITS = {
    "grey levels": ("light", "contrast", "sharpness", "darkest tenth", "lightest tenth"),
    "degrees of hue": ("hue",),
    "shares": ("shift right", "shift down", "enlargement across", "enlargement along", "saturation"),
}
"""What figures are measured in. A turn is not listed: its quantiles jump where half of the images are mirrored."""
Figures = dict[str, NDArray[np.float64]]


def spots(side: int) -> torch.Tensor:
    """Return (3, side, side) bytes, black but for one soft spot in each channel."""
    down, right = np.mgrid[:side, :side] / (side - 1)
    planes = [255 * np.exp(-((right - x) ** 2 + (down - y) ** 2) / (2 * 0.05**2)) for x, y in SPOTS]
    return torch.from_numpy(np.stack(planes).round().astype(np.uint8))


def photograph(side: int, channels: int) -> torch.Tensor:
    """Return (channels, side, side) bytes: smooth shapes in the reddish colours of skin, none near black, white or gray."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (6, 6, 3)) * (45, 30, 25) + (175, 120, 100)
    smooth = cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC).round().clip(40, 215)
    smooth = smooth if channels == 3 else smooth[..., 1:2]
    return torch.from_numpy(np.moveaxis(smooth, -1, 0).astype(np.uint8).copy())


def images(policy: str, augmenter: str, picture: torch.Tensor, dtype: str, seed: int, draws: int) -> NDArray[np.float32]:
    """Return (draws, C, side, side): the augmented images of a picture, in 0..255."""
    channels = len(picture)
    preprocess = Preprocess(
        tuple(picture.shape[1:]), channels=channels, dtype=dtype, mean=(0.5,) * channels, std=(0.5,) * channels
    )
    augment = Augment(POLICIES[policy], preprocess, augmenter)
    image, scale = (picture, 1) if dtype == "uint8" else (picture.float() / 255, 255)
    made = [augment(image, derived_seed(seed, augmenter, dtype, number)) for number in range(draws)]
    return torch.stack(made).numpy().astype(np.float32) * scale


def geometry(made: NDArray[np.float32]) -> Figures:
    """Return what was done in plane, from where the spots are: turn in degrees, shifts and enlargements as shares, mirroring."""
    down, right = np.mgrid[: made.shape[-1], : made.shape[-1]] / (made.shape[-1] - 1)
    weights = np.maximum(made - made.max((2, 3), keepdims=True) / 3, 0).astype(np.float64)
    places = np.stack([(weights * right).sum((2, 3)), (weights * down).sum((2, 3))], axis=-1) / weights.sum((2, 3))[..., None]
    start = np.array([[x, y, 1] for x, y in SPOTS])
    matrix = np.linalg.solve(start, places).swapaxes(1, 2)  # (N, 2, 3): from shares of the picture to shares of the image
    centre = matrix @ (0.5, 0.5, 1) - 0.5
    return {
        "turn": np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])),
        "shift right": centre[:, 0],
        "shift down": centre[:, 1],
        "enlargement across": np.hypot(matrix[:, 0, 0], matrix[:, 1, 0]),
        "enlargement along": np.hypot(matrix[:, 0, 1], matrix[:, 1, 1]),
        "mirrored": np.sign(np.linalg.det(matrix[:, :, :2])),
    }


def appearance(made: NDArray[np.float32]) -> Figures:
    """Return light, contrast, sharpness and colour of the images' middles, where no border shows."""
    edge = made.shape[-1] // 4
    middle = made[:, :, edge:-edge, edge:-edge]
    found = {
        "light": middle.mean((1, 2, 3)),
        "contrast": middle.mean(1).std((1, 2)),
        "sharpness": np.abs(np.diff(middle, axis=2)).mean((1, 2, 3)) + np.abs(np.diff(middle, axis=3)).mean((1, 2, 3)),
        "darkest tenth": np.quantile(middle, 0.1, axis=(1, 2, 3)),
        "lightest tenth": np.quantile(middle, 0.9, axis=(1, 2, 3)),
    }
    if made.shape[1] == 3:
        one_high = np.ascontiguousarray(np.moveaxis(middle / 255, 1, -1)).reshape(-1, middle.shape[-1], 3)
        hsv = cv2.cvtColor(one_high, cv2.COLOR_RGB2HSV).reshape(len(made), -1, 3)
        angles = np.radians(hsv[..., 0].astype(np.float64))
        found["saturation"] = hsv[..., 1].mean(1)
        found["hue"] = np.degrees(np.arctan2(np.sin(angles).mean(1), np.cos(angles).mean(1)))
    return found


def figures(policy: str, augmenter: str, *, draws: int, side: int, dtype: str = "uint8", seed: int = 0) -> Figures:
    """Return what `draws` images of a policy look like, made by one augmenter; figure → (draws,)."""
    picture = photograph(side, 1 if policy in GRAY else 3)
    where = geometry(images(policy, augmenter, spots(side), dtype, seed + 1, draws))
    return {**where, **appearance(images(policy, augmenter, picture, dtype, seed, draws))}


def compare(policy: str, draws: int, side: int, dtype: str) -> list[tuple[float, float, str]]:
    """Print moments and quantiles of either, and what tells them apart; returns (p, largest difference, what) of each figure."""
    told = []
    old, new = (figures(policy, augmenter, draws=draws, side=side, dtype=dtype) for augmenter in ("albumentations", "opencv"))
    for name, before in old.items():
        after = new[name]
        test = ks_2samp(before, after, method="asymp")
        pairs = [(before.mean(), after.mean()), (before.std(), after.std())]
        pairs += [(np.quantile(before, share), np.quantile(after, share)) for share in (0.05, 0.5, 0.95)]
        shown = "  ".join(f"{left:8.3f} {right:8.3f}" for left, right in pairs)
        told.append((float(test.pvalue), max(abs(left - right) for left, right in pairs), f"{name} of {policy}"))
        print(f"{policy:<11}{dtype:<8} {name:<19} {shown}  D {test.statistic:.4f}  p {test.pvalue:.4f}", flush=True)
    return told


def measure(policy: str, side: int, rounds: int) -> None:
    """Print microseconds an image of either, and their ratio."""
    channels = 1 if policy in GRAY else 3
    preprocess = Preprocess((side, side), channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)
    picture = photograph(side, channels)
    both = [Augment(POLICIES[policy], preprocess, augmenter) for augmenter in ("albumentations", "opencv")]
    count = max(20, 400 * 28 * 28 // (side * side))
    times = np.array([[block(partial(augment, picture), count, number) for augment in both] for number in range(rounds)])
    best = times.min(0)
    print(
        f"{policy:<11}{side:>4} px  albumentations {best[0]:7.0f} µs  OpenCV {best[1]:7.0f} µs  "
        f"ratio of the least {best[0] / best[1]:4.1f}, median ratio {np.median(times[:, 0] / times[:, 1]):4.1f}",
        flush=True,
    )


def block(augment: Callable[[int], torch.Tensor], count: int, number: int) -> float:
    """Return microseconds an image over a block of them; the same seeds for either augmenter."""
    seeds = [derived_seed(number, "time", index) for index in range(count)]
    start = time.process_time()
    for seed in seeds:
        augment(seed)
    return (time.process_time() - start) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000, help="images of each policy and picture; 0: time alone")
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each, in turns; 0: pictures alone")
    parser.add_argument("--side", type=int, default=28, help="pixels of the compared images")
    parser.add_argument("--sides", type=int, nargs="+", default=[28, 224], help="pixels of the timed images")
    parser.add_argument("--policies", nargs="+", default=DRAWN, choices=DRAWN)
    parser.add_argument("--dtypes", nargs="+", default=["uint8", "float32"], choices=["uint8", "float32"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    for side in given.sides if given.rounds else ():
        for policy in given.policies:
            measure(policy, side, given.rounds)
    if given.draws:
        print(f"\n{'':<39} {'mean':^17}  {'spread':^17}  {'5%':^17}  {'half':^17}  {'95%':^17}\n{'':<39} "
              + "  ".join(["  before      now"] * 5))  # fmt: skip
        told = {
            d: [row for policy in given.policies for row in compare(policy, given.draws, given.side, d)] for d in given.dtypes
        }
        for dtype, rows in told.items():
            least, _, name = min(rows)
            print(f"\n{dtype}: {len(rows)} figures, least p {least:.2g} ({name}), times their number {least * len(rows):.2g}")
            for unit, of in UNITS.items():
                largest, name = max([(row[1], row[2]) for row in rows if row[2].split(" of ")[0] in of], default=(0.0, "none"))
                print(f"  largest difference in {unit}: {largest:.3f} ({name})")


if __name__ == "__main__":
    main()
