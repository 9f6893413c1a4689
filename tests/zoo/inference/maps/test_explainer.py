"""Maps by every method: of networks whose map is known, against MONAI's Grad-CAM, and against gradients taken by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.visualize import GradCAM
from torch import nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.inference.maps.explainer import Explainer, class_explainer
from medzoo.models.heads.neighbours import NeighbourNetwork
from medzoo.models.registry import create_model
from medzoo.tasks.classify import Classify
from tests.zoo.inference.maps.nets import Pixels, task_of

NAMES = ("a", "b", "c")


def picture(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 1), dtype=np.uint8)


def trained_like(name: str, size: tuple[int, ...], family: str = "cnn", **arguments: Any) -> Classify:
    network = create_model(name, outputs=3, family=family, channels=1, size=size, arguments=arguments)
    with torch.no_grad():  # statistics as after images, so that activations differ from place to place
        network.train()(torch.rand(4, 1, *size, generator=torch.Generator().manual_seed(1)))
    return task_of(network.eval(), size, names=NAMES)


def test_the_map_of_a_network_that_reads_pixels_is_the_image() -> None:
    explainer, image = class_explainer(task_of(Pixels())), picture(8, 8)
    assert explainer.method == "cam"
    found = explainer.map(image, "bright")
    np.testing.assert_allclose(found.image, 4 * (image[..., 0] / 255), rtol=1e-6)
    assert found.bias == -0.5
    assert found.output == pytest.approx(4 * image.mean() / 255 - 0.5, rel=1e-6)
    assert found.cells.mean() + found.bias == pytest.approx(found.output, abs=1e-5)
    dark = explainer.map(image, "dark")
    np.testing.assert_allclose(dark.image, -found.image, rtol=1e-6)


@pytest.mark.parametrize("method", ["gradcam", "gradient_x_activation"])
def test_where_the_head_is_linear_every_method_is_the_same_map_but_for_its_scale(method: str) -> None:
    """Grad-CAM's own theorem (Selvaraju et al. 2017, section 3.1), on the network by hand and on a ResNet."""
    for task, image, name in (
        (task_of(Pixels()), picture(8, 8), "bright"), (trained_like("test_resnet", (64, 64)), picture(64, 64), "b"),
    ):  # fmt: skip
        exact, other = class_explainer(task).map(image, name), class_explainer(task, method).map(image, name)
        assert other.method == method
        assert other.bias is None
        np.testing.assert_allclose(other.cells * exact.cells.size, exact.cells, rtol=1e-4, atol=1e-6)


def test_grad_cam_of_volumes_is_monais() -> None:
    task = trained_like("resnet18_3d", (16, 32, 48), width=0.125)
    volume = picture(16, 32, 48)
    ours = class_explainer(task, "gradcam").map(volume, "c").cells
    theirs = GradCAM(nn_module=task.model, target_layers="layer4", postprocessing=lambda x: x, upsampler=lambda _: lambda x: x)
    inputs = task.input(torch.from_numpy(volume).movedim(-1, 0)[None])
    np.testing.assert_allclose(np.maximum(ours, 0), theirs(inputs, class_idx=2)[0, 0].detach().numpy(), rtol=1e-4, atol=1e-7)
    assert ours.shape == (1, 2, 3)
    assert (ours > 0).any()


def test_a_transformers_map_is_gradient_times_activation_before_its_last_block() -> None:
    task, image = trained_like("test_vit", (64, 96), "vit"), picture(64, 96)
    explainer = class_explainer(task)
    assert (explainer.method, explainer.why.split(":")[0]) == ("gradient_x_activation", "not exact")
    kept: dict[str, torch.Tensor] = {}
    task.model.blocks[-1].register_forward_pre_hook(lambda module, given: kept.update(tokens=given[0]))
    logits = task.model(explainer.inputs(image))
    (gradient,) = torch.autograd.grad(logits[0, 0], kept["tokens"])
    expected = (gradient * kept["tokens"]).sum(dim=2)[0, 1:].reshape(4, 6)
    np.testing.assert_allclose(explainer.map(image, "a").cells, expected.detach().numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("name", "family", "size", "method"), [
    ("zach_vit", "vit", (32, 48), "gradient_x_activation"),
    ("convnext_atto", "cnn", (64, 64), "gradcam"),
    ("test_resnet", "slices", (4, 64, 64), "gradcam"),
])  # fmt: skip
def test_auto_takes_what_suits_the_network(name: str, family: str, size: tuple[int, ...], method: str) -> None:
    arguments = {"pool": "max"} if family == "slices" else {"depths": (1, 1, 1, 1)} if "convnext" in name else {}
    explainer = class_explainer(trained_like(name, size, family, **arguments))
    assert explainer.method == method
    assert explainer.why.startswith("not exact: ")
    found = explainer.map(picture(*size), "b")
    assert found.image.shape == size
    assert found.image.std() > 0


