"""What mkdocs.yml cannot say: pages made from the package, the notebooks and the changelog while the site is built.

A reference page lists names of the package and leaves the text to their docstrings; :data:`PAGES` says which names go
on which page, and tests/docs says that none is left out.
"""

from __future__ import annotations

import ast
import atexit
import importlib
import inspect
import itertools
import json
import os
import re
import shutil
import tempfile
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
os.environ["MEDEN_LANG"] = "en"  # whoever builds it

GUESTS = {
    "sklearn": "scikit-learn",
    "huggingface": "Hugging Face",
    "lightning": "Lightning",
    "keras": "Keras",
    "skorch": "skorch",
}
"""Libraries that have a part of a page of their own: classes of several have one name."""

ENGLISH_ONLY = "*本页只有英文。*"
"""Below the title of a page that the Chinese site has in English."""

PAGES: dict[str, tuple[str, list[str]]] = {
    "training": (
        "Training",
        "fit fit_many Recipe EarlyStopping Schedule Averaging Averager Sharpness Member Run load_run History Record "
        "Sharding Scale transfer layerwise_factors".split(),
    ),
    "search": (
        "Search",
        "tune compare path learning_curve LogUniform Uniform IntUniform Choice Maybe FromData Job Comparison Path "
        "LearningCurve search.CV search.Limits search.Workers search.Command search.Asking search.ProgressLines "
        "search.nested search.NestedScore search.PathPoint search.FoldMean search.Alternative search.Losses".split(),
    ),
    "study": (
        "Studies",
        "Study load_study evaluate Evaluation calibrate study.Results study.Score study.Trial study.Verdict "
        "study.Importances study.FlatRegion".split(),
    ),
    "penalties-in-a-loop": (
        "Penalties in a loop, audits",
        "regularize Regularizer StrengthSchedule Handle audit Audit record_activity Activity groups_of "
        "ModelGroups params.Selector InputError".split(),
    ),
    "diagnosis": (
        "Diagnosis",
        "check Check diagnose Diagnosis memorisation Memorisation diagnosis.Finding diagnosis.Split diagnosis.split_of "
        "diagnosis.Evidence diagnosis.Curve diagnosis.rule diagnosis.Rule diagnosis.all_rules".split(),
    ),
    "data": ("Data", ["Dataset", "as_dataset", "data.*"]),
    "penalties": ("Penalties", ["penalties.*"]),
    "noise": ("Noise", ["noise.*", "noise.schedules.*"]),
    "augment": ("Augmentation", ["augment.*"]),
    "models": ("Models", ["models.*"]),
    "edits": ("Edits of a model", ["compact", "edits.*"]),
    "strengths": ("Strengths", ["convert", "Strength", "strengths.*"]),
    "tabular": (
        "Tables",
        "tabular.mixture.Mixture tabular.mixture.Part tabular.select.select_inputs tabular.selection.InputSelection "
        "tabular.selection.SelectedColumn study.stability.Frequency study.decision.Decision".split(),
    ),
    "integrations": ("Other libraries", [f"integrations.{guest}.*" for guest in GUESTS]),
}
"""By the file of a page: its title, and its names below ``meden``; a room with ``.*`` stands for all in it."""


def names_of(room: str) -> list[str]:
    """Return the public names of a room in their order: ``__all__``, else what it defines or gives on."""
    module = importlib.import_module(f"meden.{room}")
    listed = getattr(module, "__all__", None)
    if listed is None:
        listed = sorted(
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and not inspect.ismodule(value)
            and str(getattr(value, "__module__", "")).startswith(f"meden.{room}")
        )
    return [name for name in listed if inspect.getdoc(getattr(module, name)) and not _is_plain(getattr(module, name))]


def listed(page: str) -> list[str]:
    """Return the names of a reference page, without ``meden.`` before them; each stands on it once."""
    found: dict[str, None] = {}
    for name in PAGES[page][1]:
        if name.endswith(".*"):
            room = name.removesuffix(".*")
            found |= dict.fromkeys(f"{room}.{own}" for own in names_of(room) if own not in found)
        else:
            found[name] = None
    return list(found)


