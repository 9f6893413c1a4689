"""Composing `conf/` inside our own command, so that a wrong key ends with one line and the nearest right one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TypeVar, cast

from hydra import compose, initialize_config_module
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medzoo.data.errors import ConfigError, MedzooError, UnknownNameError
from medzoo.settings.own_files import REFERENCE, check_dataset, check_own_files, is_reference_or_plain, refuse_dataset, texts_in

T = TypeVar("T")
FOLDERS_OF_FILES = ("prompts",)
"""Folders of conf/ that hold files to be named, where Hydra sees a group: `prompts=` takes a name or a path."""
TESTS_ELSEWHERE = ("evaluate",)
"""Configurations that take another dataset beside a run's own, on=<dataset>."""
GROUPS = ("data", "model", "loss", "trainer", "evaluation", "experiment")
"""Hydra's groups: which of their files is chosen decides which settings there are."""
NAMED_VALUES = ("set.",)
"""Settings of `name → number` whose names are the user's own, with blanks and brackets that Hydra's grammar does not take."""


def compose_config(name: str, overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """Compose one of the commands' configurations.

    Args:
        name: `train`, `evaluate` or `export`.
        overrides: Hydra overrides (`model=vit`, `trainer.epochs=5`).
        config_dir: A folder of the user's own YAML, searched after medzoo's.

    Raises:
        UnknownNameError: On an unknown key or group option, with the nearest.
        ConfigError: On anything else that does not compose.
    """
    extra = []
    if config_dir is not None:
        if not config_dir.is_dir():
            raise ConfigError(f"no configuration folder at {config_dir} (--config-dir)")
        extra = [f"hydra.searchpath=[file://{config_dir.resolve()}]"]
    if name in TESTS_ELSEWHERE:  # a dataset of the group data, under the name on
        overrides = [f"data@{o}" if o.startswith("on=") else o for o in overrides]
    plain = [o for o in overrides if o.split("=")[0] in FOLDERS_OF_FILES or o.lstrip("+").startswith(NAMED_VALUES)]
    overrides = [override for override in overrides if override not in plain]
    parse_overrides(overrides)
    refuse_dataset(name, overrides)
    GlobalHydra.instance().clear()
    with initialize_config_module("medzoo.conf", version_base="1.3"):
        try:
            config = compose(name, overrides=[*extra, *overrides])
            check_dataset(name, config, overrides, config_dir)
            return _with_values(config, plain)
        except MissingConfigException as error:
            raise _unknown_option(error) from error
        except ConfigCompositionException as error:
            check_own_files(config_dir)
            base = _base(name, [*extra, *(o for o in overrides if o.split("=")[0].lstrip("+") in GROUPS)], extra)
            keys = setting_names(base)
            key = re.search(r"Could not override '([^']+)'", str(error))
            group = re.search(r"Could not find '?([\w/.-]+)'?|No match in the defaults list", str(error))
            if key or group:
                named = key.group(1) if key else ""
                wrong = named or next((o.split("=")[0].lstrip("+~") for o in overrides if _bad(o, keys)), "")
                raise _unknown_setting(wrong, base, keys, overrides) from error
            raise ConfigError(str(error)) from error
        except (HydraException, OmegaConfBaseException) as error:
            check_own_files(config_dir)
            raise ConfigError(str(error)) from error
        except MedzooError:
            raise
        except Exception as error:  # what a YAML of the user's can make Hydra raise has no family of errors
            if config_dir is None:
                raise
            check_own_files(config_dir)
            raise ConfigError(f"a file in {config_dir} does not compose ({type(error).__name__}: {error})") from error


def _base(name: str, overrides: Sequence[str], fallback: Sequence[str]) -> DictConfig:
    """Return a configuration with its groups chosen; without them where it has no such groups."""
    try:
        return compose(name, overrides=list(overrides))
    except HydraException:
        return compose(name, overrides=list(fallback))


def parse_overrides(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides one by one, so that the one Hydra's grammar does not take is named.

    Args:
        overrides: Hydra overrides.
        loader: Where `glob(...)` of a sweep looks for the options of a group.

    Raises:
        ConfigError: On what cannot be read, with how to write it.
    """
    parser = OverridesParser.create(config_loader=loader)
    parsed: list[Override] = []
    for override in overrides:
        try:
            found = parser.parse_overrides([override])
        except OverrideParseException as error:
            raise _unreadable(override, error) from error
        if not all(is_reference_or_plain(text) for _, text in texts_in(found[0].value())):  # read by Hydra, in quotes
            raise ConfigError(f"cannot read {override}: {REFERENCE}")
        parsed += found
    return parsed


def _unreadable(override: str, error: OverrideParseException) -> ConfigError:
    key, sign, value = override.partition("=")
    if not sign:
        return ConfigError(f"{override!r} is not a setting; settings are given as KEY=VALUE")
    if not is_reference_or_plain(value):
        return ConfigError(f"cannot read {override}: {REFERENCE}, in quotes: '{key}=\"...\"'")
    quoted = f'{key}="{value}"'
    simple = value[:1] not in ("[", "{") and not any(mark in value for mark in "'\"\\")  # quotes leave others another value
    try:
        OverridesParser.create().parse_overrides([quoted])
    except OverrideParseException:
        simple = False
    if simple:
        # Twice, because the shell takes the outer ones away.
        return ConfigError(f"cannot read {override}: its value must stand in quotes, and the argument in the shell's: '{quoted}'")
    reason = str(error).splitlines()[0]
    said = "" if override in reason else f" ({reason})"
    return ConfigError(f"cannot read {override}{said}; check its brackets and quotes")


def _unknown_setting(name: str, config: DictConfig, keys: Sequence[str], overrides: Sequence[str]) -> ConfigError:
    place = name.rpartition(".")[0]
    there = OmegaConf.select(config, place) if place in keys else None
    # Nothing is near a name in an empty dictionary, which takes any: what is missing is Hydra's sign for a new key.
    if isinstance(there, DictConfig) and not there:
        given = next((o for o in overrides if o.partition("=")[0] == name), f"{name}=...")
        return ConfigError(f"unknown setting {name!r}; what is added to {place} is written with a plus: +{given}")
    if name in keys:  # a mapping of names of the user's own, given as a whole
        plus = "" if f"{name}.".startswith(NAMED_VALUES) else "+"
        return ConfigError(f"{name} takes its names one by one: {plus}{name}.<name>=<value>")
    return UnknownNameError("setting", name, keys)


def _with_values(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key.startswith(NAMED_VALUES):
            place, _, name = key.partition(".")
            if place not in config:
                raise UnknownNameError("setting", key, setting_names(config))
            OmegaConf.update(config, place, {**config[place], name: _number(key, value)}, force_add=True)
            continue
        if key not in config:
            raise UnknownNameError("setting", key, setting_names(config))
        OmegaConf.update(config, key, None if value in ("", "null") else value)
    return config


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"{key}={value!r} is not a number") from None


def typed(schema: type[T], config: DictConfig) -> T:
    """Turn a composed configuration into its dataclass.

    Raises:
        UnknownNameError: On a key the schema does not have.
        ConfigError: On a value of the wrong type.
    """
    # Not by Hydra's ConfigStore: that is one for all Hydra programs of a process, and wants each schema named in each defaults
    # list. What is composed is typed here once, in each job of a sweep too.
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), config)
        return cast(T, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        reason = str(error).splitlines()[0]
        if f"Key '{str(key).rsplit('.', 1)[-1]}' not in" in reason:
            raise UnknownNameError("setting", key, setting_names(OmegaConf.structured(schema))) from error
        if "is not a ListConfig" in reason:
            raise ConfigError(f"{key} is a list: {key}=[...], with commas between its entries") from error
        raise ConfigError(f"{key}: {reason}") from error


def setting_names(config: DictConfig, prefix: str = "") -> list[str]:
    """Return the names of all settings of a composed configuration, groups among them: `trainer`, `trainer.epochs`."""
    found: list[str] = []
    for key in config:
        name = prefix + str(key)
        found.append(name)
        value = None if OmegaConf.is_missing(config, key) else config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none():
            found += setting_names(value, f"{name}.")
    return found


def _bad(override: str, keys: Sequence[str]) -> bool:
    key = override.split("=")[0]
    return not key.startswith(("+", "~", "hydra")) and key not in keys


def _unknown_option(error: MissingConfigException) -> ConfigError:
    missing = str(error.missing_cfg_file or "")
    group, _, option = missing.rpartition("/")
    # Of a file that one of the user's own names, Hydra does not say what there is.
    there = files("medzoo.conf").joinpath(group).iterdir() if group in GROUPS else ()
    found = error.options or [entry.name.removesuffix(".yaml") for entry in there if entry.name.endswith(".yaml")]
    options = [o for o in found if not o.rpartition("/")[2].startswith("_")]
    return UnknownNameError(group or "configuration", option, options)
