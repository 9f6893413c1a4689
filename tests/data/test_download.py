"""Downloads against a small server of our own: kept only with the right checksum, resumed where they broke."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medzoo.data.download import LOCK, fetch_file, file_checksum, verify_file
from medzoo.data.errors import DatasetError
from medzoo.data.info import RemoteFile

CONTENT = bytes(range(256)) * 4096
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `ranges`: honours Range; `breaks`: how many answers stop half-way; `asked`: the Range headers."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.breaks, self.status, self.asked = True, 0, 200, []

    def file(self, md5=MD5):
        return RemoteFile("toy.npz", f"http://127.0.0.1:{self.server_address[1]}/toy.npz", f"md5:{md5}")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def _part(folder, file):
    return folder / f"toy.npz.{file.checksum[4:12]}.part"


def _offsets(asked):
    return [int(header.removeprefix("bytes=").rstrip("-")) for header in asked]


def test_a_file_is_fetched_once_into_a_new_folder(server, tmp_path):
    folder = tmp_path / "new" / "folder"
    path = fetch_file(server.file(), folder)
    assert path == folder / "toy.npz"
    assert path.read_bytes() == CONTENT
    assert [p for p in folder.iterdir() if p.name != LOCK] == [path]  # nothing else is left but the lock
    fetch_file(server.file(), folder)
    assert server.asked == [None]


def test_a_broken_line_is_taken_up_again(server, tmp_path):
    server.breaks = 2
    assert fetch_file(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.asked[0] is None
    first, second = _offsets(server.asked[1:])
    assert 0 < first < second < len(CONTENT)


def test_what_came_is_kept_for_the_next_run(server, tmp_path):
    file = server.file()
    server.breaks = 4
    with pytest.raises(DatasetError, match="the connection broke"):
        fetch_file(file, tmp_path)
    came = _part(tmp_path, file).read_bytes()
    assert CONTENT.startswith(came)
    assert not (tmp_path / "toy.npz").exists()
    server.asked.clear()
    assert fetch_file(file, tmp_path).read_bytes() == CONTENT
    assert _offsets(server.asked) == [len(came)]
    assert len(came) > len(CONTENT) // 2


def test_a_server_that_cannot_resume_sends_it_all_again(server, tmp_path):
    file = server.file()
    _part(tmp_path, file).write_bytes(CONTENT[:100])
    server.ranges = False
    assert fetch_file(file, tmp_path).read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(server, tmp_path):
    file = server.file()
    _part(tmp_path, file).write_bytes(CONTENT)
    assert fetch_file(file, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"", b"not the start of it"])
def test_a_wrong_checksum_leaves_nothing_behind(server, tmp_path, part):
    file = server.file(MD5 if part else "0" * 32)
    if part:
        _part(tmp_path, file).write_bytes(part)
    with pytest.raises(DatasetError, match="does not have the published checksum"):
        fetch_file(file, tmp_path)
    assert [p for p in tmp_path.iterdir() if p.name != LOCK] == []


def test_a_server_that_refuses_is_quoted(server, tmp_path):
    server.status = 404
    with pytest.raises(DatasetError, match=r"answered 404; try again, or download it by hand to .*toy\.npz"):
        fetch_file(server.file(), tmp_path)


def test_without_a_network_there_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = RemoteFile("toy.npz", "http://127.0.0.1:1/toy.npz", f"md5:{MD5}")
    with pytest.raises(DatasetError, match="no connection; try again, or download it by hand") as caught:
        fetch_file(file, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetError, match=r"cannot save .*file"):
        fetch_file(server.file(), tmp_path / "file" / "folder")


def test_two_at_once_fetch_once(server, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for path in pool.map(lambda _: fetch_file(server.file(), tmp_path), range(2)):
            assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_checksums_are_compared_and_an_old_release_is_told(tmp_path):
    path = tmp_path / "toy.npz"
    path.write_bytes(CONTENT)
    assert file_checksum(path, "sha256") == hashlib.sha256(CONTENT).hexdigest()
    verify_file(path, RemoteFile("toy.npz", "", f"md5:{MD5}"))
    verify_file(path, RemoteFile("toy.npz", "", f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"))
    wrong = RemoteFile("toy.npz", "", "md5:" + "0" * 32)
    with pytest.raises(DatasetError, match=f"damaged or of another release .* MD5 is {MD5}, the published one {'0' * 32}"):
        verify_file(path, wrong)
    with pytest.raises(DatasetError, match=r"toy\.npz is of release 1: its"):
        verify_file(path, wrong, {MD5: "of release 1"})
