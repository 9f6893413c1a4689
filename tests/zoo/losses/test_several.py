"""The loss of several targets: each one's own masked mean, weighted, whatever the others lack."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from medzoo.data.columns import places_of
from medzoo.data.errors import MedzooError
from medzoo.data.labels import LabelSpace
from medzoo.losses.objective import Objective, objective_from_config
from medzoo.losses.several import joined_objective, parts_of
from medzoo.settings.schema import LossConfig

SPACES = {
    "classes": LabelSpace("multiclass", ("a", "b", "c")),
    "grades": LabelSpace("ordinal", ("low", "mid", "high")),
    "findings": LabelSpace("multilabel", ("x", "y")),
    "sizes": LabelSpace("regression", ("mm", "kg")),
}


def values_of(targets: dict[str, LabelSpace], rows: int = 12) -> np.ndarray:
    rng, parts = np.random.default_rng(3), []
    for labels in targets.values():
        if labels.exclusive:
            parts.append(labels.one_hot(np.arange(rows) % labels.width))
        elif labels.kind == "multilabel":
            parts.append(rng.integers(0, 2, (rows, labels.width)).astype(np.float32))
        else:
            parts.append(rng.normal(50, 9, (rows, labels.width)).astype(np.float32))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("pair", list(permutations(SPACES, 2)))
def test_each_part_is_the_loss_of_its_target_alone(pair: tuple[str, str]) -> None:
    targets = {name: SPACES[name] for name in pair}
    values, places = values_of(targets), places_of(targets)
    values[2, places[pair[1]]] = np.nan
    joined = joined_objective(LossConfig(targets={pair[0]: 0.5}), targets, values)
    again = Objective.from_dict(joined.to_dict())
    outputs = torch.randn(len(values), values.shape[1], generator=torch.Generator().manual_seed(1))
    for part, weight in zip(parts_of(again, targets), (0.5, 1.0), strict=True):
        alone = objective_from_config(LossConfig(), targets[part.name], values[:, places[part.name]])
        assert part.objective == alone
        assert part.weight == weight
        given = outputs[:, part.place], torch.from_numpy(values[:, part.place])
        mine, theirs = part.loss(*given), alone.function(targets[part.name])(*given)
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])
        assert part.observed == pytest.approx(1 if part.name == pair[0] else 11 / 12)
    if "sizes" in pair:
        assert again.mean is not None
        assert again.std is not None
        quantities = places["sizes"]
        np.testing.assert_allclose(again.mean[quantities], np.nanmean(values[:, quantities], axis=0), rtol=1e-6)
        others = np.delete(np.arange(values.shape[1]), np.arange(values.shape[1])[quantities])
        assert set(np.array(again.mean)[others]) == {0.0}
        assert set(np.array(again.std)[others]) == {1.0}
    else:
        assert again.mean is again.std is None


def test_settings_are_said_of_each_target() -> None:
    targets = {name: SPACES[name] for name in ("grades", "findings")}
    asked = {"grades": {"name": "corn", "weight": 2}, "findings": {"name": "focal", "arguments": {"gamma": 1.0}}}
    grades, findings = parts_of(joined_objective(LossConfig(targets=asked), targets, values_of(targets)), targets)
    assert (grades.objective.loss, grades.weight, grades.objective.outputs(SPACES["grades"])) == ("corn", 2.0, 2)
    assert (findings.objective.loss, dict(findings.objective.arguments), findings.weight) == ("focal", {"gamma": 1.0}, 1.0)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (LossConfig(targets={"tone": 1}), "unknown target 'tone' in loss.targets; known: classes, sizes"),
        (LossConfig(targets={"clases": 1}), "did you mean 'classes'"),
        (LossConfig(targets={"sizes": -1}), "loss.targets.sizes: the weight -1 is not a number of at least 0"),
        (LossConfig(targets={"sizes": "much"}), "the weight 'much' is not a number"),
        (LossConfig(targets={"sizes": float("nan")}), "the weight nan is not a number"),
        (LossConfig(targets={"sizes": True}), "the weight True is not a number"),
        (LossConfig(targets={"sizes": 0, "classes": 0.0}), "every weight is 0"),
        (LossConfig(targets=["sizes"]), "is no mapping"),
        (LossConfig(targets={"sizes": {"wieght": 1}}), "did you mean 'weight'"),
        (LossConfig(targets={"sizes": {"name": "corn"}}), "unknown loss 'corn' for regression labels"),
        (LossConfig(targets={"sizes": {"label_smoothing": 0.1}}), "loss.targets.sizes: loss.label_smoothing is not for"),
        (LossConfig(label_smoothing=0.1), "loss.label_smoothing is of one target's loss"),
        (LossConfig(name="focal"), "loss.name is of one target's loss"),
        (LossConfig(group="sex"), "loss.group weighs the samples of one target"),
    ],
)
def test_mistakes_are_one_line(config: LossConfig, said: str) -> None:
    targets = {name: SPACES[name] for name in ("classes", "sizes")}
    with pytest.raises(MedzooError, match=said) as caught:
        joined_objective(config, targets, values_of(targets))
    assert "\n" not in str(caught.value)
