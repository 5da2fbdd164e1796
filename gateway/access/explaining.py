"""Who may ask why: explanations and traces tell of models and of the catalogue what not everybody should read."""

from __future__ import annotations

from dataclasses import dataclass

from twostage.errors import PermissionDenied
from twostage.rpc import caller


@dataclass(frozen=True, slots=True)
class Explaining:
    """The one place that decides about ``explain`` and ``trace`` of Recommend and about the method Explain.

    Args:
        enabled: Whether this gateway explains at all.
    """

    enabled: bool = True

    def require(self) -> None:
        """Lets the current caller ask for an explanation or a trace.

        Raises:
            PermissionDenied: This gateway does not explain, or not to this caller.
        """
        if not self.enabled:
            raise PermissionDenied("this gateway gives no explanations and no traces")
        if not caller.current().may_explain:
            raise PermissionDenied("the caller may not ask for explanations and traces")
