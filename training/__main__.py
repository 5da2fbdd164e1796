"""The offline commands: ``python -m training data | train | evaluate | index | …``, reached through ``twostage``."""

from __future__ import annotations

import os

# TensorFlow's start-up notes are not what a person asked for; it reads this when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click

from training.commands.data import data
from training.commands.evaluate import evaluate
from training.commands.experiments import experiments
from training.commands.index import index
from training.commands.replay import replay
from training.commands.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Data sets, training and evaluation."""


main.add_command(data)
main.add_command(train)
main.add_command(evaluate)
main.add_command(index)
main.add_command(replay)
main.add_command(experiments)

if __name__ == "__main__":
    main(prog_name="twostage")
