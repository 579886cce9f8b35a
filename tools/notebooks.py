"""Run the notebooks of docs/tutorials and write their outputs: python tools/notebooks.py [NAME ...]."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"


def main(names: list[str]) -> None:
    """Run each in a folder of its own, one thread a kernel, and keep what was printed: no times, no counts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        book, started = nbformat.read(path, as_version=4), time.monotonic()
        with TemporaryDirectory() as folder:
            NotebookClient(book, timeout=600, resources={"metadata": {"path": folder}}).execute()
        for cell in book.cells:
            cell.metadata = {}
            if cell.cell_type == "code":
                cell.execution_count = None
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
                for output in cell.outputs:
                    if "execution_count" in output:
                        output.execution_count = None
        kept = {key: value for key, value in book.metadata.items() if key == "needs"}
        book.metadata = {**kept, "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(book, path)
        print(f"{path.name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
