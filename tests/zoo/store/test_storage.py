"""What cannot be written, and what helps."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from medzoo.data.errors import TrainingError
from medzoo.store.storage import remedy, write_file


def test_the_remedy_is_of_what_is_wrong(tmp_path: Path) -> None:
    assert remedy(OSError(errno.ENOSPC, "No space left on device")) == "free some space"
    assert "can be written to" in remedy(PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(TrainingError, match="Is a directory; see that this place can be written to, the old file stands"):
        write_file(tmp_path, b"a file")
