"""A study's configurations in a database of Optuna's, for its dashboard and its other tools, while they are trained.

The ledger is what counts. The database is a copy, and may be deleted: going on with the study fills it again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from meden._checks import InputError, one_line
from meden.search.strategies import Proposals
from meden.search.tracker import Losses, mean_curve
from meden.space.quiet import quiet
from meden.study.ledger import Key
from meden.study.results import Trial

DATABASE = "study.db"
NUMBER = "configuration"
"""The attribute of a trial that says which configuration it is."""


class OptunaDatabase:
    """A tracker: one trial of Optuna's for each configuration, with parameters, held-out loss, and how it ended.

    Its intermediate values are the mean stop loss of the folds that have come so far, after each epoch. A trial is
    RUNNING from its first epoch on, and WAITING if the search ends before it does; going on with the search finishes
    it.

    Args:
        folder: of the study, and of the database unless it has an address of its own.
        proposals: what the values of a configuration were drawn from.
        storage: address of a database that Optuna can open, such as ``"postgresql+psycopg://..."`` (extra
            ``postgres``).

    Raises:
        InputError: if there is no such database. (Without an address nothing is opened before the search begins.)
    """

    name = "its database"

    def __init__(self, folder: Path, proposals: Proposals, storage: str | None = None) -> None:
        self._proposals = proposals
        self._url = storage or f"sqlite:///{folder / DATABASE}"
        self._storage: RDBStorage | None = None
        self._study: optuna.Study
        self._values: sqlalchemy.Table
        self._trials: dict[int, int] = {}
        """Their numbers in the database, by configuration."""
        self._whole: set[int] = set()
        """Configurations whose trials had ended when the database was opened, or have since."""
        self._curves: dict[int, dict[Key, list[float]]] = {}
        self._written: dict[int, list[float]] = {}
        """Intermediate values that are there; this and the curves are of trials that are RUNNING."""
        if storage is not None:
            try:
                self._connect()
            except Exception as error:
                missing = isinstance(error, ImportError) and storage.startswith("postgresql")
                cause = "pip install 'meden[postgres]'" if missing else one_line(error)
                raise InputError(
                    f"storage must be the address of a database that Optuna can open: {cause:.200}"
                ) from error

    def start(self, study: str) -> None:
        """Open the database, and see what is there."""
        with quiet():
            storage = self._connect()
            self._study = optuna.create_study(storage=storage, study_name=study, load_if_exists=True)
        for trial in self._study.get_trials(deepcopy=False):
            number = trial.user_attrs[NUMBER]
            self._trials[number] = trial._trial_id
            if trial.state.is_finished():
                self._whole.add(number)
        self._values = sqlalchemy.Table(
            "trial_intermediate_values", sqlalchemy.MetaData(), autoload_with=storage.engine
        )

    def begin(self, number: int, params: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the proposals know more of them
        """Add its trial, after those of all before it: their numbers are those of the configurations."""
        for new in range(number + 1):
            if new not in self._trials:
                asked = self._proposals.asked(new)
                trial = optuna.trial.create_trial(
                    state=TrialState.WAITING,
                    params=asked.params,
                    distributions=asked.distributions,
                    user_attrs={NUMBER: new},
                )
                self._trials[new] = self._connect().create_new_trial(self._study._study_id, trial)
        if number in self._whole:
            return False
        self._curves[number], self._written[number] = {}, []
        self._connect().set_trial_state_values(self._trials[number], TrialState.RUNNING)
        self._set_values(number, [])
        return True

    def epochs(self, losses: Sequence[Losses]) -> None:
        """Write intermediate values."""
        for key, _, _, stop_loss in losses:
            self._curves[key.configuration].setdefault(key, []).append(stop_loss)
        for number in {key.configuration for key, *_ in losses}:
            self._set_values(number, mean_curve(list(self._curves[number].values())))

    def end(self, trial: Trial) -> None:
        """Finish its trial, whether it was begun now or before."""
        attributes: dict[str, Any] = {"status": trial.outcome}
        if math.isfinite(trial.loss):
            attributes |= {"loss_error": trial.loss_error, "score": trial.score, "epochs": trial.median_epoch}
        storage, trial_id = self._connect(), self._trials[trial.number]
        for name, value in attributes.items():
            storage.set_trial_user_attr(trial_id, name, value)
        storage.set_trial_state_values(trial_id, _state(trial), [trial.loss] if math.isfinite(trial.loss) else None)
        self._whole.add(trial.number)
        del self._curves[trial.number], self._written[trial.number]

    def close(self) -> None:
        """Let go of the database; what is not finished waits for the search to go on."""
        if self._storage is not None:
            with suppress(Exception):  # one that could not be written may be so still
                for number in self._curves:
                    self._storage.set_trial_state_values(self._trials[number], TrialState.WAITING)
            self._storage.remove_session()
            self._storage.engine.dispose()
            self._storage = None

    def _connect(self) -> RDBStorage:
        if self._storage is None:
            self._storage = RDBStorage(self._url)
            if self._storage.engine.dialect.name == "sqlite":
                sqlalchemy.event.listen(self._storage.engine, "connect", _hurry)
                self._storage.engine.dispose()  # connections that are open already
        return self._storage

    def _set_values(self, number: int, curve: Sequence[float]) -> None:
        """Make a curve the intermediate values of a trial, in one go: Optuna writes each by itself, a hundred a second.

        Only what differs from what is there is written.
        """
        written = self._written[number]
        same = next((i for i, pair in enumerate(zip(written, curve, strict=False)) if pair[0] != pair[1]), None)
        first = min(len(written), len(curve)) if same is None else same
        table, trial = self._values, self._trials[number]
        rows = [
            {"trial_id": trial, "step": epoch, "intermediate_value": value, "intermediate_value_type": "FINITE"}
            for epoch, value in enumerate(curve[first:], start=first + 1)
        ]
        with self._connect().engine.begin() as connection:
            connection.execute(table.delete().where(table.c.trial_id == trial, table.c.step > first))
            if rows:
                connection.execute(table.insert(), rows)
        self._written[number] = list(curve)


def _hurry(connection: Any, _record: Any) -> None:
    """Do not wait for the disk: the ledger does, and the database is a copy."""
    connection.execute("PRAGMA synchronous = OFF")


def _state(trial: Trial) -> TrialState:
    if math.isfinite(trial.loss):
        return TrialState.COMPLETE
    return TrialState.PRUNED if trial.status == "dropped" else TrialState.FAIL
