"""Jobs: what a training function of somebody's own is given, and what is made of what it returns."""

from meden.search.jobs.answers import Answers
from meden.search.jobs.command import Command
from meden.search.jobs.functions import Functions, JobMember, TrainingFunction
from meden.search.jobs.hand_over import HandOver
from meden.search.jobs.job import Job
from meden.search.jobs.watch import Leak

__all__ = ["Answers", "Command", "Functions", "HandOver", "Job", "JobMember", "Leak", "TrainingFunction"]
