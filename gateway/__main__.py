"""``python -m gateway``: runs the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys

from twostage.rpc.environment import set_serving_defaults
from twostage.rpc.flags import run_server, service_parser

_FLAGS = {
    "users": ("FILE|URL", "the user store: a SQLite file, made when absent, or redis://host:port/number"),
    "users-password-file": ("FILE", "holds the password of Redis"),
    "users-ca-file": ("FILE", "PEM of the authorities that sign the certificate of Redis; the system's"),
    "users-ttl-days": ("DAYS", "people of whom nothing new was recorded for so long are forgotten, 0 for never; 0"),
    "users-timeout-ms": ("MS", "how long Redis may take to answer a read, five times as long for a write; 100"),
    "retrieval": (
        "ADDRESS",
        "host:port, replicas by commas, or dns:///name:port; one for each shard by semicolons; 127.0.0.1:50051",
    ),
    "ranking": ("ADDRESS", "as for retrieval; 127.0.0.1:50052"),
    "retrieval-connections": ("N", "connections to each replica of retrieval, about 4 for each of its processes; 1"),
    "ranking-connections": ("N", "as for retrieval; 1"),
    "candidate-count": ("N", "how many candidates retrieval is asked for; 500"),
    "admission": ("true|false", "limit how much is worked on at once and refuse what is too much; true"),
    "max-concurrency": ("N", "questions worked on at once at most, the limit moves below it; 64"),
    "max-waiting": ("N", "questions that wait for a place at most; 64"),
    "default-deadline-ms": ("MS", "how long a caller without a deadline is taken to wait; 1000"),
    "generation-poll-seconds": ("S", "between two looks at the store's CURRENT, 0 for never again; 1"),
    "clients": ("FILE", "YAML of who may call, with hashes of their keys; everybody"),
    "stage-tls-ca": ("FILE", "PEM of the authorities that sign the stages' certificates; no encryption to stages"),
    "stage-tls-certificate": ("FILE", "PEM of the gateway's certificate for stages that ask for one"),
    "stage-tls-key": ("FILE", "PEM of its private key"),
    "stage-tls-server-name": ("NAME", "the name in the stages' certificates; the target's host"),
    "status-poll-seconds": ("S", "between two rounds of asking the stages which generations they hold; 1"),
    "experiments": ("FILE", "YAML of experiments, followed while the gateway runs; none"),
    "impressions": ("DIR", "the folder of the log of what is shown and done; nothing is logged"),
    "impressions-key-file": ("FILE", "the secret that stands for people's ids in the log, 16 bytes or more"),
    "impressions-unkeyed": ("true", "log without a secret, and so without people; false"),
    "impressions-share": ("PART", "the part of the answers that is logged, 0 to 1; 1"),
    "impressions-candidates": ("N", "candidates logged with each answer beside those shown, 0 to 2000; 0"),
    "impressions-roll-seconds": ("S", "a file of the log is completed after so long, the most a crash loses; 60"),
    "impressions-max-bytes": ("N", "what the log may take, the oldest files are deleted, 0 for no limit; 16 GiB"),
    "impressions-max-age-days": ("DAYS", "older files of the log are deleted, 0 for no limit; 0"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the gateway.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code, as twostage.rpc.launch documents it.
    """
    parser = service_parser(
        "gateway", "Answers Recommend, SimilarItems and RecordEvents.", _FLAGS, port=50050, metrics_port=9100
    )
    parser.add_argument(
        "--explain-enabled", action=argparse.BooleanOptionalAction, help="give explanations and traces; yes"
    )
    flags = vars(parser.parse_args(arguments))
    set_serving_defaults()
    return run_server("gateway", flags)


if __name__ == "__main__":
    sys.exit(main())
