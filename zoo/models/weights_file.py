"""A weights file of someone else's: read without running anything of it, fitted to a network by name, and counted.

Nothing is loaded in part: of the network only the last layer may be missing in the file, whose own last layer answers a question
nobody here knows and is never taken.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from timm.models import adapt_input_conv
from torch import Tensor, nn

from medzoo.data.download import file_checksum
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.models.backbones.contract import Around, head_modules
from medzoo.models.state_dict import find_state_dict, is_safetensors, tensors_of

POINTER = b"version https://git-lfs.github.com/spec/"
"""How the file begins that git keeps in place of a large one (the specification of Git LFS, "The Pointer")."""
PREFERRED = ("encoder_q", "teacher", "ema", "online", "student")
"""Of two networks in one file, which is the one to use: MoCo's query encoder, DINO's teacher, an average, BYOL's online one."""
COUNTER = ".num_batches_tracked"
"""A batch normalisation's count of batches, which weights from before torch 0.4.1 lack and nothing here reads."""
FILTERS = ("checkpoint_filter_fn", "_filter_fn", "pretrained_filter_fn", "_filter_torchvision_pretrained")
"""What timm's modules call the function that turns published names and sizes into its own."""


@dataclass(frozen=True)
class LoadedWeights:
    """What was taken from a weights file.

    Attributes:
        file: Its path.
        loaded: How many tensors of the network came from it.
        tensors: How many the network has.
        prefix: What was stripped from the file's names; empty: nothing.
        inside: Keys of the file's under which they lay, joined by points; empty: they were the file itself.
        unused: How many tensors of the file the network has no place for, its last layer included.
    """

    file: Path
    loaded: int
    tensors: int
    prefix: str = ""
    inside: str = ""
    unused: int = 0

    def card(self) -> dict[str, Any]:
        """Return what a spec keeps: the file's name and SHA-256, without a path of this machine, and the counts."""
        return {
            "file": self.file.name, "sha256": file_checksum(self.file, "sha256"), "loaded": self.loaded,
            "tensors": self.tensors, "prefix": self.prefix, "inside": self.inside, "unused": self.unused,
        }  # fmt: skip


def describe_loaded(card: Mapping[str, Any]) -> str:
    """Return one line on what was taken from a weights file, from its `LoadedWeights.card`."""
    place = f", under {card['inside']!r}" if card["inside"] else ""
    stripped = f", prefix {card['prefix']!r} stripped" if card["prefix"] else ""
    unused = f", {card['unused']} of the file's not used" if card["unused"] else ""
    fresh = card["tensors"] - card["loaded"]
    kept = f"; {fresh} start anew (the last layer)" if fresh else ""
    package = card.get("package")
    source = f" of {package['name']} {package['version']} ({package['licence']})" if package else ""
    return f"{card['file']}{source}: {card['loaded']} of {card['tensors']} tensors loaded{place}{stripped}{unused}{kept}"


