"""What does my present set-up really penalise, and how hard?"""

from meden.audit.inspect import audit
from meden.audit.record import Audit, AuditWarning, Shrinkage, TensorAudit

__all__ = ["Audit", "AuditWarning", "Shrinkage", "TensorAudit", "audit"]
