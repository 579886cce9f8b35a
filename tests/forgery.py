"""Files as another version of meden could have written them: changed, and their checksums made to fit again."""

import json
from pathlib import Path

import yaml

from meden._checksums import FILES, checksums, sealed


def rewrite(path: Path, fields: dict) -> None:
    """Write fields into a JSON or YAML file; a ``run.json`` or ``study.json`` beside it takes note of it."""
    if path.suffix == ".json":
        fields.pop("sha256", None)
        path.write_bytes(sealed(json.dumps(fields)))
    else:
        path.write_text(yaml.safe_dump(fields))
    for name in ("run.json", "study.json"):
        last = path.with_name(name)
        if last.exists() and path.name != name and path.name in (beside := json.loads(last.read_text()))[FILES]:
            rewrite(last, beside | {FILES: checksums(path.parent, beside[FILES])})


def change(path: Path, **fields) -> None:
    """Set fields of a JSON or YAML file."""
    rewrite(path, yaml.safe_load(path.read_text()) | fields)


def drop(path: Path, *names: str) -> None:
    """Take fields out of a JSON or YAML file."""
    rewrite(path, {name: value for name, value in yaml.safe_load(path.read_text()).items() if name not in names})


def rewrite_ledger(path: Path, change_header, change_row=lambda row: row) -> None:
    """Write the lines of a ledger again, changed."""
    header, *rows = (json.loads(line) for line in path.read_text().splitlines())
    for line in (header, *rows):
        del line["sha256"]
    first = sealed(json.dumps(change_header(header)))
    path.write_bytes(b"\n".join([first, *(sealed(json.dumps(change_row(row)), first) for row in rows), b""]))
