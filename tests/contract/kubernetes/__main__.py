"""``python -m tests.contract.kubernetes``: renders every combination of ``k8s/`` and checks it."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from tests.contract.kubernetes.checks import find_problems
from tests.contract.kubernetes.combinations import K8S, RenderingFailed, combinations, read_rules, render
from tests.contract.kubernetes.dockerfiles import check_dockerfiles
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.promtool import run_promtool
from tests.contract.kubernetes.schemas import VERSIONS, Schemas


@click.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=K8S)
@click.option("--only", metavar="TEXT", default="", help="Combinations whose name holds this.")
def main(folder: Path, only: str) -> None:
    """Render every combination with kustomize, and check it against Kubernetes, the house rules and the program."""
    rules, schemas = read_rules(folder), Schemas(VERSIONS)
    wanted = [each for each in combinations(folder, rules) if only in each.name]
    found: dict[Problem, list[str]] = {}
    document_count = 0
    # Two are rendered at a time, by processes of their own, while others are checked.
    with ThreadPoolExecutor(2) as threads:
        for combination, rendering in [(each, threads.submit(render, each, folder, rules)) for each in wanted]:
            try:
                rendered = rendering.result()
                document_count += len(rendered.documents)
                problems = find_problems(rendered, schemas)
            except RenderingFailed as error:
                problems = [Problem("render", combination.name, str(error))]
            for problem in problems:
                found.setdefault(problem, []).append(combination.name)
    for problem in (*check_dockerfiles(), *_promtool(folder)):
        found.setdefault(problem, []).append("the files themselves")
    for problem, where in sorted(found.items()):
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        click.echo(f"{problem}\n    in {where[0]}{more}", err=True)
    if found:
        sys.exit(f"{len(found)} problems in {len(wanted)} combinations")
    versions = f"Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}"
    click.echo(f"{len(wanted)} combinations, {document_count} documents, {versions}: clean")


def _promtool(folder: Path) -> list[Problem]:
    promtool = shutil.which("promtool")
    if promtool is not None:
        return list(run_promtool(promtool, folder))
    if os.environ.get("CI") == "true":
        return [Problem("promtool", "PATH", "promtool is not on PATH, and CI skips nothing")]
    click.echo("promtool: skipped, it is not on PATH (it comes with Prometheus)")
    return []


if __name__ == "__main__":
    main()