def test_maps_of_slices_tell_which_slice() -> None:
    """Of a backbone that reads pixels, without neighbours, a bright slice is the bright slice of the map."""
    task = trained_like("test_resnet", (5, 64, 64), "slices", context=0)
    task.model.backbone = Pixels()
    task = task_of(task.model, (5, 64, 64))
    volume = np.zeros((5, 64, 64, 1), np.uint8)
    volume[3, 10:20, 40:50] = 200
    for method in ("cam", "gradient_x_activation"):
        found = class_explainer(task, method).map(volume, "bright").image
        assert np.unravel_index(found.argmax(), found.shape)[0] == 3
        np.testing.assert_allclose(found / found.max(), volume[..., 0] / 200, atol=1e-6)


def test_quantities_are_explained_in_their_units() -> None:
    objective = {"loss": "squared_error", "mean": [10.0, 20.0], "std": [3.0, 5.0]}
    task = task_of(Pixels(), kind="regression", names=("mm", "points"), objective=objective)
    image = picture(8, 8)
    found = class_explainer(task).map(image, "points")
    np.testing.assert_allclose(found.cells, 5 * 4 * (image[..., 0] / 255), rtol=1e-6)
    assert found.bias == pytest.approx(20 - 0.5 * 5)
    with torch.no_grad():
        (value,) = task.predict({"image": torch.from_numpy(image).movedim(-1, 0)[None]})["logits"][:, 1].tolist()
    assert found.output == pytest.approx(value)
    assert found.cells.mean() + found.bias == pytest.approx(value, rel=1e-5)


def test_a_frozen_network_has_maps_too() -> None:
    task, image = trained_like("test_vit", (32, 32), "vit"), picture(32, 32)
    before = class_explainer(task).map(image, "a").cells
    task.requires_grad_(False)
    np.testing.assert_array_equal(class_explainer(task).map(image, "a").cells, before)


def test_neighbours_have_no_gradient_and_say_so() -> None:
    network = NeighbourNetwork(Pixels(), features=2, samples=4, outputs=2, neighbours=3, kind="multiclass")
    network.remember(torch.rand(4, 2), torch.eye(2).repeat(2, 1))
    with pytest.raises(ConfigError, match="'bright' does not change by small changes of the features"):
        class_explainer(task_of(network)).map(picture(8, 8), "bright")


def test_what_does_not_suit_is_refused() -> None:
    vit = trained_like("test_vit", (32, 32), "vit")
    with pytest.raises(
        ConfigError, match="map=cam is exact or not made, and here VisionTransformer does not read the plain mean"
    ):
        class_explainer(vit, "cam")
    with pytest.raises(ConfigError, match="gradcam is for networks of convolutions; by_hand needs map=gradient_x_activation"):
        class_explainer(vit, "gradcam")
    with pytest.raises(UnknownNameError, match="gradcam"):
        class_explainer(vit, "gradcm")
    with pytest.raises(UnknownNameError, match="'bright'"):
        class_explainer(task_of(Pixels())).map(picture(8, 8), "brigth")


def test_nothing_is_left_behind_in_the_network() -> None:
    task = trained_like("test_resnet", (64, 64))
    explainer: Explainer = class_explainer(task, "gradcam")
    explainer.map(picture(64, 64), "a")
    assert all(parameter.grad is None for parameter in task.parameters())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in task.modules() if isinstance(module, nn.Module)
    )