def reference(page: str) -> str:
    """Return a reference page as Markdown."""
    parts, guest = [f"# {PAGES[page][0]}"], ""
    for name in listed(page):
        room = name.rpartition(".")[0] if name.startswith("integrations.") else ""
        if room != guest:
            guest = room
            parts.append(f"## {GUESTS[guest.rpartition('.')[2]]} {{ #{guest.rpartition('.')[2]} }}")
        options = {"toc_label": f"'{name.rpartition('.')[2]}'"} | ({"heading_level": "3"} if guest else {})
        lines = "".join(f"\n      {option}: {value}" for option, value in options.items())
        parts.append(f"::: meden.{name}\n    options:{lines}")
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """Return the page that lists every name with the first line of its docstring."""
    lines = [
        "# Reference",
        "",
        "Every public name, from the docstrings; the examples in them run in the tests. "
        "The [command line](command-line.md) has a page of its own.",
        "",
    ]
    for page, (title, _) in PAGES.items():
        lines += [f"## [{title}]({page}.md)", "", "| name | |", "|---|---|"]
        for name in listed(page):
            lines.append(f"| [`{name}`]({page}.md#meden.{name}) | {_summary(name)} |")
        lines.append("")
    return "\n".join(lines)


def command_line() -> str:
    """Return all commands with their options, from the program itself."""
    from meden.cli.app import COMMANDS, load

    lines = ["# Command line", "", "Each command says the same with `--help`; `--json` prints one object for machines."]
    for name in COMMANDS:
        command = load(name)
        lines += ["", f"## meden {name}", "", _help(command.help), ""]
        rows = [row for param in command.params if (row := _parameter(param))]
        if rows:
            lines += ["| option | default | |", "|---|---|---|", *rows]
        for own, below in sorted(getattr(command, "commands", {}).items()):
            lines += ["", f"### meden {name} {own}", "", _help(below.help), ""]
            lines += ["| option | default | |", "|---|---|---|", *(r for p in below.params if (r := _parameter(p)))]
    return "\n".join(lines) + "\n"


def notebook(path: Path) -> str:
    """Return a notebook as Markdown: its text, its code, and below it what the code printed."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        printed = "".join(_printed(output) for output in cell["outputs"]).rstrip()
        if printed:
            parts.append(f"```{{ .text .output }}\n{printed}\n```")
        for output in cell["outputs"]:
            if svg := output.get("data", {}).get("image/svg+xml"):
                parts.append("".join(svg))
    parts.append(f"*This page is a notebook: `docs/tutorials/{path.name}`.*")
    return "\n\n".join(parts) + "\n"


def examples() -> str:
    """Return the programs of ``examples/`` as a page."""
    parts = ["# Examples", "Complete programs, as they are in the folder `examples/`; `--help` shows their options."]
    for path in sorted((ROOT / "examples").iterdir()):
        if language := {".py": "python", ".sh": "bash"}.get(path.suffix):
            code = path.read_text(encoding="utf-8").rstrip()
            parts.append(f"## {path.name} {{ #{path.name} }}\n\n```{language}\n{code}\n```")
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Return all pages that are made, by their place in the site."""
    made = {f"reference/{page}.md": reference(page) for page in PAGES}
    made |= {"reference/index.md": index(), "reference/command-line.md": command_line(), "examples.md": examples()}
    made |= {f"tutorials/{path.stem}.md": notebook(path) for path in sorted((ROOT / "docs/tutorials").glob("*.ipynb"))}
    made["changelog.md"] = re.sub(r"\]\((\w+\.md)\)", "]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    return made


def on_config(config: Any) -> Any:
    """Lay out the pages that are written and those that are made in a folder, and build from there (mkdocs calls this).

    The plugin of languages only takes pages that are files.
    """
    laid = Path(tempfile.mkdtemp(prefix="meden-docs-"))
    atexit.register(shutil.rmtree, laid, ignore_errors=True)
    shutil.copytree(ROOT / "docs", laid, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "*.ipynb"))
    for place, text in pages().items():
        (laid / place).parent.mkdir(exist_ok=True)
        (laid / place).write_text(text, encoding="utf-8")
    config.docs_dir = str(laid)
    return config


