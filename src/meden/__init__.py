"""meden: how much to regularise, and how to know.

Public names load when they are first used, so that importing one part costs no other; type checkers read
``__init__.pyi``.
"""

from importlib import import_module
from typing import Any

_ROOMS = {
    "Activity": "optim",
    "Audit": "audits",
    "Averager": "optim",
    "Averaging": "optim",
    "Check": "study.check",
    "Choice": "space",
    "Comparison": "search",
    "Dataset": "data",
    "Diagnosis": "diagnosis",
    "EarlyStopping": "stopping",
    "Evaluation": "study.evaluation",
    "FromData": "space",
    "Handle": "optim",
    "History": "history",
    "InputError": "_checks",
    "IntUniform": "space",
    "Job": "search",
    "LearningCurve": "study.learning_curve",
    "LogUniform": "space",
    "Maybe": "space",
    "Member": "member",
    "Memorisation": "diagnosis.memory.memorisation",
    "ModelGroups": "structure",
    "Path": "search",
    "Recipe": "recipe",
    "Record": "history",
    "Regularizer": "optim",
    "Run": "run",
    "Scale": "recipe",
    "Schedule": "optim",
    "Sharding": "distributed",
    "Sharpness": "optim",
    "Strength": "strengths",
    "StrengthSchedule": "optim",
    "Study": "study",
    "Uniform": "space",
    "as_dataset": "data",
    "audit": "audits",
    "augment": "augment",
    "calibrate": "training.calibrate",
    "check": "study.check",
    "compact": "edits",
    "compare": "search",
    "convert": "strengths",
    "diagnose": "diagnosis",
    "edits": "edits",
    "evaluate": "study.evaluation",
    "fit": "training.fit",
    "fit_many": "training.fit_many",
    "groups_of": "structure",
    "layerwise_factors": "recipe",
    "learning_curve": "search",
    "load_run": "run",
    "load_study": "study",
    "memorisation": "study.membership",
    "models": "models",
    "noise": "noise",
    "path": "search",
    "penalties": "penalties",
    "record_activity": "optim",
    "regularize": "optim",
    "transfer": "recipe",
    "tune": "search",
}
"""Where each public name is defined; a room that is public stands under its own name."""

__all__ = sorted(_ROOMS)


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'meden' has no attribute {name!r}")
    room = import_module(f"meden.{_ROOMS[name]}")
    value = room if name == _ROOMS[name] else getattr(room, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
