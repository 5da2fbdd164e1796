"""The gate at which callers say who they are."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter

from gateway.access.clients import Clients, ClientUnknown, CredentialsRefused
from twostage.errors import PermissionDenied, Unauthenticated
from twostage.rpc import caller, request_event
from twostage.rpc.gates import Leave
from twostage.rpc.security.call_credentials import API_KEY_METADATA, TOKEN_METADATA
from twostage.rpc.security.reloading import Reloaded

_MISSING = f"expected the metadata {API_KEY_METADATA}, or {TOKEN_METADATA} with Bearer and a token, received neither"
# One text for whatever is wrong with them: who tries keys should learn nothing from it.
_WRONG = "the credentials are not valid"


class ClientGate:
    """Finds out who calls, and lets them do what the file says; see `twostage.rpc.gates.Gate`.

    ``twostage_gateway_refused_callers_total{why}`` counts those it does not let in. The request's log event names the
    client, or why there is none; never a key or a token.

    Args:
        clients: The file of clients as it is now.
        registry: Where the counter is registered.
    """

    def __init__(self, clients: Reloaded[Clients], registry: CollectorRegistry) -> None:
        self._clients = clients
        self._refused = Counter(
            "twostage_gateway_refused_callers_total",
            "Calls refused for their credentials or for what their client may do.",
            ("why",),
            registry=registry,
        )

    def enter(self, method: str, context: Any) -> Leave | None:
        """Lets a call in and sets its caller.

        Raises:
            Unauthenticated: It carries no credentials, or wrong ones.
            PermissionDenied: The client may not call this method, or a token names a client that the file lacks.
        """
        api_key = authorization = None
        several = False
        for key, value in context.invocation_metadata():
            if key == API_KEY_METADATA:
                several = several or api_key is not None
                api_key = value
            elif key == TOKEN_METADATA:
                several = several or authorization is not None
                authorization = value
        try:
            if several:
                raise CredentialsRefused("several")  # noqa: TRY301 - goes the way of all others
            client = self._clients.current.identify(api_key, authorization)
        except CredentialsRefused as error:
            self._refuse(error.kind)
            raise Unauthenticated(_MISSING if error.kind == "missing" else _WRONG) from None
        except ClientUnknown:
            self._refuse("unknown_client")
            raise PermissionDenied("the token's client is none of this gateway's") from None
        if client.caller.name:
            request_event.attach(client=client.caller.name)
        if not client.may_call(method):
            self._refuse("method")
            raise PermissionDenied(f"the caller may not call {method.rpartition('/')[2]}")
        caller.set_current(client.caller)
        return None

    def _refuse(self, why: str) -> None:
        self._refused.labels(why).inc()
        request_event.attach(refused_for=why)
