"""The container's files say what the command and the project have; where there is no Docker nothing more can be seen."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from medzoo.export.commands import serve
from medzoo.export.service.limits import Limits

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "export" / "docker"
TEXT = (DOCKER / "Dockerfile").read_text(encoding="utf-8")


def compose(name: str) -> Any:
    return yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))


def test_it_installs_extras_that_there_are_and_no_training_half() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
    (written,) = re.findall(r'"/source\[(.*?)\]"', TEXT)
    named = set(written.replace("${RUNTIME}", "cpu").split(","))
    assert named <= extras
    assert {"cpu", "serve"} <= named
    assert not named & {"train", "all", "clip"}
    assert compose("compose.yaml")["services"]["serve"]["build"]["args"] == {"RUNTIME": "cpu"}
    assert compose("compose.gpu.yaml")["services"]["serve"]["build"]["args"]["RUNTIME"] in extras


def test_it_does_not_run_as_root_and_can_write_nothing() -> None:
    last = TEXT.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", last, re.M) == ["10001"]
    service = compose("compose.yaml")["services"]["serve"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert int(service["stop_grace_period"].removesuffix("s")) > Limits().seconds


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_its_command_is_one_that_medzoo_serve_takes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.*)", TEXT, re.M)
    words = [*json.loads(entry), *compose(name)["services"]["serve"]["command"]]
    assert words[:2] == ["medzoo", "serve"]
    key = tmp_path / "key"
    key.write_text("correct-horse-battery\n")
    opened: list[Any] = []

    def model(path: Path, **options: Any) -> Any:
        opened.append((path, options["provider"]))
        raise RuntimeError("as far as this goes")

    monkeypatch.setattr(serve, "OnnxModel", model)
    with pytest.raises(RuntimeError, match="as far"):
        serve.main([word.replace("/run/secrets/key", str(key)) for word in words[2:]])
    assert opened == [(Path("/models/model.onnx"), "cuda" if "gpu" in name else "cpu")]
