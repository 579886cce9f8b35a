"""Where penalties meet updates: regularizers, couplings, the optimizer's metric, schedules."""

from meden.optim.metric import is_adaptive, step_length
from meden.optim.regularize import Handle, regularize
from meden.optim.regularizer import Bound, Regularizer, StrengthSchedule, bind
from meden.optim.schedules import Schedule

__all__ = [
    "Bound",
    "Handle",
    "Regularizer",
    "Schedule",
    "StrengthSchedule",
    "bind",
    "is_adaptive",
    "regularize",
    "step_length",
]
