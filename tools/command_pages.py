"""Write what is made from the commands' own help: the manual page, and the options that a shell completes.

    python tools/command_pages.py            write share/man/man1/meden.1 and src/meden/cli/options.json
    python tools/command_pages.py --check    say whether they are as written

Loading every command takes seconds, since most load torch: a shell that completes reads the options from the file.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from meden.cli import app

ROOT = Path(__file__).parents[1]
os.environ["MEDEN_LANG"] = "en"  # whoever writes them
MAN = ROOT / "share" / "man" / "man1" / "meden.1"
OPTIONS = ROOT / "src" / "meden" / "cli" / "options.json"
ENVIRONMENT = (
    ("MEDEN_LANG", "Language of the terminal and of reports: en or zh. Default: that of LC_ALL, LC_MESSAGES or LANG."),
    ("MEDEN_DEBUG", "Set to anything, an unexpected failure shows where it happened."),
)
STATUS = (("0", "done"), ("1", "failed"), ("2", "bad input"), ("3", "training is to stop (meden job report)"))


def commands() -> dict[str, TyperCommand | TyperGroup]:
    """Return all commands by name, loaded."""
    return {name: app.load(name) for name in sorted(app.COMMANDS)}


def options_of(command: Any) -> list[Any]:
    """Return the options of a command, in the order of its help."""
    return [param for param in command.params if param.param_type_name == "option"]


def names(option: Any) -> list[str]:
    """Return all names of an option; those that switch it off come last."""
    return [*option.opts, *option.secondary_opts]


def outline() -> str:
    """Return the names of all options, as JSON: by command, those that take a value and those that take none."""
    found = {}
    for name, command in commands().items():
        if isinstance(command, TyperGroup):
            continue  # it loads nothing
        flags, values = [], []
        for option in options_of(command):
            # Names that switch something off stand for themselves: a shell completes one word.
            (flags if option.is_flag else values).append(" ".join(option.opts))
            flags += option.secondary_opts
        found[name] = {"flags": flags, "values": values}
    return json.dumps(found, indent=1) + "\n"


def roff(text: str) -> str:
    """Return a text as roff shows it: no character of it is an order."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "").replace("**", "")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def paragraphs(help_text: str) -> Iterator[str]:
    """Yield roff of a command's help: paragraphs, and lines of examples as they are typed."""
    for part in inspect.cleandoc(help_text).replace("\f", "").split("\n\n"):
        if part.startswith("    "):
            yield ".PP\n.RS 4\n.nf\n" + roff(inspect.cleandoc(part)) + "\n.fi\n.RE"
        else:
            yield ".PP\n" + roff(" ".join(part.split()))


def part(name: str, command: Any) -> Iterator[str]:
    """Yield roff of one command: what it is for, its usage and its options."""
    takes = [param.name.upper() for param in command.params if param.param_type_name == "argument"]
    yield f'.SS "{roff(name)}"'
    yield ".PP\n.B " + roff(" ".join(["meden", name, *takes, *(["[OPTIONS]"] if options_of(command) else [])]))
    yield from paragraphs(command.help or "")
    for param in command.params:
        if getattr(param, "hidden", False) or not getattr(param, "help", None):
            continue
        option = param.param_type_name == "option"
        head = ", ".join(names(param)) if option else param.name.upper()
        value = "" if not option or param.is_flag else " " + param.opts[0].lstrip("-").replace("-", "_").upper()
        yield f".TP\n.B {roff(head + value)}\n{roff(' '.join(param.help.split()))}"
    if isinstance(command, TyperGroup):
        for inner, each in sorted(command.commands.items()):
            yield from part(f"{name} {inner}", each)


def manual() -> str:
    """Return the manual page."""
    whole = inspect.cleandoc(app.commands.__doc__ or "")
    first, _, rest = whole.partition("\n\n")
    lines = [
        '.TH MEDEN 1 "" "meden" "User Commands"',
        ".SH NAME\nmeden \\- how much to regularise a PyTorch model",
        ".SH SYNOPSIS\n.B meden\n.I COMMAND\n[ARGUMENTS] [OPTIONS]",
        ".SH DESCRIPTION",
        *paragraphs(first + "\n\n" + rest),
        ".PP\n" + roff("Each command has --help; most have --json, which prints one JSON object on standard output."),
        ".SH COMMANDS",
    ]
    for name, command in commands().items():
        lines += part(name, command)
    lines.append(".SH EXIT STATUS")
    lines += [f".TP\n.B {status}\n{roff(meaning)}" for status, meaning in STATUS]
    lines.append(".SH ENVIRONMENT")
    lines += [f".TP\n.B {name}\n{roff(meaning)}" for name, meaning in ENVIRONMENT]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write what is not as the commands say, or name it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    stale = []
    for path, text in ((MAN, manual()), (OPTIONS, outline())):
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not given.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'is not what the commands say' if given.check else 'written'}")
    return int(given.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
