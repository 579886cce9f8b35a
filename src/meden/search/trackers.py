"""Searches in the tools that people watch training runs with: TensorBoard and MLflow (extra ``trackers``).

Both hold a run for each configuration: its parameters, losses of each fit after each epoch, and what came of it.
"""

from __future__ import annotations

import importlib
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meden._checks import InputError, check_choice
from meden.search.tracker import Losses, Tracker, mean_curve
from meden.study.ledger import Key
from meden.study.results import Trial

CURVES = ("train_loss", "stop_loss")
"""What is written of each epoch."""
NUMBER = "configuration"
"""The tag of a run of MLflow that says which configuration it is."""
MOST_METRICS = 1000
"""MLflow takes so many at once."""
STATUS = {"ok": "FINISHED", "dropped": "KILLED"}
"""How MLflow calls it; all else is ``FAILED``."""


class TensorBoard:
    """A tracker: event files for TensorBoard, a run for each configuration.

    Args:
        folder: where the runs' folders are made, ``configuration_0`` and so on; those that are there are replaced.
    """

    name = "TensorBoard's event files"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._make: Any = _imported("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._writers: dict[int, Any] = {}
        self._params: dict[int, dict[str, Any]] = {}

    def start(self, study: str) -> None:
        """Do nothing: folders are made as configurations begin."""

    def begin(self, number: int, params: Mapping[str, Any]) -> bool:
        """Begin a run anew."""
        folder = self._folder / f"configuration_{number}"
        shutil.rmtree(folder, ignore_errors=True)
        self._writers[number] = self._make(str(folder))
        self._params[number] = dict(params)
        return True

    def epochs(self, losses: Sequence[Losses]) -> None:
        """Write a curve for each fit."""
        for key, epoch, *pair in losses:
            for name, loss in zip(CURVES, pair, strict=True):
                if math.isfinite(loss):
                    self._writers[key.configuration].add_scalar(f"{name}/{_fit(key)}", loss, epoch)
        for writer in {key.configuration: self._writers[key.configuration] for key, *_ in losses}.values():
            writer.flush()

    def end(self, trial: Trial) -> None:
        """Write the mean curve, and the parameters with what came of them."""
        writer, params = self._writers.pop(trial.number), self._params.pop(trial.number)
        for name, curve in _means(trial).items():
            for epoch, loss in enumerate(curve, start=1):
                writer.add_scalar(name, loss, epoch)
        plain = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in params.items()}
        writer.add_hparams({**plain, "outcome": trial.status}, _results(trial), run_name=".")
        writer.close()

    def close(self) -> None:
        """Close the files of configurations that have not ended."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


class MLflow:
    """A tracker: an experiment of MLflow, named like the study, with a run for each configuration.

    Args:
        uri: of the store, such as ``"sqlite:///mlflow.db"`` or ``"http://localhost:5000"``.
    """

    name = "MLflow's store"

    def __init__(self, uri: str) -> None:
        self._uri, self._mlflow = uri, _imported("mlflow", "mlflow")
        self._client: Any = None
        self._experiment = ""
        self._whole: set[int] = set()
        self._runs: dict[int, str] = {}

    def start(self, study: str) -> None:
        """Open the store; runs that have not ended are made anew."""
        self._client = self._mlflow.MlflowClient(tracking_uri=self._uri)
        found = self._client.get_experiment_by_name(study)
        self._experiment = found.experiment_id if found else self._client.create_experiment(study)
        for run in self._all_runs():
            if run.info.status == "RUNNING":
                self._client.delete_run(run.info.run_id)
            else:
                self._whole.add(int(run.data.tags[NUMBER]))

    def begin(self, number: int, params: Mapping[str, Any]) -> bool:
        """Begin a run, unless it is there."""
        if number in self._whole:
            return False
        run = self._client.create_run(self._experiment, run_name=f"{NUMBER} {number}", tags={NUMBER: str(number)})
        self._runs[number] = run.info.run_id
        given = [self._mlflow.entities.Param(name, str(value)) for name, value in params.items()]
        self._client.log_batch(run.info.run_id, params=given)
        return True

    def epochs(self, losses: Sequence[Losses]) -> None:
        """Write a curve for each fit."""
        told: dict[int, list[tuple[str, float, int]]] = {}
        for key, epoch, *pair in losses:
            named = zip(CURVES, pair, strict=True)
            told.setdefault(key.configuration, []).extend((f"{name}/{_fit(key)}", loss, epoch) for name, loss in named)
        for number, values in told.items():
            self._log(number, values)

    def end(self, trial: Trial) -> None:
        """Write the mean curve, and what came of it."""
        curves = [(name, loss, epoch) for name, c in _means(trial).items() for epoch, loss in enumerate(c, start=1)]
        self._log(trial.number, [*curves, *((name, value, 0) for name, value in _results(trial).items())])
        run = self._runs.pop(trial.number)
        self._client.set_tag(run, "outcome", trial.outcome)
        self._client.set_terminated(run, STATUS.get(trial.status, "FAILED"))

    def close(self) -> None:
        """Do nothing: runs that have not ended are made anew when the search goes on."""

    def _log(self, number: int, values: Sequence[tuple[str, float, int]]) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._mlflow.entities.Metric(n, loss, now, epoch) for n, loss, epoch in values if math.isfinite(loss)
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._runs[number], metrics=metrics[start : start + MOST_METRICS])

    def _all_runs(self) -> list[Any]:
        runs: list[Any] = []
        token = None
        while token != "":
            page = self._client.search_runs([self._experiment], page_token=token)
            runs, token = runs + list(page), page.token or ""
        return runs


TRACKERS = ("tensorboard", "mlflow")
"""Names of those that write into the folder of a study."""


def trackers_of(trackers: Sequence[str | Tracker], study_dir: Path | str | None) -> list[Tracker]:
    """Return trackers, some of them by name.

    Raises:
        InputError: if one is unknown, not installed, or has no folder to write to.
    """
    given = [trackers] if isinstance(trackers, str) else trackers
    odd = next((tracker for tracker in given if not isinstance(tracker, str) and not hasattr(tracker, "epochs")), None)
    if given is not trackers or odd is not None:
        raise InputError(f"trackers must be a list of names or of trackers, got {odd or trackers!r}")
    return [_named(tracker, study_dir) if isinstance(tracker, str) else tracker for tracker in trackers]


def _named(name: str, study_dir: Path | str | None) -> Tracker:
    check_choice("trackers", name, TRACKERS)
    if study_dir is None:
        raise InputError(
            f"trackers must not hold {name!r} without study_dir, since it writes into the folder of the study"
        )
    folder = Path(study_dir).resolve()
    return TensorBoard(folder / "tensorboard") if name == "tensorboard" else MLflow(f"sqlite:///{folder}/mlflow.db")


def _imported(module: str, needs: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"trackers: {needs!r} must be installed: pip install 'meden[trackers]'") from None


def _fit(key: Key) -> str:
    return f"fold_{key.fold}" + (f"_seed_{key.seed}" if key.seed else "")


def _means(trial: Trial) -> dict[str, list[float]]:
    return {name: mean_curve([getattr(row, name) for row in trial.rows]) for name in CURVES}


def _results(trial: Trial) -> dict[str, float]:
    return {"held_out_loss": trial.loss, "held_out_score": trial.score} if math.isfinite(trial.loss) else {}
