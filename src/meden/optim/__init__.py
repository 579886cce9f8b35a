"""Where penalties meet updates: regularizers, couplings, the optimizer's metric, schedules, averages, sharpness."""

from meden.optim.activity import Activity, Recording, record_activity
from meden.optim.averaging import Averager, Averaging, blend, has_batch_norm, measure_batch_norm, refresh_batch_norm
from meden.optim.bound import Bound, bind
from meden.optim.groups import with_groups
from meden.optim.handle import Handle
from meden.optim.inplace import joined
from meden.optim.metric import adam_length, is_adaptive, one_length, step_length, within_reach
from meden.optim.operand import Joint, Operand, Single
from meden.optim.regularize import regularize
from meden.optim.regularizer import Regularizer, StrengthSchedule, labels
from meden.optim.schedules import Schedule
from meden.optim.sharpness import SAM, Sharpness, ascend, displacements, restore
from meden.optim.wrapped import inner_optimizer

__all__ = [
    "SAM",
    "Activity",
    "Averager",
    "Averaging",
    "Bound",
    "Handle",
    "Joint",
    "Operand",
    "Recording",
    "Regularizer",
    "Schedule",
    "Sharpness",
    "Single",
    "StrengthSchedule",
    "adam_length",
    "ascend",
    "bind",
    "blend",
    "displacements",
    "has_batch_norm",
    "inner_optimizer",
    "is_adaptive",
    "joined",
    "labels",
    "measure_batch_norm",
    "one_length",
    "record_activity",
    "refresh_batch_norm",
    "regularize",
    "restore",
    "step_length",
    "with_groups",
    "within_reach",
]
