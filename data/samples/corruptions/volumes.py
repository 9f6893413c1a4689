"""What goes wrong while a scanner fills k-space, by TorchIO: its own transforms, with numbers that are drawn here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.extras import needed_for

Floats = NDArray[np.float32]

MOVES, ORDER = 2, 3
COEFFICIENTS = (ORDER + 1) * (ORDER + 2) * (ORDER + 3) // 6
"""Of a polynomial of three variables."""
GHOSTS = (4, 10)


def require_torchio() -> Any:
    """Return TorchIO, which takes a second to import; MissingDependencyError if it is not installed."""
    with needed_for("motion, ghosting, spikes and bias fields of volumes"):
        import torchio
    return torchio


def motion(image: Floats, amount: tuple[float, float], rng: np.random.Generator) -> NDArray[Any]:
    """Move twice while it is scanned: turned by up to so many degrees, shifted by a share of the shortest side."""
    degrees = _signed(rng, (MOVES, 3)) * amount[0]
    shift = _signed(rng, (MOVES, 3)) * amount[1] * min(image.shape[1:])
    times = np.sort(rng.uniform(0.1, 0.9, MOVES))
    how = {"degrees": degrees, "translation": shift, "times": times, "image_interpolation": "linear"}
    return _run("Motion", image, **how)


def ghosting(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Repeat it along an axis, by weakening every n-th plane of k-space."""
    ghosts, axis = int(rng.integers(*GHOSTS, endpoint=True)), int(rng.integers(3))
    return _run("Ghosting", image, num_ghosts=ghosts, axis=axis, intensity=amount, restore=None)


def spike(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Add stripes: one point of k-space that is too strong, by a share of its largest."""
    # Within the middle half: the highest frequencies are a checkerboard that resizing takes out again.
    return _run("Spike", image, spikes_positions=rng.uniform(0.25, 0.75, (1, 3)), intensity=amount)


def bias_field(image: Floats, amount: float, rng: np.random.Generator) -> NDArray[Any]:
    """Multiply by the exponential of a polynomial of the place, its coefficients up to `amount`."""
    return _run("BiasField", image, coefficients=list(amount * rng.uniform(-1, 1, COEFFICIENTS)), order=ORDER)


def _signed(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(rng.uniform(0.5, 1, shape) * rng.choice([-1, 1], shape))


def _run(name: str, image: Floats, **how: Any) -> NDArray[Any]:
    import torch

    torchio = require_torchio()
    # TorchIO has (C, W, H, D).
    scan = torchio.ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 2, 1))))
    found = getattr(torchio, name)(**how)(scan).data.numpy()
    return np.asarray(found).transpose(0, 3, 2, 1)