def on_page_context(context: Any, page: Any, **_: Any) -> Any:
    """Link the same page of the other language, in a way that also works from a folder (mkdocs calls this)."""
    own = page.url.removeprefix("zh/")
    languages = (("English", "en", own), ("中文", "zh", f"zh/{own}"))
    context["config"].extra["alternate"] = [{"name": n, "lang": lang, "link": link} for n, lang, link in languages]
    return context


def on_post_page(output: str, **_: Any) -> str:
    """Leave out the head's links to other languages: beside each the theme looks for a sitemap (mkdocs calls this)."""
    return re.sub(r'<link rel="alternate"[^>]*hreflang=[^>]*>\s*', "", output)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show blocks that the tests leave out like any other; a line's end is no space in Chinese (mkdocs calls this).

    A page that has no Chinese says so.
    """
    if page.url.startswith("zh/") and not page.file.src_uri.endswith(".zh.md"):
        markdown = re.sub(r"^(# .*)$", rf"\1\n\n{ENGLISH_ONLY}", markdown, count=1, flags=re.MULTILINE)
    markdown = re.sub(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u4e00-\u9fff])", "", markdown)
    return re.sub(r"^```(\w+) no-run$", r"```\1", markdown, flags=re.MULTILINE)


def on_page_content(html: str, **_: Any) -> str:
    """Make links of what docstrings name by a role, :func:`so` (mkdocs calls this)."""
    return re.sub(
        r":(?:func|data|class|meth|mod|attr|exc):<code>~?([\w.]+)</code>",
        r'<autoref identifier="\1" optional><code>\1</code></autoref>',
        html,
    )


def _is_plain(value: object) -> bool:
    """Whether a value's docstring is that of its type, or it is an alias of types."""
    return not (inspect.isclass(value) or inspect.isroutine(value))


def _summary(name: str) -> str:
    """Return the first line of a docstring, for a cell of a table."""
    room, _, own = f"meden.{name}".rpartition(".")
    module = importlib.import_module(room)
    value = getattr(module, own)
    text = (_text_below(module, own) if _is_plain(value) else inspect.getdoc(value)) or ""
    return text.split("\n")[0].replace("``", "`").replace("|", "\\|")


def _text_below(module: ModuleType, name: str) -> str:
    """Return the string below the assignment of a name that has no docstring of its own, such as an alias of types."""
    for line, below in itertools.pairwise(ast.parse(inspect.getsource(module)).body):
        if isinstance(line, ast.Assign) and [getattr(target, "id", "") for target in line.targets] == [name]:
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                return inspect.cleandoc(str(below.value.value))
    return ""


def _help(text: str | None) -> str:
    """Return the help of a command as Markdown; its examples are lines that are set apart."""
    plain = (text or "").replace("\b", "").strip()
    blocks = [block.strip("\n") for block in plain.split("\n\n")]
    shown = []
    for block in blocks:
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if lines and all(re.match(r"(meden|torchrun) ", line) for line in lines):
            shown.append("```bash\n" + "\n".join(lines) + "\n```")
        else:
            shown.append(escape(" ".join(lines), quote=False))
    return "\n\n".join(shown)


def _parameter(param: Any) -> str | None:
    """Return the row of an option or argument."""
    if getattr(param, "hidden", False) or param.name == "help":
        return None
    argument = param.param_type_name == "argument"
    name = f"`{param.name.upper()}`" if argument else ", ".join(f"`{o}`" for o in [*param.opts, *param.secondary_opts])
    default = "" if param.default in (None, ..., [], ()) or callable(param.default) else f"`{param.default}`"
    text = escape(" ".join((getattr(param, "help", None) or "").split()), quote=False).replace("|", "\\|")
    return f"| {name} | {'required' if param.required else default} | {text} |"


def _printed(output: dict[str, Any]) -> str:
    """Return what an output says as text."""
    return "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
