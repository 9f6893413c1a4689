"""The licence of the whole chain, and what it forbids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medzoo.data.errors import ConfigError
from medzoo.hub.licences import Licence, chain, check_licence
from medzoo.store.spec import ModelSpec
from tests.zoo.hub.made import untrained_run

OPEN, UNSTATED = Licence("data x", "CC-BY-4.0"), Licence("data y", "your own")
NC, ND = Licence("weights z", "CC-BY-NC-4.0"), Licence("weights zoo:uni", "CC-BY-NC-ND-4.0")


@pytest.mark.parametrize(
    ("links", "licence", "public", "checked", "message"),
    [
        ([OPEN], "MIT", True, False, None),
        ([NC], "MIT", False, False, "licence=MIT gives more than weights z allows"),
        ([NC], "CC-BY-NC-4.0", True, False, None),
        ([NC], "other", True, False, None),
        ([ND], "CC-BY-NC-ND-4.0", True, False, "lets nobody share what is made from it: leave private=true"),
        ([ND], "CC-BY-NC-ND-4.0", False, False, None),
        ([UNSTATED], "MIT", True, False, "nobody states the licence of data y"),
        ([UNSTATED], "MIT", True, True, None),
        ([UNSTATED], None, False, False, None),
        (
            [Licence("data c", "Stanford University Dataset Research Use Agreement")],
            "MIT",
            False,
            False,
            "gives more than data c",
        ),
    ],
)
def test_a_licence_gives_no_more_than_what_it_comes_from(
    links: list[Licence], licence: str | None, public: bool, checked: bool, message: str | None
) -> None:
    if message is None:
        check_licence(links, licence, public=public, checked=checked)
        return
    with pytest.raises(ConfigError) as told:
        check_licence(links, licence, public=public, checked=checked)
    assert message in str(told.value)


def test_the_chain_goes_through_runs_and_weights(tmp_path: Path) -> None:
    first = untrained_run(tmp_path / "first", family="cnn", backbone="test_resnet", small_stem=False)
    spec = ModelSpec.read(first.spec)
    weights = {"name": "zoo:uni", "file": "w.bin", "licence": "CC-BY-NC-ND-4.0"}
    first.spec.write_text(replace(spec, initial_weights=weights).to_json(), encoding="utf-8")
    earlier = {"name": "EyePACS", "set": "eyepacs", "weights": "zoo:uni", "licence": "CC-BY-NC-ND-4.0"}
    second = replace(
        spec, data={**spec.data, "learnt_from": [{**spec.data, "name": "other", "licence": "X", "learnt_from": [earlier]}]}
    )
    found = chain(second, {"model": {"backbone": str(first.path)}})
    assert found == [
        Licence("medzoo, the code", "Apache-2.0"), Licence("data phantom/multiclass", "CC0-1.0"), Licence("data other", "X"),
        Licence("weights zoo:uni", "CC-BY-NC-ND-4.0"),
    ]  # fmt: skip
    gone = chain(spec, {"model": {"backbone": "runs/gone"}})
    assert gone[-1] == Licence("the run gone, which it started from and which is not there", "not stated")
    published = chain(replace(spec, architecture="resnet18"), {"model": {"pretrained": True, "backbone": "resnet18"}})
    assert published[-1].of == "weights resnet18 (True)"
    assert published[-1].licence.lower() == "apache-2.0"  # as timm states it
