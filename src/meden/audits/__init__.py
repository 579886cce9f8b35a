"""What does my present set-up really penalise, and how hard?"""

from meden.audits.inspect import audit
from meden.audits.record import Audit, AuditWarning, Shrinkage, TensorAudit

__all__ = ["Audit", "AuditWarning", "Shrinkage", "TensorAudit", "audit"]
