"""ZACH-ViT: the paper's size, no sense of position, the errors of sizes."""

from __future__ import annotations

import pytest
import torch

from medzoo.data.errors import ConfigError
from medzoo.models.registry import create_model


def test_it_has_a_quarter_of_a_million_parameters_whatever_the_image_size() -> None:
    for size in (224, 64):
        model = create_model("zach_vit", outputs=8, channels=3, size=(size, size))
        assert sum(p.numel() for p in model.parameters()) == 248_192 + 65 * 8


def test_the_order_of_patches_does_not_matter() -> None:
    model = create_model("zach_vit", outputs=3, channels=1, size=(64, 64)).eval()
    image = torch.randn(1, 1, 64, 64)
    halves = torch.cat([image[..., 32:], image[..., :32]], dim=-1)
    torch.testing.assert_close(model(image), model(halves), rtol=1e-4, atol=1e-5)
    flipped = image.flip(-1)  # this changes what is inside a patch
    assert not torch.allclose(model(image), model(flipped), atol=1e-4)


def test_residuals_change_width() -> None:
    model = create_model("zach_vit", outputs=3, channels=1, size=(32, 32), arguments={"widths": [64, 32, 96], "head": [16]})
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 3)
    assert model.forward_features(torch.randn(2, 1, 32, 32)).shape == (2, 4, 96)


@pytest.mark.parametrize(
    ("size", "arguments", "message"),
    [((28, 28), {}, "16-pixel patches"), ((32, 32), {"widths": [60]}, "8 heads"), ((32, 32), {"patch": 8}, "arguments")],
)
def test_what_does_not_fit_is_said(size: tuple, arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model("zach_vit", outputs=3, channels=1, size=size, arguments=arguments)
