"""The front door: `medzoo VERB ...`. Each verb imports its room when it is called, so that `--help` costs nothing."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PLACES = {
    errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ELOOP, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST,
}  # fmt: skip
"""What is wrong with a place the user named, or with its disk; any other OSError is ours."""

HELP = """\
usage: medzoo VERB [KEY=VALUE ...]

  list models|datasets|weights [PATTERN]   names that can be used below
  train    data=... model=...      train, then report the best epoch     (Hydra overrides; -m sweeps)
  train    resume=RUN              go on with a run that was stopped
  evaluate run=RUN                 predict and report again
  report   run=RUN                 one page of an evaluated run, to send to anyone
  verify   data=...                what is in a dataset, what is missing, what leaks between splits
  prepare  data=... size=224       decode and resize once; then train with data.packed=FOLDER
  compare  RUN RUN...              runs side by side; tests: --paired     (medzoo compare --help)
  suite    GRID.yaml               datasets x models x seeds, resumed; one page (medzoo suite --help)
  tune     FILE.yaml               settings searched by validation, resumed (medzoo tune --help)
  ensemble RUN RUN...              one run that answers by their mean     (medzoo ensemble --help)
  zeroshot data=... model=clip     classify by prompts; a folder: images=[photos] classes=[a,b]
  intervene run=RUN                correct concepts, see what the classes do (model=cbm)
  robustness run=RUN               what noise, blur, JPEG, hairs, ... do to the figures
  explain  run=RUN sample=ID       where the network looked; a bottleneck's sample taken apart
  search   RUN --like ID           nearest images                        (medzoo search --help)
  export   run=RUN                 write one verified ONNX file
  predict  FILE.onnx IMAGES...     classify images; needs no torch       (medzoo predict --help)
  card     run=RUN                 the model card, as far as the run can write it
  push     run=RUN repo=OWNER/NAME a bundle to the Hugging Face hub, or output=FOLDER
  pull     OWNER/NAME              fetch a bundle and check it           (medzoo pull --help)
  serve    FILE.onnx...            a service and its page; needs no torch (medzoo serve --help)
  bench    run=RUN                 time torch and ONNX Runtime side by side
  demo     [FOLDER]                a shipped model on shipped images: no torch, no network
  doctor                           what is installed, which accelerators truly work
  show     train|evaluate|...      the settings of a verb, composed
  completion bash|fish             what a shell completes; see docs/training.md

  VERB --help                      the settings of a verb and what each means
  --config-dir FOLDER              your own YAML, beside medzoo's
  --version, --help

