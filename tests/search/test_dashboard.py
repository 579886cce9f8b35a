"""Optuna's dashboard beside a search that runs: its own server is asked what it shows."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from meden import EarlyStopping, LogUniform, Recipe
from meden.models import MLP
from meden.search import tune

SERVER = os.environ.get("MEDEN_TEST_DASHBOARD") or shutil.which(
    "optuna-dashboard", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)
"""The program ``optuna-dashboard``; it may live in an environment of its own."""
SPACE = {"l2": LogUniform(1e-3, 1.0), "lr": LogUniform(1e-4, 1e-1)}
RECIPE = Recipe(epochs=16, batch_size=64, early_stopping=EarlyStopping(patience=3))


class Dashboard:
    """The server, once there is a database; what it answers, by path."""

    def __init__(self, database):
        self._database, self._process = database, None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    def start(self):
        if self._process is None:
            command = [SERVER, f"sqlite:///{self._database}", "--port", str(self._port), "--quiet"]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(self, path):
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/{path}", timeout=30) as answer:
                    return json.load(answer)
            except OSError:
                assert self._process.poll() is None, "the server has ended"
                time.sleep(0.1)
        raise TimeoutError

    def trials(self):
        (study,) = self.get("studies")["study_summaries"]
        return self.get(f"studies/{study['study_id']}?after=0")["trials"]

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


@pytest.mark.skipif(SERVER is None, reason="optuna-dashboard is not installed, nor named by MEDEN_TEST_DASHBOARD")
def test_it_shows_the_curves_of_a_race_that_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("meden.search.engine.TELL_EVERY", 0.0)
    monkeypatch.setattr("meden.search.tracker.SELDOM", 0.0)
    monkeypatch.setattr("meden.workers.workers.REPORT_EVERY", 0.0)
    dashboard, seen = Dashboard(tmp_path / "study.db"), []

    def look(progress):
        if progress.num_epochs:
            dashboard.start()
            seen.append(dashboard.trials())

    def make(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=8, depth=1)

    options = {"folds": 4, "budget": 12, "strategy": "random", "racing": True, "recipe": RECIPE}
    try:
        study = tune(make, "iris", SPACE, study_dir=tmp_path, on_progress=look, **options)
        while len(seen) < 1000 and "Running" in {trial["state"] for trial in seen[-1]}:  # what it read a moment ago
            time.sleep(0.1)
            seen.append(dashboard.trials())
    finally:
        dashboard.stop()
    running = [trial for told in seen for trial in told if trial["state"] == "Running"]
    lengths = {len(trial["intermediate_values"]) for trial in running}
    assert len(lengths) > 3 and max(lengths) > 4, "the curves of running trials grow"
    assert any({"Running", "Pruned"} <= {trial["state"] for trial in told} for told in seen)
    done = {trial["number"]: trial for trial in seen[-1]}
    assert sorted(done) == [trial.number for trial in study.trials]
    for trial in study.trials:
        shown = done[trial.number]
        assert shown["state"] == {"ok": "Complete", "dropped": "Pruned"}[trial.status]
        assert [point["step"] for point in shown["intermediate_values"]] == list(
            range(1, 1 + max(len(row.stop_loss) for row in trial.rows))
        )
        if trial.status == "ok":
            assert shown["values"] == [pytest.approx(trial.loss)]