def require_weights_file(path: str | Path) -> Path:
    """Return the path of a weights file that is there and is none of what often lies in its place.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If it is a git-lfs pointer, a web page or empty.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"no weights file at {path} (model.checkpoint_path)")
    with file.open("rb") as opened:
        start = opened.read(256)
    size = file.stat().st_size
    if start.startswith(POINTER):
        raise CheckpointError(
            f"{file} is a git-lfs pointer ({size} bytes of text), not the weights: fetch the real file, with git lfs pull or "
            "from its page"
        )
    if not start:
        raise CheckpointError(f"{file} is empty: fetch it again")
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise CheckpointError(f"{file} is a web page ({size} bytes), not weights: fetch the file itself")
    return file


def read_weights_file(path: str | Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a weights file by name, and the keys under which they lay in it, joined by points.

    Args:
        path: A safetensors file, or one of `torch.save`, which is read with `weights_only`; what it is, its first bytes say
            before its name.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If it is damaged, would have to run code to be read, or holds no tensors by name.
    """
    file = require_weights_file(path)
    try:
        if is_safetensors(file):
            return safetensors.torch.load_file(file), ""
        # timm's training script keeps its command line in the file; a Namespace runs nothing. Opened here: torch goes by names.
        with torch.serialization.safe_globals([argparse.Namespace]), file.open("rb") as opened:
            content = torch.load(opened, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged or no safetensors file ({error}); fetch it again") from error
    except Exception as error:  # torch's, pickle's and zip's errors have no family of their own
        reason = " ".join(str(error).split())
        if "weights_only" in reason or "Unsupported" in reason:
            unsafe = _unsafe_names(file)
            holds = f" ({', '.join(unsafe[:3])})" if unsafe else ""
            raise CheckpointError(
                f"{file} holds Python objects beside tensors{holds}, and reading them would run their code: save its state dict "
                "alone, best as .safetensors"
            ) from error
        raise CheckpointError(f"{file} is damaged or no weights file ({type(error).__name__}: {reason[:120]})") from error
    tensors, inside = find_state_dict(content)
    if not tensors:
        held = [repr(key) for key, value in content.items() if tensors_of(value)] if isinstance(content, Mapping) else []
        lacks = ": a state dict is needed, as model.state_dict() returns it"
        beside = f"; under {', '.join(held[:3])} it does: save the one you want by itself" if held else lacks
        raise CheckpointError(f"{file} holds no tensors by name{beside}")
    return tensors, inside


def load_weights_file(network: nn.Module, path: str | Path, name: str) -> LoadedWeights:
    """Load a weights file into a network, in place: all of it but the last layer, which starts anew.

    Args:
        network: With random weights.
        path: The file.
        name: Of the network, for messages.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If it cannot be read, or anything but the last layer is missing or of another shape.
    """
    tensors, inside = read_weights_file(path)
    return load_tensors(network, tensors, path, name, inside)


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor], path: str | Path, name: str, inside: str) -> LoadedWeights:
    """Load what was read of a weights file into a network, in place: all of it but the last layer, which starts anew.

    A prefix that wrappers and training scripts put before every name is stripped. timm's own functions turn published names and
    sizes into those of its models, and a first layer for three channels into one for others.

    Args:
        network: With random weights.
        tensors: Of the file, by name.
        path: The file, for messages and for what is said of it.
        name: Of the network, for messages.
        inside: Keys under which the tensors lay in the file.

    Raises:
        CheckpointError: If anything but the last layer is missing or of another shape.
    """
    while isinstance(network, Around):  # a flat network over slices is itself the weights' network
        network = network.backbone
    own = network.state_dict()
    needed = {key for key in own if not key.endswith(COUNTER)} - head_names(network)
    fitted, prefix = fit_names(network, tensors, path, name)
    bare = {key.removeprefix(prefix) for key in tensors if key.startswith(prefix)}
    for key in sorted(needed):
        if own[key].is_floating_point() and not fitted[key].is_floating_point():
            raise CheckpointError(f"{path}: {key} is stored as {fitted[key].dtype}, not as real numbers; save it unquantised")
        if own[key].is_floating_point() and not torch.isfinite(fitted[key]).all():
            raise CheckpointError(f"{path}: {key} holds NaN or infinite values; use another checkpoint")
    taken = {key: tensor for key, tensor in fitted.items() if key in needed or (key in own and key.endswith(COUNTER))}
    network.load_state_dict(taken, strict=False)
    unused = len(tensors) - sum(key in taken for key in bare)
    return LoadedWeights(Path(path).expanduser(), len(taken), len(own), prefix, inside, max(unused, 0))


def fit_names(network: nn.Module, tensors: Mapping[str, Tensor], path: str | Path, name: str) -> tuple[dict[str, Tensor], str]:
    """Return what was read of a weights file by a network's names and in its sizes, and the prefix that was stripped.

    Arguments as for `load_tensors`; values are not looked at, so that tensors without any (of torch's meta device) fit, too.

    Raises:
        CheckpointError: If anything but the last layer is missing or of another shape, or the file is of a larger network.
    """
    own = network.state_dict()
    needed = {key for key in own if not key.endswith(COUNTER)} - head_names(network)
    prefix = find_prefix(tensors, needed, path)
    bare = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    fitted = _fitted(network, bare, needed)
    wrong = sorted(key for key in needed if key in fitted and fitted[key].shape != own[key].shape)
    missing = [key for key in own if key in needed and key not in fitted]
    if missing or wrong:
        _refuse(path, name, tensors, own, fitted, missing, wrong)
    rooms = {key.split(".")[0] for key in needed}
    over = [key for key in fitted if key not in own and key.split(".")[0] in rooms and key not in head_names(network)]
    if over:
        raise CheckpointError(
            f"{path} does not fit model {name}: it is of a larger network, {len(over)} of its tensors have no place in this one "
            f"({', '.join(over[:3])}, ...); choose the architecture that it was saved from"
        )
    return fitted, prefix


