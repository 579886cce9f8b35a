"""Where penalties meet updates: regularizers, couplings, the optimizer's metric, schedules."""

from meden.optim.activity import Activity, Recording, record
from meden.optim.metric import adam_length, is_adaptive, one_length, step_length
from meden.optim.regularize import Handle, joined, regularize
from meden.optim.regularizer import Bound, Regularizer, StrengthSchedule, bind
from meden.optim.schedules import Schedule

__all__ = [
    "Activity",
    "Bound",
    "Handle",
    "Recording",
    "Regularizer",
    "Schedule",
    "StrengthSchedule",
    "adam_length",
    "bind",
    "is_adaptive",
    "joined",
    "one_length",
    "record",
    "regularize",
    "step_length",
]
