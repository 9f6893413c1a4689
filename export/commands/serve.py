"""`medzoo serve`: exported files behind HTTP, with a page to try them on; needs no torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from medzoo.data.errors import ConfigError
from medzoo.data.extras import needed_for
from medzoo.export.files.integrity import read_metadata
from medzoo.export.runtime.dicom_report import DicomReports, read_codes
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.providers import PROVIDERS

with needed_for("services"):
    import python_multipart  # noqa: F401  # starlette finds out when the first form comes
    import uvicorn

    from medzoo.export.service.app import Service
    from medzoo.export.service.archive import Archive
    from medzoo.export.service.guard import LOOPBACK
    from medzoo.export.service.limits import Limits

KEY_VARIABLE, SHORTEST_KEY = "MEDZOO_SERVE_KEY", 16
_HERE = ("127.0.0.1", "localhost", "::1")
_LIMITS = {
    "body": "bytes of a request", "images": "images of a request", "pixels": "pixels of an image (volumes: voxels)",
    "seconds": "a request may take", "requests": "that are read or answered at once",
    "queue": "images of a model that are decoded, wait or are run", "memory": "bytes of bodies and pixels held at once",
    "batch": "images a run; 1: no answer depends on who asks at the same time", "wait": "milliseconds a batch waits for more",
    "readers": "threads that decode",
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the command until it is told to stop; returns the exit status, raises MedzooError on a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="medzoo serve", description="Serve exported models, and a page to try them on.")
    parser.add_argument("models", nargs="+", metavar="[NAME=]FILE.onnx", help="files of medzoo export; a text tower among them")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; by default this machine alone")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--allow-host", action="append", metavar="NAME", help="a name by which the service may be called")
    parser.add_argument("--key-file", type=Path, help=f"a file whose first line requests must carry; or {KEY_VARIABLE}")
    parser.add_argument("--dicomweb", metavar="ADDRESS", help="an archive's DICOMweb service, from which POST /dicomweb fetches")
    parser.add_argument("--dicomweb-key-file", type=Path, metavar="FILE", help="a file whose first line the archive is sent")
    parser.add_argument("--dicomweb-store", action="store_true", help="let requests store structured reports there")
    parser.add_argument("--dicom-codes", type=Path, metavar="FILE", help="codes of labels in those reports: docs/serving.md")
    parser.add_argument("--provider", default="cpu", help=f"{', '.join(PROVIDERS)}; what does not run is an error")
    parser.add_argument("--device", type=int, default=0, metavar="N", help="number of the GPU, with cuda or tensorrt")
    parser.add_argument("--threads", type=int, help="CPU threads an operator may use")
    for field in fields(Limits):
        kind = float if field.name in ("seconds", "wait") else int
        parser.add_argument(
            f"--{field.name}", type=kind, default=field.default, metavar="N", help=f"{_LIMITS[field.name]} ({field.default})"
        )
    given = parser.parse_args(list(arguments))
    limits = Limits(**{field.name: getattr(given, field.name) for field in fields(Limits)})
    key = read_key(given.key_file, os.environ)
    models = {
        name: (path, OnnxModel(path, provider=given.provider, device_id=given.device, threads=given.threads))
        for name, path in named_files(given.models).items()
    }
    for _, model in models.values():
        model.warm_up(batch_size=limits.batch)
    local = given.host in _HERE
    hosts = None if not local and not given.allow_host else {*LOOPBACK, *(given.allow_host or ())}
    archive, reports = archive_of(given, limits, models)
    service = Service(models, limits, key=key, hosts=hosts, archive=archive, reports=reports)
    if not local and key is None:
        print(
            f"medzoo: anyone who reaches {given.host}:{given.port} can use this service; set a key with --key-file",
            file=sys.stderr,
        )
    for name, (path, _) in models.items():
        print(f"{name}: {path} {read_metadata(path, 'medzoo.sha256')}")
    shown = f"[{given.host}]" if ":" in given.host else given.host
    print(f"open http://{shown}:{given.port}/  (ctrl-C ends it; research software, not a medical device)", flush=True)
    config = uvicorn.Config(
        service.app, host=given.host, port=given.port, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=int(limits.seconds) + 1, timeout_keep_alive=30, h11_max_incomplete_event_size=64 << 10,
        ws="none", http="h11",
    )  # fmt: skip
    server = uvicorn.Server(config)
    try:
        server.run()
    except KeyboardInterrupt:  # uvicorn has drained, and raises what it was told to end by
        return 0
    except SystemExit:  # the port is taken; uvicorn has said so
        raise ConfigError(f"cannot listen on {given.host}:{given.port}; choose another --port") from None
    return 0 if server.started else 2


def archive_of(
    given: argparse.Namespace, limits: Limits, models: Mapping[str, tuple[Path, OnnxModel]]
) -> tuple[Archive | None, dict[str, DicomReports]]:
    """Return the archive that the options name, and by model what makes the reports that are stored in it.

    Raises:
        ConfigError: If an option is for an archive and there is none, or a code is of no label of a model.
        MissingDependencyError: If pydicom, or highdicom for reports, is not installed.
    """
    if given.dicomweb is None:
        for option in ("dicomweb_key_file", "dicomweb_store", "dicom_codes"):
            if getattr(given, option):
                raise ConfigError(f"--{option.replace('_', '-')} is for --dicomweb ADDRESS; leave it out, or give both")
        return None, {}
    with needed_for("DICOM"):
        import pydicom  # noqa: F401  # said now, and not when the first image comes
    key = None if given.dicomweb_key_file is None else read_key(given.dicomweb_key_file, {})
    archive = Archive(given.dicomweb, limits, key)
    if not given.dicomweb_store:
        if given.dicom_codes is not None:
            raise ConfigError("--dicom-codes is for --dicomweb-store; leave it out, or give both")
        return archive, {}
    codes = {} if given.dicom_codes is None else read_codes(given.dicom_codes)
    asked = {name: (path, model) for name, (path, model) in models.items() if model.labels is not None}
    return archive, {name: DicomReports(path, model, Path(), codes) for name, (path, model) in asked.items()}


def named_files(words: Sequence[str]) -> dict[str, Path]:
    """Return name → file of `NAME=FILE` words; without a name it is the file's, before `.onnx`.

    Raises:
        ConfigError: If two have one name, or a name is not of letters, digits, `-`, `_` and `.`.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals:
            name, path = Path(word).name.removesuffix(".onnx"), word
        if not name or not all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in name):
            raise ConfigError(f"{name!r} is no name for a model: letters, digits, - _ and . alone; write NAME={path}")
        if name in found:
            raise ConfigError(f"two models are called {name} ({found[name]} and {path}); write NAME={path} with another name")
        found[name] = Path(path)
    return found


def read_key(path: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the key that requests must carry, of a file's first line or the environment; None: there is none.

    Raises:
        ConfigError: If the file cannot be read, or the key is short or of other than printable ASCII.
    """
    key = environment.get(KEY_VARIABLE)
    if path is not None:
        try:
            key = path.read_text(encoding="utf-8").splitlines()[0].strip()
        except (OSError, UnicodeDecodeError, IndexError):
            raise ConfigError(f"--key-file {path} has no line that can be read") from None
    if key is not None and (len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key):
        raise ConfigError(f"the key must have {SHORTEST_KEY} or more characters of printable ASCII, without spaces")
    return key
