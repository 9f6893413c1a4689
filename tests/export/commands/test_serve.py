"""What `medzoo serve` is told on its command line, and which files belong together."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from medzoo.data.errors import ConfigError, MissingDependencyError
from medzoo.export.commands import serve
from tests.export.service.models import bottleneck, open_classes, text_tower
from tests.export.service.served import service


def test_files_are_called_by_their_names_or_as_they_are_told() -> None:
    found = serve.named_files(["a/model.int8.onnx", "other=a/model.onnx"])
    assert found == {"model.int8": Path("a/model.int8.onnx"), "other": Path("a/model.onnx")}


@pytest.mark.parametrize("word", ["a b.onnx", "=x.onnx", "ä=x.onnx", ".onnx"])
def test_names_that_no_address_can_hold_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="no name for a model"):
        serve.named_files([word])


def test_a_key_comes_from_a_file_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("of-the-file-12345\nsecond line\n")
    environment = {serve.KEY_VARIABLE: "of-the-environment"}
    assert serve.read_key(tmp_path / "key", environment) == "of-the-file-12345"
    assert serve.read_key(None, environment) == "of-the-environment"
    assert serve.read_key(None, {}) is None


@pytest.mark.parametrize("key", ["short", "with spaces in its middle", "ümläute-are-no-ascii", ""])
def test_weak_keys_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="the key must have 16 or more characters"):
        serve.read_key(None, {serve.KEY_VARIABLE: key})


def test_a_tower_is_served_beside_the_file_of_its_own_weights_alone(tmp_path: Path) -> None:
    tower, colours = text_tower(tmp_path / "text.onnx"), open_classes(tmp_path / "colours.onnx")
    assert service(tower, colours).models["colours"].text is not None
    with pytest.raises(ConfigError, match=r"text.onnx is the text tower of none of the files beside it"):
        service(tower, bottleneck(tmp_path / "levels.onnx"))
    with pytest.raises(ConfigError, match="no file takes images"):
        service(tower)


def test_files_whose_answers_depend_on_their_batch_are_run_one_image_at_a_time(tmp_path: Path) -> None:
    for precision, batch in (("int8_dynamic", 1), ("int8", 16)):
        served = service(bottleneck(tmp_path / "levels.onnx", {"precision": precision}))
        assert served.models["levels"].batcher._batch == batch


@pytest.mark.parametrize("library", ["uvicorn", "starlette", "prometheus_client", "python_multipart"])
def test_what_is_missing_is_one_line_with_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [name for name in sys.modules if name.startswith(("medzoo.export.service", "starlette", "uvicorn", library))]
    for name in (*ours, "medzoo.export.commands.serve"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError) as caught:
        importlib.import_module("medzoo.export.commands.serve")
    assert str(caught.value).endswith("pip install 'medzoo[serve]'")
    assert library in str(caught.value)
