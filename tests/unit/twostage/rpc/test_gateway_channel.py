from __future__ import annotations

import json

from gateway.server import SERVICE_NAME
from twostage.rpc.channels import SERVICE_CONFIG
from twostage.rpc.gateway_channel import BALANCED_SERVICE_CONFIG, gateway_channel_options


def test_one_gateway_is_asked_over_one_connection() -> None:
    options = dict(gateway_channel_options("gateway.example:443", 2**20))
    assert options["grpc.service_config"] == SERVICE_CONFIG
    assert "grpc.dns_min_time_between_resolutions_ms" not in options


def test_every_address_of_a_name_is_asked_and_watched_and_the_name_looked_up_again_within_a_second() -> None:
    options = dict(gateway_channel_options("dns:///gateway:50050", 2**20))
    assert options["grpc.max_receive_message_length"] == 2**20
    assert options["grpc.dns_min_time_between_resolutions_ms"] == 1_000
    config = json.loads(str(options["grpc.service_config"]))
    assert config == json.loads(BALANCED_SERVICE_CONFIG)
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert config["healthCheckConfig"] == {"serviceName": SERVICE_NAME}


def test_retries_are_of_unavailable_alone_and_bounded() -> None:
    config = json.loads(BALANCED_SERVICE_CONFIG)
    (method,) = config["methodConfig"]
    assert method["name"] == [{}]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert method["retryPolicy"]["maxAttempts"] == 3
    assert config["retryThrottling"] == json.loads(SERVICE_CONFIG)["retryThrottling"]
