"""Activations computed again: gradients and running statistics of a plain backward pass, memory that slices do not fill."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.models.backbones.recompute import recompute_activations
from medzoo.models.finetune import recompute
from medzoo.models.registry import create_model
from medzoo.settings.schema import TrainerConfig
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file

VOLUMES = (2, 1, 19, 32, 32)


def over_slices(name: str, **arguments: object) -> nn.Module:
    return create_model(name, family="slices", outputs=4, channels=1, size=VOLUMES[2:], arguments=arguments)


def backward(network: nn.Module, inputs: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], int]:
    """Return gradients, buffers and the bytes that autograd has kept on the way."""
    kept = 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size() * (not isinstance(tensor, nn.Parameter))
        return tensor

    torch.manual_seed(1)  # of what is dropped
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = network.train()(inputs).square().sum()
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients, dict(network.named_buffers()), kept


@pytest.mark.parametrize(
    ("build", "tolerance"),
    [
        (lambda: over_slices("test_resnet"), 0.0),  # by blocks: its batch normalisation sees all slices
        (lambda: over_slices("test_resnet", chunk=5), 0.0),
        (lambda: over_slices("test_vit"), 1e-6),  # in chunks: sums in another order
        (lambda: over_slices("test_vit", proj_drop_rate=0.3), 0.0),  # by blocks: draws are of the whole batch
        (lambda: create_model("resnet18_3d", family="cnn3d", outputs=4, channels=1, size=(19, 32, 32),
                              arguments={"width": 0.125, "stem_stride": 2}), 0.0),
    ],
    ids=["batch normalisation", "chunks", "transformer", "dropout", "3D"],
)  # fmt: skip
def test_gradients_and_statistics_are_those_of_a_plain_pass(build, tolerance: float) -> None:
    plain, inputs = build(), torch.randn(VOLUMES, generator=torch.Generator().manual_seed(0))
    again = copy.deepcopy(plain)
    recompute_activations(again)
    wanted, statistics, kept = backward(plain, inputs)
    found, counted, less = backward(again, inputs)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() <= tolerance * gradient.abs().max(), name
    assert all(torch.equal(counted[name], value) for name, value in statistics.items())
    assert less < 0.75 * kept


@pytest.mark.parametrize(("name", "arguments"), [("test_vit", {}), ("test_resnet", {"chunk": 4})])
def test_of_a_further_slice_its_pixels_and_features_alone_are_kept(name: str, arguments: dict[str, int]) -> None:
    network = over_slices(name, **arguments)
    recompute_activations(network)
    few, many = (backward(network, torch.randn(1, 1, depth, 32, 32))[2] for depth in (16, 48))
    features = network.get_classifier().in_features
    assert many - few <= 32 * 4 * (3 * 32 * 32 + 2 * features)  # float32, a slice with both neighbours


def test_a_copy_is_a_network_of_its_own() -> None:
    network = create_model("test_vit", outputs=4, size=(32, 32))
    recompute_activations(network)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not other(torch.ones(1, 3, 32, 32)).any()
    assert network(torch.ones(1, 3, 32, 32)).any()


def test_a_run_has_the_same_weights_to_the_last_bit(tmp_path) -> None:
    options = [
        "data=phantom", "data.dims=3", "data.size=16", "data.patients=8", "model=slices", "model.backbone=test_resnet",
        "trainer.batch_size=8", "trainer.epochs=1", "trainer.ema=0.5", "trainer.trackers=[]", "evaluate=false", "device=cpu",
    ]  # fmt: skip
    runs = {again: tmp_path / again for again in ("false", "true")}
    for again, run in runs.items():
        assert main(["train", *options, f"trainer.checkpoint_activations={again}", f"run={run}"]) == 0
    plain, found = (tensors_from_file(find_checkpoint(run, "last") / "model.safetensors") for run in runs.values())
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"finetune": "linear"}, "no effect on trainer.finetune=linear"),
        ({"compile": True}, "not for trainer.compile"),
        ({}, "Linear is built of no blocks"),
    ],
)
def test_where_nothing_can_be_computed_again_one_line_says_so(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recompute(nn.Linear(2, 2), TrainerConfig(checkpoint_activations=True, **settings))


@pytest.mark.parametrize("chunk", [0, -1, 2.5, True, "all"])
def test_a_chunk_is_a_number_of_slices(chunk: object) -> None:
    with pytest.raises(ConfigError, match=r"model\.arguments\.chunk=.* is no number of slices"):
        over_slices("test_resnet", chunk=chunk)
