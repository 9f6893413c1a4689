"""Every card of the catalogue: it composes, its architecture is built at its real size, and the published names fit strictly."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from medzoo.data.errors import CheckpointError, ConfigError, UnknownNameError
from medzoo.data.samples.preprocess import Preprocess
from medzoo.models.backbones import timm_backbone
from medzoo.models.backbones.blueprint import Blueprint
from medzoo.models.catalogue.card import PREFIX, WeightsCard, catalogue, find_card, read_card
from medzoo.models.catalogue.layouts import LAYOUTS
from medzoo.models.clip.model import build_clip
from medzoo.models.registry import make
from medzoo.models.weights_file import fit_names, head_names
from tests.zoo.models.catalogue.published import BY_NAME, META, clip_config

CARDS = list(catalogue())
every_card = pytest.mark.parametrize("name", CARDS)


@pytest.fixture(autouse=True)
def no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head without values has none to be calmed."""
    monkeypatch.setattr(timm_backbone, "calm_head", lambda model: None)


@cache
def published(name: str) -> dict[str, Tensor]:
    return BY_NAME[name](find_card(name))


def network_of(card: WeightsCard) -> nn.Module:
    if "clip" in card.families:
        with META:
            return build_clip(clip_config(card), card.text_config)
    size = card.preprocess.get("size", [64, 64, 64] if card.families == ("cnn3d",) else 224)
    sides = (size, size) if isinstance(size, int) else tuple(size)
    blueprint = Blueprint(card.architecture, 5, card.channels, sides, arguments=card.arguments)
    if card.architecture == "swin_3d":  # MONAI asks for a value while it builds
        return make(blueprint, card.families[0], 0).to(META)
    with META:
        return make(blueprint, card.families[0], 0)


def load(card: WeightsCard, tensors: dict[str, Tensor]) -> None:
    network, named = network_of(card), LAYOUTS[card.layout](tensors)
    if "clip" in card.families:
        network.load_state_dict(named, strict=True, assign=True)
        return
    fitted, _ = fit_names(network, named, f"{card.name}.pt", card.architecture)
    taken = set(network.state_dict()) - head_names(network)
    missing, strange = network.load_state_dict({key: fitted[key] for key in taken & set(fitted)}, strict=False, assign=True)
    assert set(missing) <= head_names(network) | {key for key in taken if key.endswith("num_batches_tracked")}
    assert not strange


def alike(name: str) -> tuple[object, ...]:
    """Cards of one network and one layout have the same published names."""
    card = find_card(name)
    return card.architecture, card.layout, str(card.arguments), str(card.open_clip), BY_NAME[name]


ONE_OF_EACH = {alike(name): name for name in reversed(CARDS)}.values()


@pytest.mark.parametrize("name", sorted(ONE_OF_EACH))
def test_the_published_names_and_shapes_fit(name: str) -> None:
    load(find_card(name), published(name))


@pytest.mark.parametrize("name", ["plip", "panderm_base", "radimagenet_resnet50", "swin_unetr_ssl"])
def test_a_wrong_file_is_told_by_its_first_missing_and_first_unexpected_name(name: str) -> None:
    tensors = published(name)
    second = ("blocks.1.", "layers.1.", "4.1.", "layers1.")
    gone = next(key for key in tensors if any(word in key for word in second))
    wrong = {("strange.weight" if key == gone else key): tensor for key, tensor in tensors.items()}
    with pytest.raises((CheckpointError, RuntimeError)) as told:
        load(find_card(name), wrong)
    assert "strange.weight" in str(told.value)
    layout = LAYOUTS[find_card(name).layout]
    assert any(key in str(told.value) for key in set(layout(tensors)) - set(layout(wrong)))


def test_there_are_cards_of_every_family() -> None:
    assert len(CARDS) >= 20
    assert {family for card in catalogue().values() for family in card.families} == {"clip", "vit", "cnn", "cnn3d"}
    assert set(BY_NAME) == set(CARDS)


@every_card
def test_a_card_states_its_facts_and_what_nobody_looked_up(name: str) -> None:
    card = find_card(f"{PREFIX}{name}")
    assert all((card.title, card.modality, card.paper, card.licence, card.trained_on, card.sources))
    assert card.not_verified[-1].startswith("Not tried on the published file")
    assert card.hub or card.url or card.by_hand
    assert not card.pickled or card.convert
    assert all({"metric", "value", "data", "source"} == set(figure) for figure in card.figures)
    size = card.preprocess.get("size", 224)
    mean, std = card.preprocess.get("mean", [0.5] * card.channels), card.preprocess.get("std", [0.5] * card.channels)
    sides = (size, size) if isinstance(size, int) else tuple(size)
    interpolation = card.preprocess.get("interpolation", "bilinear")
    Preprocess(
        sides, channels=card.channels, mean=tuple(mean), std=tuple(std), interpolation=interpolation
    )  # raises if it cannot be


def test_labels_of_torchxrayvision_are_in_the_order_of_its_outputs() -> None:
    card = find_card("torchxrayvision_all")
    assert len(card.labels) == published("torchxrayvision_all")["classifier.weight"].shape[0]
    assert (card.labels[0], card.labels[10], card.labels[-1]) == ("Atelectasis", "Cardiomegaly", "Enlarged Cardiomediastinum")
    # Pixels of 0..255 become -1024..1024, as its own normalisation makes them.
    low, high = ((torch.tensor([0.0, 1.0]) - card.preprocess["mean"][0]) / card.preprocess["std"][0]).tolist()
    assert (low, high) == (-1024, 1024)


def test_a_card_with_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no field of a card"):
        read_card("own.yaml", "title: x\nlicens: y")
    with pytest.raises(ConfigError, match="required"):
        read_card("own.yaml", "title: x")
    whole = "title: a\nmodality: b\npaper: c\nlicence: d\nfamilies: [cnn]\narchitecture: resnet18\n"
    with pytest.raises(UnknownNameError, match="plain"):
        read_card("own.yaml", f"{whole}layout: plian")
    with pytest.raises(UnknownNameError, match="eyepacs"):
        read_card("own.yaml", f"{whole}learnt_from: [eyepaks]")


def test_an_unknown_name_has_its_nearest() -> None:
    with pytest.raises(UnknownNameError, match="zoo:biomedclip"):
        find_card("zoo:biomedclipp")
