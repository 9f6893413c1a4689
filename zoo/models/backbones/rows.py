"""No backbone: what is seen are features already, one row a member of a bag."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.blueprint import Blueprint
from medzoo.models.backbones.contract import Parted


class RowsNetwork(Parted):
    """(M, 1, 1, F) rows → (M, K), through one layer of its own where `width` is given.

    Args:
        features: F.
        outputs: K.
        width: Features of that layer (linear, then ReLU); None: the rows as they are.
        drop_rate: Share of its features that are dropped in training.
    """

    def __init__(self, features: int, outputs: int, width: int | None, drop_rate: float) -> None:
        super().__init__()
        seen = [nn.Linear(features, width), nn.ReLU(), nn.Dropout(drop_rate)] if width is not None else []
        self.layer = nn.Sequential(nn.Flatten(), *seen)
        self.classifier = nn.Linear(features if width is None else width, outputs)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return (M, F) features."""
        seen: Tensor = self.layer(images)
        return seen

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the features themselves, or their outputs."""
        return features if pre_logits else self.classifier(features)

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.classifier

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how deep each parameter lies, for timm's `group_parameters`."""
        return {"stem": r"^layer", "blocks": r"^classifier"}


def create_rows_model(blueprint: Blueprint) -> nn.Module:
    """Create the network over rows of features; ConfigError if an argument is out of range.

    Args:
        blueprint: Of images of one row; among its arguments `width` and `drop_rate`, as `RowsNetwork` takes them.
    """
    given = dict(blueprint.arguments)
    width, drop_rate = given.pop("width", None), given.pop("drop_rate", 0.0)
    if given:
        raise ConfigError(f"model=features takes model.arguments.width and drop_rate, not {next(iter(given))}")
    if width is not None and (not isinstance(width, int) or width < 1):
        raise ConfigError(f"model.arguments.width={width} is no whole number of at least 1")
    if not isinstance(drop_rate, int | float) or not 0 <= drop_rate < 1 or (drop_rate and width is None):
        raise ConfigError(f"model.arguments.drop_rate={drop_rate} is no share in [0, 1), of the layer that width names")
    assert blueprint.size is not None
    return RowsNetwork(blueprint.size[-1], blueprint.outputs, width, float(drop_rate))
