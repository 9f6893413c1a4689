"""Two embeddings a concept: the mixture by hand, what corrections leave of it, where gradients go, the answer taken apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medzoo.models.heads.concept_embeddings import EmbeddingNetwork


class Rows(nn.Module):
    """A backbone whose features are its input, (N, F), and whose last layer is linear."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, outputs)

    def forward_features(self, inputs: Tensor) -> Tensor:
        return inputs

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        return features if pre_logits else self.fc(features)

    def get_classifier(self) -> nn.Module:
        return self.fc


def network(concepts: int = 3, outputs: int = 2, width: int = 4, features: int = 5) -> EmbeddingNetwork:
    torch.manual_seed(0)
    return EmbeddingNetwork(Rows(features, concepts * 2 * width), concepts=concepts, outputs=outputs, width=width).eval()


def by_hand() -> EmbeddingNetwork:
    """One feature, one concept of two numbers: c+ = (h, -h) and c- = (2 h, 0), bent; s adds all four up."""
    made = network(concepts=1, outputs=1, width=2, features=1)
    with torch.no_grad():
        made.backbone.fc.weight.copy_(torch.tensor([[1.0], [-1.0], [2.0], [0.0]]))
        made.backbone.fc.bias.zero_()
        made.scorer.weight.fill_(1.0)
        made.scorer.bias.zero_()
        made.head.weight.copy_(torch.tensor([[10.0, 100.0]]))
        made.head.bias.fill_(0.5)
    return made


def test_the_mixture_by_hand() -> None:
    made = by_hand()
    logits, embeddings = made.concepts_and_features(torch.tensor([[1.0], [-1.0]]))
    # Below 0 a leaky ReLU leaves a hundredth.
    torch.testing.assert_close(embeddings, torch.tensor([[1.0, -0.01, 2.0, 0.0], [-0.01, 1.0, -0.02, 0.0]]))
    torch.testing.assert_close(logits, torch.tensor([[2.99], [0.97]]))
    p = 1 / (1 + torch.exp(-torch.tensor([2.99, 0.97])))
    mixed = torch.stack([p * 1.0 + (1 - p) * 2.0, p * -0.01], dim=1)
    mixed[1] = torch.stack([p[1] * -0.01 + (1 - p[1]) * -0.02, p[1] * 1.0])
    wanted = 10 * mixed[:, :1] + 100 * mixed[:, 1:] + 0.5
    torch.testing.assert_close(made.classes(logits, embeddings), wanted)
    torch.testing.assert_close(made(torch.tensor([[1.0], [-1.0]])), wanted)


def test_what_is_corrected_to_1_is_the_one_embedding_and_to_0_the_other_to_the_last_bit() -> None:
    made = network()
    logits, embeddings = made.concepts_and_features(torch.randn(6, 5))
    both = embeddings.reshape(6, 3, 2, 4)
    every = torch.ones(1, 3)
    for value, place in ((1.0, 0), (0.0, 1)):
        found = made.classes(logits, embeddings, torch.full((1, 3), value), every)
        assert torch.equal(found, made.head(both[:, :, place].flatten(1)))
    one = made.classes(logits, embeddings, torch.ones(1, 3), torch.tensor([[0.0, 1.0, 0.0]]))
    p = logits.sigmoid().unsqueeze(2)
    mixed = p * both[:, :, 0] + (1 - p) * both[:, :, 1]
    mixed[:, 1] = both[:, 1, 0]
    torch.testing.assert_close(one, made.head(mixed.flatten(1)))
    half = made.classes(logits, embeddings, torch.full((1, 3), 0.5), every)
    torch.testing.assert_close(half, made.head(both.mean(dim=2).flatten(1)))


def test_embeddings_that_are_alike_leave_a_correction_nothing_to_change() -> None:
    made = network()
    logits, embeddings = made.concepts_and_features(torch.randn(4, 5))
    both = embeddings.reshape(4, 3, 2, 4).clone()
    both[:, 1, 1] = both[:, 1, 0]  # what the second concept looks like is the same, there or not
    same = both.flatten(1)
    _, effects = made.parts(same)
    assert torch.equal(effects[:, 1], torch.zeros(4, 2))
    assert (effects[:, [0, 2]].abs() > 0).all()
    mask = torch.tensor([[0.0, 1.0, 0.0]])
    for value in (0.0, 1.0):
        corrected = made.classes(logits, same, torch.full((1, 3), value), mask)
        torch.testing.assert_close(corrected, made.classes(logits, same))


def test_class_outputs_are_what_they_are_without_concepts_and_what_each_adds() -> None:
    made = network()
    logits, embeddings = made.concepts_and_features(torch.randn(4, 5))
    absent, effects = made.parts(embeddings)
    assert effects.shape == (4, 3, 2)
    none, every = torch.zeros(1, 3), torch.ones(1, 3)
    torch.testing.assert_close(absent, made.classes(logits, embeddings, none, every))
    for place in range(3):
        only = torch.zeros(1, 3)
        only[0, place] = 1
        torch.testing.assert_close(absent + effects[:, place], made.classes(logits, embeddings, only, every))
    whole = absent + (logits.sigmoid().unsqueeze(2) * effects).sum(dim=1)
    torch.testing.assert_close(whole, made.classes(logits, embeddings))


def test_the_gradient_of_classes_reaches_everything_and_of_a_corrected_concept_no_probability() -> None:
    made = network()
    made.classes(*made.concepts_and_features(torch.randn(8, 5))).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in made.parameters())
    made.zero_grad()
    logits, embeddings = made.concepts_and_features(torch.randn(8, 5))
    logits.retain_grad()
    truth, mask = torch.ones(8, 3), torch.zeros(8, 3)
    mask[:4, 1] = 1
    made.classes(logits, embeddings, truth, mask).square().sum().backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad == 0, mask > 0)


def test_concepts_share_their_scorer_and_nothing_else() -> None:
    made = network()
    with torch.no_grad():
        made.backbone.fc.weight[:8] = made.backbone.fc.weight[8:16]  # the first concept's embeddings as the second's
        made.backbone.fc.bias[:8] = made.backbone.fc.bias[8:16]
    logits, _ = made.concepts_and_features(torch.randn(5, 5))
    torch.testing.assert_close(logits[:, 0], logits[:, 1])
    assert (logits[:, 0] - logits[:, 2]).abs().min() > 0
    assert sum(parameter.numel() for parameter in made.scorer.parameters()) == 2 * 4 + 1


def test_of_other_concepts_the_first_row_is_kept_whole() -> None:
    made = network()
    logits, embeddings = made.concepts_and_features(torch.randn(2, 5))
    kept, own = made.kept_but(torch.tensor([False, True, False]), logits, embeddings)
    torch.testing.assert_close(kept[1], torch.stack([logits[0, 0], logits[1, 1], logits[0, 2]]))
    torch.testing.assert_close(own[1], torch.cat([embeddings[0, :8], embeddings[1, 8:16], embeddings[0, 16:]]))
    assert torch.equal(own[0], embeddings[0])
