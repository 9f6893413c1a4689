"""Models by name: families, third parties, errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from medzoo.cli import main
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.models.registry import check_name, create_model, list_models

DOC = Path(__file__).parents[3] / "docs" / "adding-a-model.md"


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package somebody else installed: one module and its metadata."""
    code = re.search(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    (tmp_path / "somebodys_models.py").write_text(code.group(1), encoding="utf-8")
    info = tmp_path / "somebodys_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-models\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[medzoo.models]\nmean_colour = somebodys_models:mean_colour\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("somebodys_models", None)


@pytest.mark.usefixtures("third_party")
def test_a_model_of_another_package_trains_and_exports(tmp_path: Path) -> None:
    assert "mean_colour" in list_models("mean*")
    run = tmp_path / "run"
    options = ["data=phantom", "data.size=16", "data.patients=16", "model.backbone=mean_colour", "trainer.trackers=[]"]
    assert main(["train", *options, "trainer.epochs=1", "evaluation.replicates=10", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=8"]) == 0
    probe = [*options, "trainer.epochs=1", "trainer.finetune=linear", "+model.arguments.bias=false", "evaluate=false"]
    assert main(["train", *probe, f"run={tmp_path / 'probe'}"]) == 0
    assert main(["train", *options, "+model.arguments.bais=false", f"run={tmp_path / 'wrong'}"]) == 2


def test_names_belong_to_families() -> None:
    with pytest.raises(ConfigError, match="model=cnn3d"):
        check_name("resnet18_3d", "cnn")
    with pytest.raises(UnknownNameError, match="'resnet18_3d'"):
        check_name("resnet18", "cnn3d")
    with pytest.raises(UnknownNameError, match="'zach_vit'"):
        check_name("zach_vt", "vit")
    with pytest.raises(UnknownNameError, match="model family"):
        check_name("resnet18", "cnn4d")


def test_volumes_and_images_are_not_mixed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["model=cnn3d"], ["model=slices"], ["model=cnn", "data.dims=3"]):
        assert main(["train", "data=phantom", "data.patients=10", *options, f"run={tmp_path / 'x'}"]) == 2
        error = capsys.readouterr().err
        assert "volumes" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_slices_see_their_neighbours(pool: str) -> None:
    """Changing one slice changes what its neighbours' windows see: 3 of 7 windows, by hand."""
    model = create_model(
        "test_resnet", outputs=2, family="slices", channels=1, size=(7, 32, 32), arguments={"context": 1, "pool": pool}
    ).eval()
    volume = torch.randn(1, 1, 7, 32, 32)
    windows = [torch.cat([volume[:, :, max(0, i - 1)], volume[:, :, i], volume[:, :, min(6, i + 1)]], 1) for i in range(7)]
    backbone = model.backbone
    with torch.no_grad():
        seen = torch.stack([backbone.forward_head(backbone.forward_features(w), pre_logits=True) for w in windows])
        pooled = seen.mean(0) if pool == "mean" else seen.amax(0)
        torch.testing.assert_close(model(volume), backbone.fc(pooled))


def test_the_stem_of_a_volume_network_is_a_parameter() -> None:
    coarse = create_model("resnet18_3d", outputs=2, family="cnn3d", channels=1, size=(32, 32, 32), arguments={"stem_stride": 2})
    fine = create_model(
        "resnet18_3d", outputs=2, family="cnn3d", channels=1, size=(32, 32, 32),
        arguments={"stem_kernel": 3, "stem_stride": 1, "stem_pool": False},
    )  # fmt: skip
    volume = torch.zeros(1, 1, 32, 32, 32)
    assert coarse.eval().forward_features(volume).shape[2:] == (1, 1, 1)
    assert fine.eval().forward_features(volume).shape[2:] == (4, 4, 4)
    with pytest.raises(ConfigError, match="must be odd"):
        create_model("resnet18_3d", outputs=2, family="cnn3d", channels=1, size=(9, 9, 9), arguments={"stem_kernel": 4})
