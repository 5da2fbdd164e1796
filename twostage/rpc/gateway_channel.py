"""How clients reach gateways: one by its address, or all that a name stands for.

Clients leave the choice among gateways to gRPC, which any language has. Behind a name (``dns:///gateway:50050``) it

- asks every address of the name in turn (``round_robin``), not the first one for ever (``pick_first``, gRPC's default),
- watches each gateway's health, and so turns away from one that says that it stops before it does,
- makes a call that is UNAVAILABLE once or twice more, at another gateway where there is one,
- looks the name up again as soon as a connection ends, once a second at most; gRPC's own limit is once in 30 s, within
  which a rolling update can replace every gateway.

New gateways are found when a connection ends, which the gateways see to (``max_connection_age_seconds``).
"""

from __future__ import annotations

from importlib.resources import files

from twostage.rpc.channels import SERVICE_CONFIG, channel_options

BALANCED_SERVICE_CONFIG = files("twostage.rpc").joinpath("balanced_service_config.json").read_text(encoding="utf-8")
"""gRPC's service config for several gateways, as JSON; docs/balancing.md shows it to clients in other languages."""

_DNS = "dns:///"
_LOOK_UP_MILLISECONDS = 1_000


def gateway_channel_options(address: str, max_message_bytes: int) -> list[tuple[str, int | str]]:
    """Lists gRPC's options of a channel to a gateway, or to several.

    Args:
        address: ``host:port`` of one, or ``dns:///name:port``, where every address of the name is one.
        max_message_bytes: The largest message taken or sent.
    """
    if not address.startswith(_DNS):
        return channel_options(max_message_bytes, SERVICE_CONFIG)
    return [
        *channel_options(max_message_bytes, BALANCED_SERVICE_CONFIG),
        ("grpc.dns_min_time_between_resolutions_ms", _LOOK_UP_MILLISECONDS),
    ]
