"""`fit` against Pillow, by hand, and against its own ONNX graph."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from medzoo.data.errors import ConfigError, ImageError, UnknownNameError
from medzoo.data.samples.preprocess import Preprocess, fit, normalise

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (max(2, height // 4), max(2, width // 4)), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def one(image: np.ndarray, **options: object) -> np.ndarray:
    preprocess = Preprocess(channels=1, mean=(0.5,), std=(0.5,), **options)  # type: ignore[arg-type]
    return fit(torch.from_numpy(image.copy())[None, None], preprocess)[0, 0].numpy()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("source", "target"), [((300, 211), (97, 64)), ((61, 47), (113, 101)), ((128, 200), (56, 90))])
def test_resizing_is_pillows_to_one_level(interpolation: str, source: tuple[int, int], target: tuple[int, int]) -> None:
    image = picture(*source)
    ours = one(image, size=target, interpolation=interpolation).astype(int)
    wide = Image.fromarray(image).resize((target[1], source[0]), FILTERS[interpolation])
    theirs = np.asarray(wide.resize((target[1], target[0]), FILTERS[interpolation])).astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() <= 0.07


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    assert one(np.array([[0, 1, 2, 3]], np.uint8), size=(1, 2), interpolation="nearest").tolist() == [[1, 3]]
    image = picture(50, 70)
    ours = one(image, size=(31, 23), interpolation="nearest")
    np.testing.assert_array_equal(ours, np.asarray(Image.fromarray(image).resize((23, 31), Image.Resampling.NEAREST)))


def test_pad_and_crop_by_hand() -> None:
    image = np.arange(1, 7, dtype=np.uint8).reshape(2, 3)
    assert one(image, size=(3, 3), mode="pad").tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0]]
    assert one(image, size=(2, 2), mode="crop").tolist() == [[1, 2], [4, 5]]


def test_a_volume_is_resized_in_plane_then_in_depth() -> None:
    volume = np.stack([picture(20, 24, s) for s in range(6)])
    preprocess = Preprocess(size=(3, 10, 12), channels=1, mean=(0.5,), std=(0.5,))
    ours = fit(torch.from_numpy(volume)[None, None], preprocess)[0, 0].numpy().astype(int)
    plane = np.stack([one(s, size=(10, 12)) for s in volume])
    deep = one(plane.reshape(6, 120), size=(3, 120)).reshape(3, 10, 12).astype(int)
    np.testing.assert_array_equal(ours, deep)


def test_types_are_kept_and_values_normalised() -> None:
    preprocess = Preprocess(size=(4, 4), channels=1, mean=(0.25,), std=(0.5,))
    whole = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert fit(whole, preprocess).dtype == torch.uint8
    assert fit(whole.float() / 255, preprocess).dtype == torch.float32
    assert normalise(whole, preprocess)[0, 0, 0, 0].item() == pytest.approx(1.5)


def test_a_preprocess_comes_back_from_json() -> None:
    preprocess = Preprocess(size=(8, 9), mode="pad", interpolation="bicubic")
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess


def test_bad_values_are_one_line() -> None:
    with pytest.raises(UnknownNameError, match="'stretch'"):
        Preprocess(size=(8, 8), mode="strech")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one a channel"):
        Preprocess(size=(8, 8), channels=1)
    with pytest.raises(ConfigError, match="positive"):
        Preprocess(size=(8, 8), std=(0.0, 1.0, 1.0))
    with pytest.raises(ImageError, match="dimensions"):
        fit(torch.zeros(1, 8, 8), Preprocess(size=(8, 8)))


class Fitted(torch.nn.Module):
    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = preprocess

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return fit(image, self.preprocess)


@pytest.mark.parametrize(
    ("mode", "interpolation"), [("stretch", "bilinear"), ("pad", "bilinear"), ("crop", "bicubic"), ("stretch", "nearest")]
)
def test_the_graph_gives_the_same_levels(mode: str, interpolation: str) -> None:
    preprocess = Preprocess(size=(56, 40), mode=mode, interpolation=interpolation)  # type: ignore[arg-type]
    dynamic = ({0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    example = torch.zeros(2, 3, 61, 47, dtype=torch.uint8)
    program = torch.onnx.export(
        Fitted(preprocess), (example,), dynamo=True, opset_version=20, dynamic_shapes=dynamic, verbose=False
    )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for height, width, batch in ((56, 40, 1), (130, 91, 3), (33, 77, 2)):
        image = np.stack([np.stack([picture(height, width, b + c) for c in range(3)]) for b in range(batch)])
        ours = fit(torch.from_numpy(image), preprocess).numpy().astype(int)
        theirs = session.run(None, {session.get_inputs()[0].name: image})[0].astype(int)
        assert np.abs(ours - theirs).max() <= 1
        assert (ours != theirs).mean() <= 1e-3
