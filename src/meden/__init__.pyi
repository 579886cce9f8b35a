"""meden: how much to regularise, and how to know."""

from meden import augment, edits, models, noise, penalties
from meden._checks import InputError
from meden.audits import Audit, audit
from meden.data import Dataset, as_dataset
from meden.diagnosis import Diagnosis, diagnose
from meden.diagnosis.memory.memorisation import Memorisation
from meden.distributed import Sharding
from meden.edits import compact
from meden.history import History, Record
from meden.member import Member
from meden.optim import (
    Activity,
    Averager,
    Averaging,
    Handle,
    Regularizer,
    Schedule,
    Sharpness,
    StrengthSchedule,
    record_activity,
    regularize,
)
from meden.recipe import Recipe, Scale, layerwise_factors, transfer
from meden.run import Run, load_run
from meden.search import Comparison, Job, Path, compare, learning_curve, path, tune
from meden.space import Choice, FromData, IntUniform, LogUniform, Maybe, Uniform
from meden.stopping import EarlyStopping
from meden.strengths import Strength, convert
from meden.structure import ModelGroups, groups_of
from meden.study import Study, load_study
from meden.study.check import Check, check
from meden.study.evaluation import Evaluation, evaluate
from meden.study.learning_curve import LearningCurve
from meden.study.membership import memorisation
from meden.training.calibrate import calibrate
from meden.training.fit import fit
from meden.training.fit_many import fit_many

__all__ = [
    "Activity",
    "Audit",
    "Averager",
    "Averaging",
    "Check",
    "Choice",
    "Comparison",
    "Dataset",
    "Diagnosis",
    "EarlyStopping",
    "Evaluation",
    "FromData",
    "Handle",
    "History",
    "InputError",
    "IntUniform",
    "Job",
    "LearningCurve",
    "LogUniform",
    "Maybe",
    "Member",
    "Memorisation",
    "ModelGroups",
    "Path",
    "Recipe",
    "Record",
    "Regularizer",
    "Run",
    "Scale",
    "Schedule",
    "Sharding",
    "Sharpness",
    "Strength",
    "StrengthSchedule",
    "Study",
    "Uniform",
    "as_dataset",
    "audit",
    "augment",
    "calibrate",
    "check",
    "compact",
    "compare",
    "convert",
    "diagnose",
    "edits",
    "evaluate",
    "fit",
    "fit_many",
    "groups_of",
    "layerwise_factors",
    "learning_curve",
    "load_run",
    "load_study",
    "memorisation",
    "models",
    "noise",
    "path",
    "penalties",
    "record_activity",
    "regularize",
    "transfer",
    "tune",
]
