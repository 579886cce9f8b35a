"""meden: how much to regularise, and how to know."""

from meden import models, penalties
from meden._checks import InputError
from meden.data import Dataset, as_dataset
from meden.history import History, Record
from meden.member import Member
from meden.members import fit_many
from meden.optim import Handle, Regularizer, Schedule, StrengthSchedule, regularize
from meden.recipe import Recipe
from meden.run import Run, load_run
from meden.search import Choice, IntUniform, LogUniform, Study, Uniform, tune
from meden.stopping import EarlyStopping
from meden.trainer import fit

__all__ = [
    "Choice",
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
    "StrengthSchedule",
    "Study",
    "Uniform",
    "as_dataset",
    "fit",
    "fit_many",
    "load_run",
    "models",
    "penalties",
    "regularize",
    "tune",
]
