"""What a shell completes: verbs, the settings of each, the files that a group of settings chooses from.

The script is written once and knows nothing of later versions; nothing of medzoo runs while a user types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from medzoo.data.errors import UnknownNameError
from medzoo.settings.compose import GROUPS, compose_config, setting_names

SHELLS = ("bash", "fish")
COMPOSED = (
    "train", "evaluate", "report", "verify", "prepare", "zeroshot", "intervene", "robustness", "explain", "export", "bench",
    "card", "push",
)  # fmt: skip
DATASET = ("train", "verify", "prepare", "zeroshot")
"""Verbs whose settings are those of a dataset, too: of every one."""


def main(arguments: Sequence[str], verbs: Sequence[str]) -> int:
    """Print the completion of a shell: `medzoo completion bash >> ~/.bashrc`.

    Args:
        arguments: The shell's name.
        verbs: All verbs of the command line.

    Raises:
        UnknownNameError: If it is none of `SHELLS`.
    """
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        raise UnknownNameError("shell", " ".join(arguments), SHELLS)
    print(completion(arguments[0], verbs), end="")
    return 0


def completion(shell: str, verbs: Sequence[str]) -> str:
    """Return the script of a shell.

    Args:
        shell: One of `SHELLS`.
        verbs: All verbs; those of `COMPOSED` are completed with their settings.
    """
    settings = {verb: _settings(verb) for verb in COMPOSED}
    choices = {group: _choices(group) for group in GROUPS}
    return (_fish if shell == "fish" else _bash)(verbs, settings, choices)


def _settings(verb: str) -> list[str]:
    composed = (
        [compose_config(verb, [f"data={name}"]) for name in _choices("data")] if verb in DATASET else [compose_config(verb, [])]
    )
    return sorted({f"{name}=" for config in composed for name in setting_names(config)})


def _choices(group: str) -> list[str]:
    names = [entry.name for entry in files("medzoo.conf").joinpath(group).iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and not name.startswith("_"))


def _bash(verbs: Sequence[str], settings: Mapping[str, Sequence[str]], choices: Mapping[str, Sequence[str]]) -> str:
    of_verb = "\n".join(f'      {verb}) words="{" ".join(words)}" ;;' for verb, words in settings.items())
    of_group = "\n".join(f'      {group}) words="{" ".join(words)}" ;;' for group, words in choices.items())
    # Bash takes "=" for the end of a word: behind it the setting's name is two words back.
    return f"""\
_medzoo() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words="" key=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(verbs)}" -- "$current"))
    return
  fi
  if [ "$current" = "=" ]; then key="$before"; current=""; elif [ "$before" = "=" ]; then key="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  if [ -n "$key" ]; then
    case "$key" in
{of_group}
    esac
  else
    case "${{COMP_WORDS[1]}}" in
{of_verb}
    esac
    compopt -o nospace 2>/dev/null
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o bashdefault -o default -F _medzoo medzoo
"""


def _fish(verbs: Sequence[str], settings: Mapping[str, Sequence[str]], choices: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c medzoo -n __fish_use_subcommand -f -a '{' '.join(verbs)}'"]
    for verb, words in settings.items():
        chosen = [f"{group}={name}" for group, names in choices.items() if f"{group}=" in words for name in names]
        lines.append(f"complete -c medzoo -n '__fish_seen_subcommand_from {verb}' -a '{' '.join([*words, *chosen])}'")
    return "\n".join(lines) + "\n"
