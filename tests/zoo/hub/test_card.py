"""The model card: what the hub reads of it, what a run knows, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from medzoo.cli import main
from medzoo.data.errors import CheckpointError
from medzoo.hub.card import WARNING, model_card, read_facts
from medzoo.hub.claims import TO_BE_WRITTEN, claims
from medzoo.store.directory import RunDirectory
from tests.zoo.hub.made import untrained_run


def test_the_hub_reads_every_metric(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "README.md"
    assert main(["card", f"run={trained_run}", "licence=MIT", f"output={output}"]) == 0
    assert "to be written" in capsys.readouterr().out
    card, report = ModelCard.load(output), json.loads((trained_run / "metrics.json").read_text())
    found = {(result.dataset_split, result.metric_type): result.metric_value for result in card.data.eval_results}
    expected = {
        (split, name): metric["value"]
        for split, part in report["splits"].items()
        for name, metric in part["metrics"].items()
        if metric.get("value") is not None
    }
    assert found == pytest.approx(expected)
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == ("mit", "medzoo", "image-classification")
    assert WARNING in card.text
    interval = next(metric for metric in report["splits"]["test"]["metrics"].values() if metric.get("low") is not None)
    assert f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]" in card.text
    assert all(note in card.text for note in report["notes"])


def test_every_item_is_answered_from_the_run_or_listed_as_to_be_written(trained_run: Path) -> None:
    facts = read_facts(RunDirectory.open(trained_run))
    found = {claim.number: claim for claim in claims(facts)}
    assert {number for number in found if number[0].isdigit()} == {
        "1.1", "1.2", "1.3", "1.4", "1.5", "2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2", "3.3", "4.1", "4.2", "4.3", "4.4",
        "4.5", "5",
    }  # fmt: skip
    text = model_card(facts)
    for claim in found.values():
        assert f"- {claim.number}: {claim.item}" in text or claim.answer is not None
        assert f"| {claim.number} | {claim.item} | " in text
    for number in ("1.1", "1.2", "1.4", "1.5", "3.3", "4.3", "GEN ethics"):  # no run can know these
        assert found[number].answer is None
    assert "14 samples of 5 patients" in str(found["1.3"].answer)
    assert "no patient is in two splits" in str(found["2.3"].answer)
    assert found["3.1"].answer is not None
    assert found["3.1"].answer.endswith(TO_BE_WRITTEN)


def test_what_a_run_has_not_done_is_not_claimed(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "run", family="cnn", backbone="test_resnet", small_stem=False)
    facts = read_facts(run)
    found = {claim.number: claim.answer for claim in claims(facts)}
    assert all(found[number] is None for number in ("2.3", "3.1", "3.2", "4.1", "4.2", "4.5"))
    assert "was not evaluated" in model_card(facts)
    assert found["GEN training"] == "random weights: nothing"
    (run.path / "external" / "elsewhere").mkdir(parents=True)
    (run.path / "external" / "elsewhere" / "metrics.json").write_text("{}")
    (run.path / "robustness.json").write_text("{}")
    run.metrics.write_text(
        json.dumps(
            {
                "splits": {"test": {"groups": 3, "metrics": {}}},
                "notes": ["x: results are optimistic"],
                "interval": {"method": "m", "level": 0.9},
            }
        )
    )
    found = {claim.number: claim.answer for claim in claims(read_facts(run))}
    assert found["4.5"] == "tested on other data: elsewhere (external/)"
    assert found["4.2"] == "robustness.json of the run"
    assert found["2.3"] == "NOT given: x: results are optimistic"
    run.metrics.write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_facts(run)


def test_a_licence_that_the_hub_does_not_know_is_other_by_name(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "run", family="cnn", backbone="test_resnet", small_stem=False)
    card = ModelCard(model_card(read_facts(run), "Our Own 1.0"))
    assert (card.data.license, card.data.license_name) == ("other", "our-own-1.0")