examples:
  medzoo train data=phantom model=cnn run=runs/first
  medzoo train data=medmnist data.set=retinamnist data.download=true model.backbone=resnet50
  medzoo export run=runs/first
  medzoo predict runs/first/model.onnx images/ --json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; None: the process's own.

    Returns:
        The exit status: 0, or 2 after one line about a mistake of the user's.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if given else 2
    if given[0] == "--version":
        from importlib.metadata import version

        print(f"medzoo {version('medzoo')}")
        return 0
    from medzoo.data.errors import ConfigError, MedzooError, StoppedError, UnknownNameError
    from medzoo.data.text.one_line import one_line
    from medzoo.ranks import first_to_say, world

    _print_anything()
    try:
        for word in given:
            if any("\udc80" <= letter <= "\udcff" for letter in word):  # how Python keeps the bytes of a file's name (PEP 383)
                raise ConfigError(f"{os.fsencode(word).decode('utf-8', 'backslashreplace')} is not UTF-8; rename it")
        if given[0] not in VERBS:
            raise UnknownNameError("verb", given[0], VERBS, where=" (medzoo --help lists them)")
        if world() > 1 and given[0] not in SHARED:
            raise ConfigError(f"medzoo {given[0]} is the work of one process: start it without torchrun")
        if given[0] in BY_PLACE and {"-h", "--help"} & set(given[1:2]):
            print("\n".join(f"usage: medzoo {line[2:]}" for line in HELP.splitlines() if line.startswith(f"  {given[0]} ")))
            return 0
        return VERBS[given[0]](given[1:])
    except MedzooError as error:
        if "debug=true" in [word.lower() for word in given]:
            raise
        if first_to_say(str(error), by_all=isinstance(error, StoppedError)):
            print("medzoo:", one_line(str(error), keep="\n"), file=sys.stderr)  # a message may have lines of its own
        return error.status
    except ModuleNotFoundError as error:
        from medzoo.data.extras import is_ours, missing

        if error.name is None or is_ours(error.name) or "debug=true" in given:
            raise
        print(f"medzoo: {given[0]} needs {missing(error.name)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (head, say) has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in PLACES or "debug=true" in given:
            raise
        where = "" if error.filename is None else f"{str(error.filename)[:200]}: "
        print(f"medzoo: {where}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        after = {
            **dict.fromkeys(("suite", "tune"), "the same command goes on"),
            "train": "medzoo train resume=<run> goes on from the last saved state",
        }
        print(f"medzoo: interrupted{'; ' + after[given[0]] if given[0] in after else ''}", file=sys.stderr)
        return 130


def _print_anything() -> None:
    """Escape what a terminal's or a pipe's encoding does not have, a name in another script, rather than stop in the middle."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _train(arguments: Sequence[str]) -> int:
    overrides, folder = _split(arguments)
    if (wanted := _help("train", "medzoo.settings.schema", "TrainConfig", overrides, folder)) is not None:
        return wanted
    if "-m" in overrides or "--multirun" in overrides:
        from medzoo.commands.sweep import sweep

        return sweep(overrides, folder)
    given = dict(word.partition("=")[::2] for word in overrides)
    if "resume" in given:
        import yaml

        from medzoo.commands.train import resume

        resume(Path(given.pop("resume")), {key: yaml.safe_load(value) for key, value in given.items()})
        return 0
    from medzoo.settings.compose import compose_config

    config = compose_config("train", overrides, folder)
    # A wrong column or a missing file is found before torch and its kin are imported, which takes seconds.
    from medzoo.data.registry import load_dataset
    from medzoo.settings.compose import typed
    from medzoo.settings.schema import TrainConfig

    dataset = load_dataset(**typed(TrainConfig, config).data)
    from medzoo.commands.train import main as train

    train(config, dataset)
    return 0


def _own(module: str) -> Callable[[Sequence[str]], int]:
    """Return a verb whose command line is its own: the `main` of a module reads it."""

    def run(arguments: Sequence[str]) -> int:
        from importlib import import_module

        status: int = import_module(module).main(arguments)
        return status

    return run


def _composed(name: str, schema: str, module: str) -> Callable[[Sequence[str]], int]:
    """Return a verb whose settings are composed from conf/, checked by a dataclass (module:class) and given to a `main`."""

    def run(arguments: Sequence[str]) -> int:
        from importlib import import_module

        from medzoo.settings.compose import compose_config, typed

        overrides, folder = _split(arguments)
        home, _, kind = schema.partition(":")
        if (wanted := _help(name, home, kind, overrides, folder)) is not None:
            return wanted
        settings = typed(getattr(import_module(home), kind), compose_config(name, overrides, folder))
        status = import_module(module).main(settings)
        return status if type(status) is int else 0

    return run


def _help(name: str, home: str, kind: str, overrides: Sequence[str], folder: Path | None) -> int | None:
    """Print a verb's settings with their meaning if the words ask for help, and return the status; None if they do not."""
    words = [word for word in overrides if word not in ("-h", "--help")]
    if len(words) == len(overrides):
        return None
    from importlib import import_module

    from medzoo.settings.compose import compose_config
    from medzoo.settings.describe import settings_help

    print(settings_help(name, getattr(import_module(home), kind), compose_config(name, words, folder)), end="")
    return 0


def _show(arguments: Sequence[str]) -> int:
    from omegaconf import OmegaConf

    from medzoo.data.errors import UnknownNameError
    from medzoo.settings.compose import compose_config

    overrides, folder = _split(arguments)
    verbs = (
        "train", "evaluate", "export", "zeroshot", "intervene", "robustness", "explain", "report", "prepare", "verify", "bench",
        "card", "push",
    )  # fmt: skip
    if not overrides or overrides[0] not in verbs:
        raise UnknownNameError("configuration", overrides[0] if overrides else "", verbs)
    print(OmegaConf.to_yaml(compose_config(overrides[0], overrides[1:], folder)), end="")
    return 0


def _list(arguments: Sequence[str]) -> int:
    from fnmatch import fnmatchcase

    from medzoo.data.errors import ConfigError, UnknownNameError, nearest

    kinds = {"models": _model_lines, "datasets": _dataset_lines, "weights": _weights_lines}
    if not arguments or arguments[0] not in kinds:
        raise UnknownNameError("list", arguments[0] if arguments else "", kinds)
    if len(arguments) > 2:  # the shell has put file names in the pattern's place
        raise ConfigError(f"medzoo list {arguments[0]} takes one pattern, got {len(arguments) - 1} words; quote it: 'vit*'")
    pattern = arguments[1] if len(arguments) > 1 else "*"
    lines = kinds[arguments[0]]()
    found = [line for line, names in lines.items() if any(fnmatchcase(name, pattern) for name in names)]
    if not found:
        near = nearest(pattern.strip("*?"), {name for names in lines.values() for name in names})
        remedy = f"did you mean {' or '.join(map(repr, near))}?" if near else f"medzoo list {arguments[0]} prints all"
        one = {"weights": "card"}.get(arguments[0], arguments[0].removesuffix("s"))
        raise ConfigError(f"no {one} matches {pattern!r}; {remedy}")
    print("\n".join(found))
    return 0


def _model_lines() -> dict[str, tuple[str, ...]]:
    """Return what is printed of each model, with the names a pattern may match."""
    from medzoo.models.registry import list_models

    names = set(list_models())
    try:
        import open_clip
    except ModuleNotFoundError:
        return {name: (name,) for name in sorted(names)}
    from medzoo.models.clip.model import CLIP_TINY

    # Captioning models, which open_clip lists too, are refused by model=clip.
    offered = {name for name in open_clip.list_models() if "multimodal_cfg" not in (open_clip.get_model_config(name) or {})}
    return {name: (name,) for name in sorted({*names, *offered, CLIP_TINY})}


def _dataset_lines() -> dict[str, tuple[str, ...]]:
    """Return what is printed of each dataset, with the names a pattern may match."""
    from medzoo.data.registry import dataset_infos, list_datasets

    return {
        f"{info.name:<34} {info.licence:<18} {info.title}": (info.name, name)
        for name in list_datasets()
        for info in dataset_infos(name)
    }


def _weights_lines() -> dict[str, tuple[str, ...]]:
    """Return what is printed of each card of published weights, with the names a pattern may match."""
    from medzoo.models.catalogue.card import PREFIX, catalogue

    return {
        f"{PREFIX + name:<28} {'/'.join(card.families):<6} {card.licence + ' (gated)' * card.gated:<28} {card.title}": (
            name, PREFIX + name, card.modality, card.title,
        )
        for name, card in catalogue().items()
    }  # fmt: skip


def _split(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """Part overrides from `--config-dir FOLDER`."""
    words, folder = list(arguments), None
    for index, word in enumerate(words):
        if word.startswith("--config-dir"):
            from medzoo.data.errors import ConfigError

            if "=" in word:
                folder = Path(word.partition("=")[2])
                del words[index]
            elif index + 1 < len(words):
                folder = Path(words[index + 1])
                del words[index : index + 2]
            else:
                raise ConfigError("--config-dir needs a folder")
            break
    return words, folder


def _completion(arguments: Sequence[str]) -> int:
    from medzoo.commands.completion import main as completion

    return completion(arguments, list(VERBS))


SHARED = ("train", "evaluate", "zeroshot")
"""Verbs whose work several processes share."""
BY_PLACE = ("list", "show", "completion")
"""Verbs whose words have neither settings nor flags: their help is their line of `HELP`."""
VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "list": _list,
    "train": _train,
    "evaluate": _composed("evaluate", "medzoo.settings.verbs:EvaluateConfig", "medzoo.commands.evaluate"),
    "report": _composed("report", "medzoo.settings.verbs:ReportConfig", "medzoo.commands.report"),
    "verify": _composed("verify", "medzoo.settings.verbs:VerifyConfig", "medzoo.commands.verify"),
    "prepare": _composed("prepare", "medzoo.settings.verbs:PrepareConfig", "medzoo.commands.prepare"),
    "compare": _own("medzoo.commands.compare"),
    "suite": _own("medzoo.commands.suite"),
    "tune": _own("medzoo.commands.tune"),
    "ensemble": _own("medzoo.commands.joined.ensemble"),
    "zeroshot": _composed("zeroshot", "medzoo.settings.verbs:ZeroshotConfig", "medzoo.commands.zeroshot"),
    "intervene": _composed("intervene", "medzoo.settings.verbs:InterveneConfig", "medzoo.commands.intervene"),
    "robustness": _composed("robustness", "medzoo.settings.verbs:RobustnessConfig", "medzoo.commands.robustness"),
    "explain": _composed("explain", "medzoo.settings.verbs:ExplainConfig", "medzoo.commands.explain"),
    "search": _own("medzoo.commands.search"),
    "export": _composed("export", "medzoo.export.settings:ExportConfig", "medzoo.export.commands.export"),
    "predict": _own("medzoo.export.commands.predict"),
    "card": _composed("card", "medzoo.settings.verbs:CardConfig", "medzoo.commands.share.card"),
    "push": _composed("push", "medzoo.settings.verbs:PushConfig", "medzoo.export.commands.push"),
    "pull": _own("medzoo.commands.share.pull"),
    "serve": _own("medzoo.export.commands.serve"),
    "bench": _composed("bench", "medzoo.export.settings:BenchConfig", "medzoo.export.commands.bench"),
    "demo": _own("medzoo.demo.show"),
    "doctor": _own("medzoo.export.commands.doctor"),
    "show": _show,
    "completion": _completion,
}
