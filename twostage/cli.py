"""The ``twostage`` command. It starts services and training as processes, by module name, and imports none of them."""

from __future__ import annotations

import importlib
from typing import Any

import click

from twostage.bundle.errors import BundleError
from twostage.rpc.environment import prefer_grpc_polling

_COMMANDS = {
    "data": ("twostage.commands.offline:data", "Get, make or check a data set."),
    "train": ("twostage.commands.offline:train", "Train, index, evaluate and publish one generation."),
    "evaluate": ("twostage.commands.offline:evaluate", "Measure a generation offline, stage by stage."),
    "experiments": (
        "twostage.commands.experiments:experiments",
        "Check a file of experiments; report what they have shown.",
    ),
    "replay": ("twostage.commands.offline:replay", "Make logged answers once more and compare them."),
    "index": ("twostage.commands.offline:index", "Measure and choose a generation's index, or put it into Milvus."),
    "up": ("twostage.commands.up:up", "Serve a store: model server, retrieval, ranking and gateway."),
    "recommend": ("twostage.commands.recommend:recommend", "Ask the gateway and print a table."),
    "similar": ("twostage.commands.similar:similar", "Ask the gateway what is like an item and print a table."),
    "explain": ("twostage.commands.explain:explain", "Ask the gateway why an item is where it is, or what lost it."),
    "user": ("twostage.commands.user:user", "Show what is stored about a person, or delete it."),
    "status": ("twostage.commands.status:status", "Who holds which generation, health and versions."),
    "top": ("twostage.commands.top:top", "Watch stages, rungs, percentiles and generations live."),
    "generations": ("twostage.commands.generations:generations", "List, verify, roll back, remove generations."),
    "keys": ("twostage.commands.keys:keys", "Make API keys for the gateway's clients."),
    "load": ("twostage.commands.load:load", "Send an open-loop load to a gateway."),
    "demo": ("twostage.commands.demo:demo", "Train, serve and recommend once, end to end."),
}


class _LazyGroup(click.Group):
    """Imports a subcommand when it is asked for, so that ``twostage --help`` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; what is wrong with a store is said in one line."""
        try:
            return super().invoke(ctx)
        except BundleError as error:
            raise click.ClickException(str(error)) from error


# Read when gRPC is loaded, which the commands do that need it.
prefer_grpc_polling()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="twostage", prog_name="twostage")
def main() -> None:
    """Recommendations in two stages over gRPC."""


if __name__ == "__main__":
    main()
