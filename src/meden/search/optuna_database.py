"""A study's configurations in a database of Optuna's, for its dashboard and its other tools.

The ledger is what counts. The database is written from it, and may be deleted: going on with the study fills it again.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from meden._checks import InputError, one_line
from meden.search.strategies import Proposals
from meden.space.quiet import quiet
from meden.study.results import Trial

DATABASE = "study.db"


class OptunaDatabase:
    """Configurations in a database, one trial of Optuna's each: parameters, held-out loss, and how they ended.

    Args:
        folder: of the study, and of the database unless it has an address of its own.
        identity: what the study is; studies of the same folder name share a database under names of their own.
        storage: address of a database that Optuna can open, such as ``"postgresql+psycopg://..."`` (extra
            ``postgres``).

    Raises:
        InputError: if there is no such database. (Without an address nothing is opened before the first trial.)
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], storage: str | None = None) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.name = f"{folder.resolve().name}-{digest[:8]}"
        self._url = storage or f"sqlite:///{folder / DATABASE}"
        self._storage: RDBStorage | None = None
        self._works = True
        if storage is not None:
            try:
                self._connect()
            except Exception as error:
                missing = isinstance(error, ImportError) and storage.startswith("postgresql")
                cause = "pip install 'meden[postgres]'" if missing else one_line(error)
                raise InputError(
                    f"storage must be the address of a database that Optuna can open: {cause:.200}"
                ) from error

    def follow(self, trials: Sequence[Trial], proposals: Proposals) -> None:
        """Write the trials that are not there yet; a failure is warned of, and costs nothing but the database."""
        try:
            if self._works:
                with quiet():
                    self._write(trials, proposals)
        except Exception as error:
            self._works = False
            cause = one_line(error)
            warnings.warn(f"the study goes on, but its database cannot be written: {cause:.200}", stacklevel=2)

    def close(self) -> None:
        """Let go of the database."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
            self._storage = None

    def _connect(self) -> RDBStorage:
        if self._storage is None:
            self._storage = RDBStorage(self._url)
        return self._storage

    def _write(self, trials: Sequence[Trial], proposals: Proposals) -> None:
        storage = self._connect()
        study = optuna.create_study(storage=storage, study_name=self.name, load_if_exists=True)
        num_there = storage.get_n_trials(storage.get_study_id_from_name(self.name))
        for trial in trials[num_there:]:
            asked = proposals.asked(trial.number)
            attributes = {"configuration": trial.number, "status": trial.outcome}
            if math.isfinite(trial.loss):
                attributes |= {"loss_error": trial.loss_error, "score": trial.score, "epochs": trial.median_epoch}
            study.add_trial(
                optuna.trial.create_trial(
                    state=_state(trial),
                    value=trial.loss if math.isfinite(trial.loss) else None,
                    params=asked.params,
                    distributions=asked.distributions,
                    user_attrs=attributes,
                )
            )


def _state(trial: Trial) -> TrialState:
    if math.isfinite(trial.loss):
        return TrialState.COMPLETE
    return TrialState.PRUNED if trial.status == "dropped" else TrialState.FAIL