def find_prefix(names: Collection[str], needed: Collection[str], path: str | Path) -> str:
    """Return what stands before a network's own names in a file; empty where they stand bare, or none is known there.

    Args:
        names: Of the file's tensors.
        needed: Of the network's, without its last layer.
        path: The file, for messages.

    Raises:
        CheckpointError: If the file holds the network under two names and neither is `PREFERRED`.
    """
    found: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        found.update(
            f"{'.'.join(parts[:start])}." if start else ""
            for start in range(len(parts))
            if ".".join(parts[start:]) in needed
        )  # fmt: skip
    most = max(found.values(), default=0)
    if 2 * most < len(needed):  # single names that happen to end alike
        return ""
    best = sorted(prefix for prefix, count in found.items() if count == most)
    if "" in best or len(best) == 1:
        return best[0]
    for word in PREFERRED:
        if of_word := [prefix for prefix in best if word in prefix]:
            return of_word[0]
    raise CheckpointError(
        f"{path} holds the network more than once, under {' and '.join(repr(prefix) for prefix in best[:3])}: save the one you "
        "want by itself"
    )


def load_backbone(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load weights into a backbone, of which only the last layer may be missing.

    Raises:
        CheckpointError: If they are of another network.
    """
    expected = network.state_dict()
    misfits = [key for key, tensor in weights.items() if key not in expected or expected[key].shape != tensor.shape]
    misfits += sorted(set(expected) - set(weights) - head_names(network))
    if misfits:
        raise CheckpointError(f"the trained network does not fit {name}, or not at this size: {', '.join(misfits[:3])}")
    network.load_state_dict(dict(weights), strict=False)


def head_names(network: nn.Module) -> set[str]:
    """Return the state-dict names of what lies between a backbone's pooled features and its outputs."""
    last = {id(t) for module in head_modules(network) for t in module.state_dict(keep_vars=True).values()}
    return {name for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in last}


def timm_filter(backbone: nn.Module) -> Any:
    """Return timm's function (state dict, model) → state dict that fits published weights to a model of its; None without."""
    module = sys.modules[type(backbone).__module__]
    return next((found for name in FILTERS if (found := getattr(module, name, None)) is not None), None)


def _fitted(network: nn.Module, tensors: dict[str, Tensor], needed: set[str]) -> dict[str, Tensor]:
    """Return tensors by the network's names and in its sizes, as far as timm's functions can bring them there."""
    own, adapt = network.state_dict(), timm_filter(network)
    plain = all(key in tensors and tensors[key].shape == own[key].shape for key in needed)
    if not plain and adapt is not None:
        # With a last layer, whose name tells timm which layout a state dict has.
        last = {key: own[key] for key in head_names(network) - set(tensors)} if needed <= set(tensors) else {}
        # Another network's weights may break it: the caller names what is missing.
        with contextlib.suppress(KeyError, RuntimeError, ValueError, IndexError, AttributeError, TypeError, AssertionError):
            tensors = dict(adapt({**tensors, **last}, network))
    first: Any = getattr(network, "pretrained_cfg", {}).get("first_conv") or ()
    for stem in [f"{layer}.weight" for layer in ([first] if isinstance(first, str) else first)]:
        if stem in tensors and stem in own and tensors[stem].ndim == 4 and tensors[stem].shape[1] == 3 != own[stem].shape[1]:
            tensors = {**tensors, stem: adapt_input_conv(own[stem].shape[1], tensors[stem])}
    return tensors


def _refuse(
    path: str | Path, name: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], fitted: Mapping[str, Tensor],
    missing: list[str], wrong: list[str]
) -> None:  # fmt: skip
    if missing:
        lacks = f"{len(missing)} of the model's {len(own)} tensors are not in it ({', '.join(missing[:3])}, ...)"
    else:
        key = wrong[0]
        lacks = f"{len(wrong)} tensors have another shape ({key}: {list(fitted[key].shape)}, not {list(own[key].shape)})"
    theirs, over = ", ".join(list(tensors)[:3]), next((key for key in fitted if key not in own), None)
    strange = "" if over is None else f", and {over} has no place in the model"
    raise CheckpointError(f"{path} does not fit model {name}: {lacks}; the file's {len(tensors)} names begin {theirs}{strange}")


def _unsafe_names(file: Path) -> list[str]:
    """Return the names of the Python objects in a file, where it can be told without making them."""
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # damaged, or of the format before archives
        return []
