"""``twostage up``: the servers of one store, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

import click
from rich.table import Table
from rich.text import Text

from twostage.bundle.open_store import open_store
from twostage.bundle.store import Store
from twostage.finite_numbers import FiniteRange
from twostage.impressions.user_key import make_secret
from twostage.options import store_option
from twostage.processes import ChildFailedError
from twostage.stack import Ports, Stack
from twostage.terminal import make_console

_PORTS = Ports()
_PORT = click.IntRange(1, 65535)


def _read_users(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | str | None:
    """A file, or a URL, which the gateway reads."""
    if value is None or "://" in value:
        return value
    if Path(value).is_dir():
        raise click.BadParameter(f"expected a file, received the folder {value!r}")
    return Path(value)


@click.command()
@store_option
@click.option(
    "--users",
    metavar="FILE|URL",
    callback=_read_users,
    help="The user store: a SQLite file, or redis://host:port/number; needed where the store is a URL.  "
    "[default: users.sqlite in the store]",
)
@click.option("--gateway-port", type=_PORT, default=_PORTS.gateway, show_default=True)
@click.option("--retrieval-port", type=_PORT, default=_PORTS.retrieval, show_default=True)
@click.option("--ranking-port", type=_PORT, default=_PORTS.ranking, show_default=True)
@click.option("--model-server-port", type=_PORT, default=_PORTS.model_server, show_default=True)
@click.option(
    "--shards",
    "by_shard",
    is_flag=True,
    help="One retrieval server for each shard of the index, from --shard-port on, instead of one for all.",
)
@click.option(
    "--shard-port",
    type=_PORT,
    default=_PORTS.shards[0],
    show_default=True,
    help="The port of shard 0; the next ones are those of the others.",
)
@click.option(
    "--metrics/--no-metrics",
    default=True,
    show_default=True,
    help="Serve /metrics on 9100, 9101 and 9102, of HTTP on 9103; those of shards on 9110 and the next ones.",
)
@click.option(
    "--impressions",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Log what is shown and what people then do to this folder.  [default: nothing is logged]",
)
@click.option(
    "--impressions-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The secret that stands for people's ids in the log, made when there is none.  "
    "[default: impressions.key in the store]",
)
@click.option(
    "--experiments",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="A YAML file of experiments, followed while the gateway runs.  [default: none]",
)
@click.option("--http-port", type=_PORT, help="Serve JSON over HTTP before the gateway.  [default: not served]")
@click.option("--restart/--no-restart", default=True, show_default=True, help="Start a server again when it dies.")
@click.option(
    "--wait-seconds",
    type=FiniteRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How long the servers may take to serve.",
)
def up(
    store_path: Path,
    users: Path | str | None,
    gateway_port: int,
    retrieval_port: int,
    ranking_port: int,
    model_server_port: int,
    by_shard: bool,
    shard_port: int,
    metrics: bool,
    impressions: Path | None,
    impressions_key_file: Path | None,
    experiments: Path | None,
    http_port: int | None,
    restart: bool,
    wait_seconds: float,
) -> None:
    """Serve a store: model server, retrieval, ranking and gateway, each a process; Ctrl-C stops all.

    They follow the store: a generation that is published or rolled back to is served without a restart.
    """
    console = make_console(stderr=True)
    metrics_ports = (_PORTS.gateway_metrics, _PORTS.retrieval_metrics, _PORTS.ranking_metrics) if metrics else (0, 0, 0)
    shard_ports = range(shard_port, min(shard_port + len(_PORTS.shards), 65536))
    store = open_store(store_path)
    if users is None:
        if store.location != str(store.path):
            raise click.UsageError(f"--users: expected a file, for {store.location} is no folder, received none")
        users = store.path / "users.sqlite"
    try:
        stack = Stack(
            store,
            ports=Ports(
                gateway_port,
                retrieval_port,
                ranking_port,
                model_server_port,
                *metrics_ports,
                shards=shard_ports,
                shard_metrics=_PORTS.shard_metrics if metrics else (),
                http=http_port or 0,
                http_metrics=_PORTS.http_metrics if metrics else 0,
            ),
            users=users,
            # Children print what callers send, so nothing of it may be read as markup.
            on_line=lambda name, line: console.print(Text.assemble((f"{name:>12}", "dim"), " ", line), soft_wrap=True),
            say=lambda line: console.print(Text(line, "bold"), soft_wrap=True),
            restart=restart,
            by_shard=by_shard,
            gateway_flags=(
                *_log_flags(store, impressions, impressions_key_file),
                *(() if experiments is None else ("--experiments", str(experiments))),
            ),
        )
    except ChildFailedError as error:
        raise click.ClickException(str(error)) from error
    if by_shard and len(stack.retrieval) == 1:
        console.print("the index has one shard: one retrieval server holds all of it")
    stopped = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if not stopped.is_set():
            console.print(f"{signal.Signals(number).name}: stopping")
        stopped.set()
        stack.abandon_start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        stack.import_histories()
        seconds = stack.start(wait_seconds)
        if not stopped.is_set():
            _print_addresses(stack, seconds)
        while not stopped.wait(0.1):
            stack.watch()
    except ChildFailedError as error:
        raise click.ClickException(str(error)) from error
    finally:
        stack.stop()
    console.print("all servers stopped")


def _log_flags(store: Store, folder: Path | None, key_file: Path | None) -> tuple[str, ...]:
    """What tells the gateway to log; the secret's file is made when there is none.

    Raises:
        click.ClickException: It cannot be made.
    """
    if folder is None:
        return ()
    if key_file is None:
        if store.location != str(store.path):
            raise click.UsageError(f"--impressions-key-file: expected a file, for {store.location} is no folder")
        key_file = store.path / "impressions.key"
    try:
        make_secret(key_file)
    except OSError as error:
        raise click.ClickException(f"--impressions-key-file {key_file}: {error.strerror}") from error
    return ("--impressions", str(folder), "--impressions-key-file", str(key_file))


def _print_addresses(stack: Stack, seconds: dict[str, float]) -> None:
    table = Table("server", "address", "metrics", "process", "serving after", title=f"generation {stack.generation}")
    for child in stack.children:
        listener = stack.listeners[child.name]
        metrics = f"http://127.0.0.1:{listener.metrics_port}/metrics" if listener.metrics_port else ""
        table.add_row(child.name, listener.address, metrics, str(child.pid), f"{seconds[child.name]:.1f} s")
    make_console().print(table)
    click.echo(f"Ready. Try: twostage recommend --user ID --address {stack.listeners['gateway'].address}")
