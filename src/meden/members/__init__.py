"""Train members: one list in, one run each out. Those of equal structure are trained together."""

from meden.members.work import fit_many

__all__ = ["fit_many"]
