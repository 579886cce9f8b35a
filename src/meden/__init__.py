"""meden: how much to regularise, and how to know."""

from meden import models, penalties
from meden._checks import InputError
from meden.audit import Audit, audit
from meden.data import Dataset, as_dataset
from meden.history import History, Record
from meden.member import Member
from meden.members import fit_many
from meden.optim import Activity, Handle, Regularizer, Schedule, StrengthSchedule, record, regularize
from meden.recipe import Recipe
from meden.run import Run, load_run
from meden.search import Choice, Comparison, IntUniform, LogUniform, Study, Uniform, compare, tune
from meden.stopping import EarlyStopping
from meden.strengths import Strength, convert
from meden.trainer import fit

__all__ = [
    "Activity",
    "Audit",
    "Choice",
    "Comparison",
    "Dataset",
    "EarlyStopping",
    "Handle",
    "History",
    "InputError",
    "IntUniform",
    "LogUniform",
    "Member",
    "Recipe",
    "Record",
    "Regularizer",
    "Run",
    "Schedule",
    "Strength",
    "StrengthSchedule",
    "Study",
    "Uniform",
    "as_dataset",
    "audit",
    "compare",
    "convert",
    "fit",
    "fit_many",
    "load_run",
    "models",
    "penalties",
    "record",
    "regularize",
    "tune",
]
