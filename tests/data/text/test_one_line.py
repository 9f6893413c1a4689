"""What a file's name may do to a terminal."""

from __future__ import annotations

import pytest

from medzoo.data.text.one_line import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b.png", "a b.png"), ("\u00fc\u3000\U0001f468\u200d\U0001f469.png", "\u00fc\u3000\U0001f468\u200d\U0001f469.png"),
        ("a\nb", r"a\nb"), ("\x1b[31m", r"\x1b[31m"), ("\u202egnp.exe", r"\u202egnp.exe"), ("\u2028\x85", r"\u2028\x85"),
    ],
)  # fmt: skip
def test_what_commands_a_terminal_is_escaped_and_all_else_stays(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_what_is_kept_stays() -> None:
    assert one_line("a\n\x1b", keep="\n") == "a\n\\x1b"
