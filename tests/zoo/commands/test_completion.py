"""What a shell completes, asked of a real bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from medzoo.cli import VERBS, main
from medzoo.commands.completion import COMPOSED, SHELLS, completion


@pytest.fixture(scope="module")
def script() -> str:
    return completion("bash", list(VERBS))


def completed(script: str, *words: str) -> list[str]:
    """Return what bash offers for the last word, as it parts words: at "=", too."""
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _medzoo; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script + asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_offers_verbs_settings_and_what_a_group_chooses_from(script: str) -> None:
    assert completed(script, "medzoo", "ex") == ["explain", "export"]
    assert completed(script, "medzoo", "train", "trainer.ep") == ["trainer.epochs="]
    assert completed(script, "medzoo", "train", "data.patie") == ["data.patients="]
    assert "data.file=" in completed(script, "medzoo", "verify", "data.fi")
    assert completed(script, "medzoo", "train", "model", "=", "cnn") == ["cnn", "cnn3d"]
    assert "phantom" in completed(script, "medzoo", "train", "data", "=")
    assert completed(script, "medzoo", "export", "precis") == ["precision="]
    assert completed(script, "medzoo", "doctor", "x") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_of_all_verbs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS)
    assert set(COMPOSED) < set(VERBS)


def test_another_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bsh"]) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err
