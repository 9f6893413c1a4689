"""Linear layers fitted to convergence, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, LogisticRegression
from sklearn.preprocessing import StandardScaler

from medzoo.data.errors import ConfigError
from medzoo.models.heads.linear_layer import PENALTIES, choose_penalty, fit_linear, fit_shown, fit_sparse_linear


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)) * [1, 5, 0.1, 1, 1, 1] + 3
    scores = np.stack([x[:, 0], 0.3 * x[:, 1], rng.normal(size=200)], axis=1)
    return x, np.eye(3, dtype=np.float32)[scores.argmax(axis=1)]


def outputs(layer: tuple[torch.Tensor, torch.Tensor], x: np.ndarray) -> np.ndarray:
    return x @ layer[0].double().numpy().T + layer[1].double().numpy()


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def test_a_sparse_softmax_layer_equals_scikit_learns_elastic_net_on_standardised_inputs(data: tuple) -> None:
    x, y = data
    ours = fit_sparse_linear(*tensors(x, y), "multiclass", penalty=5.0, l1_ratio=0.9)
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=0.2, l1_ratio=0.9, solver="saga", tol=1e-8, max_iter=50_000)
    theirs.fit(scaler.transform(x), y.argmax(axis=1))
    p = torch.from_numpy(outputs(ours, x)).softmax(dim=1).numpy()
    np.testing.assert_allclose(p, theirs.predict_proba(scaler.transform(x)), atol=1e-3)
    assert ((ours[0].numpy() == 0) == (theirs.coef_ == 0)).all()
    assert 0 < int((ours[0] == 0).sum()) < 18


def test_two_classes_findings_and_quantities_equal_scikit_learn(data: tuple) -> None:
    x, _ = data
    scaled = StandardScaler().fit_transform(x)
    found = (x[:, 0] + x[:, 3] > 6).astype(np.float32)
    theirs = LogisticRegression(C=0.5, l1_ratio=0.5, solver="saga", tol=1e-8, max_iter=50_000).fit(scaled, found)
    pair = fit_sparse_linear(*tensors(x, np.stack([1 - found, found], axis=1)), "multiclass", penalty=2.0, l1_ratio=0.5)
    p = torch.from_numpy(outputs(pair, x)).softmax(dim=1).numpy()
    np.testing.assert_allclose(p, theirs.predict_proba(scaled), atol=2e-3)
    gaps = np.stack([found, np.where(np.arange(200) < 150, found, np.nan)], axis=1)
    findings = fit_sparse_linear(*tensors(x, gaps), "multilabel", penalty=2.0, l1_ratio=0.5)
    p = torch.from_numpy(outputs(findings, x)).sigmoid().numpy()
    np.testing.assert_allclose(p[:, 0], theirs.predict_proba(scaled)[:, 1], atol=2e-3)
    seen = LogisticRegression(C=0.5, l1_ratio=0.5, solver="saga", tol=1e-8, max_iter=50_000).fit(scaled[:150], found[:150])
    np.testing.assert_allclose(p[:, 1], seen.predict_proba(scaled)[:, 1], atol=2e-3)
    quantity = (2 * x[:, [0]] - x[:, [1]]).astype(np.float32)
    line = fit_sparse_linear(*tensors(x, quantity), "regression", penalty=20.0, l1_ratio=0.7)
    net = ElasticNet(alpha=0.1, l1_ratio=0.7, tol=1e-10, max_iter=50_000).fit(scaled, quantity[:, 0])
    np.testing.assert_allclose(outputs(line, x)[:, 0], net.predict(scaled), atol=1e-2)


def test_soft_targets_count_by_their_shares(data: tuple) -> None:
    x, y = data
    soft = 0.7 * y + 0.1
    rows = np.repeat(np.arange(200), 3)
    ours = fit_sparse_linear(*tensors(x, soft), "multiclass", penalty=5.0, l1_ratio=0.9)
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=0.2, l1_ratio=0.9, solver="saga", tol=1e-8, max_iter=50_000)
    theirs.fit(scaler.transform(x)[rows], np.tile(np.arange(3), 200), sample_weight=soft.ravel())
    p = torch.from_numpy(outputs(ours, x)).softmax(dim=1).numpy()
    np.testing.assert_allclose(p, theirs.predict_proba(scaler.transform(x)), atol=2e-3)


def test_what_is_seen_in_one_state_only_gets_no_weights(data: tuple) -> None:
    x, y = data
    y = np.concatenate([y, np.zeros((200, 1), np.float32)], axis=1)
    weight, bias = fit_sparse_linear(*tensors(x, y), "multiclass", penalty=1.0, l1_ratio=0.9)
    assert not weight[3].any()
    p = torch.from_numpy(outputs((weight, bias), x)).softmax(dim=1)[:, 3]
    assert float(p.max()) < 0.1
    always = np.ones((200, 1), np.float32)
    weight, bias = fit_sparse_linear(*tensors(x, always), "multilabel", penalty=1.0, l1_ratio=0.9)
    assert not weight.any()
    assert float(bias.sigmoid()) == pytest.approx(200.5 / 201)


def test_the_chosen_penalty_has_the_smallest_validation_loss(data: tuple) -> None:
    x, y = data
    rng = np.random.default_rng(1)
    noisy = np.concatenate([x, rng.normal(size=(200, 40))], axis=1)
    train, val = slice(0, 60), slice(60, 200)

    def fit(penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        return fit_linear(*tensors(noisy[train], y[train]), "multiclass", penalty=penalty)

    losses = {}
    for penalty in PENALTIES:
        p = torch.from_numpy(outputs(fit(penalty), noisy[val])).log_softmax(dim=1).numpy()
        losses[penalty] = -float((p * y[val]).sum())
    chosen = choose_penalty(fit, *tensors(noisy[val], y[val]), "multiclass")
    assert chosen == min(losses, key=losses.__getitem__)
    assert PENALTIES[0] < chosen < PENALTIES[-1]


def test_bad_input(data: tuple) -> None:
    x, y = tensors(*data)
    for values, message in (
        ({"penalty": -1.0, "l1_ratio": 0.5}, "must be at least 0"),
        ({"penalty": 0.0, "l1_ratio": 0.5}, "penalty above 0"),
        ({"penalty": 1.0, "l1_ratio": 1.5}, "l1_ratio above 0 to 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit_sparse_linear(x, y, "multiclass", **values)
    with pytest.raises(ConfigError, match="no labelled sample"):
        fit_sparse_linear(x, torch.full_like(y, float("nan")), "multiclass", penalty=1.0, l1_ratio=0.5)
    with pytest.raises(ConfigError, match="none of the inputs varies"):
        fit_sparse_linear(torch.ones(200, 3), y, "multiclass", penalty=1.0, l1_ratio=0.5)


def test_a_fit_that_does_not_converge_is_never_returned_and_never_chosen(data: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = tensors(*data)

    def fit(penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        return fit_sparse_linear(x, y, "multiclass", penalty=penalty, l1_ratio=0.9)

    monkeypatch.setattr("medzoo.models.heads.linear_layer.ROUNDS", 3)
    with pytest.raises(ConfigError, match=r"does not converge at model\.bottleneck\.penalty=0\.01"):
        fit(0.01)
    assert choose_penalty(fit, x, y, "multiclass", [0.01, 1e4]) == 1e4
    with pytest.raises(ConfigError, match="does not converge"):
        choose_penalty(fit, x, y, "multiclass", [0.01])


def test_what_is_shown_in_one_state_only_gets_the_bias_of_half_a_sample_in_the_other(data: tuple) -> None:
    """As the sparse layer does it; a bias at infinity would lie wherever the solver stops."""
    x, y = data
    absent = np.concatenate([y, np.zeros((200, 1), np.float32)], axis=1)
    weight, bias = fit_shown(*tensors(x, absent), "multiclass", penalty=1.0)
    plain = fit_linear(*tensors(x, y), "multiclass", penalty=1.0)
    assert torch.equal(weight[:3].float(), plain[0])
    assert torch.equal(bias[:3].float(), plain[1])
    assert (weight[3] == 0).all()
    assert float(bias[3] - bias[:3].mean()) == pytest.approx(np.log(0.5 / 200))
    findings = np.stack([np.ones(200, np.float32), y[:, 0], np.full(200, np.nan, np.float32)], axis=1)
    weight, bias = fit_shown(*tensors(x, findings), "multilabel", penalty=1.0)
    assert (weight[[0, 2]] == 0).all()
    assert bias[[0, 2]].tolist() == pytest.approx([np.log(200.5 / 0.5), 0.0])
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=50_000).fit(x, y[:, 0])
    np.testing.assert_allclose(weight[1].numpy(), theirs.coef_[0], atol=1e-3)
