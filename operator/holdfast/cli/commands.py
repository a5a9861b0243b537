"""What `holdfast` can do. Needs the extra `cli`; `main` says so where it is not there."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from holdfast import __version__
from holdfast.cli import connection, report

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Work on Kubernetes that must not lose its state.")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="A TrainingJob; all of the namespace without it.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="The context's own by default.")] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Jobs of all namespaces.")] = False,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json")] = "table",
) -> None:
    """Show what runs, what it waits for, and the newest commit."""
    if output not in ("table", "json"):
        raise typer.BadParameter("write table or json", param_hint="--output")
    api = connection.connect(context)
    where = None if all_namespaces else namespace or connection.current_namespace(context)
    if name is not None:
        found = connection.job(api, where or connection.current_namespace(context), name)
        typer.echo(json.dumps(found, indent=2) if output == "json" else "\n".join(report.details(found)))
        return
    jobs = connection.jobs(api, where)
    if output == "json":
        typer.echo(json.dumps(jobs, indent=2))
    elif jobs:
        Console().print(report.table(jobs, with_namespace=all_namespaces))
    else:
        typer.echo("No TrainingJobs.")


def run() -> None:
    """Run the command; what the user can change ends with one line and exit code 1."""
    try:
        app()
    except connection.CliError as error:
        typer.echo(f"holdfast: {error}", err=True)
        sys.exit(1)
