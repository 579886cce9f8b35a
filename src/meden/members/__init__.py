"""Train members: one list in, one run each out. Those of equal structure are trained together."""

from meden.members.work import Judge, fit_many, fit_stacks, plan_stacks

__all__ = ["Judge", "fit_many", "fit_stacks", "plan_stacks"]
