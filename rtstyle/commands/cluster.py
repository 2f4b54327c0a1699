"""The option ``--cluster`` of ``rtstyle video``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.values import number, whole

if TYPE_CHECKING:
    from rtstyle.jobs.batch import VideoFailure
    from rtstyle.video import VideoJob, VideoProgress, VideoReport

Address = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|HOST:PORT",
        help="Share the work among processes of this machine, or among the machines of the Ray cluster there.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", parser=whole(1), help="Processes on each machine of the cluster, or for each card."),
]
SendLimit = Annotated[
    float,
    typer.Option(
        metavar="MB",
        parser=number(0, 100_000),
        help="Largest file to send to machines that do not share your folders, and back.",
    ),
]


@dataclass(frozen=True)
class Sharing:
    """Who does the work."""

    cluster: Address = None
    workers: Workers = None
    send_limit: SendLimit = 256.0


def stylize_on_cluster(
    sharing: Sharing,
    style: str,
    engine: str,
    threads: int | None,
    quiet: bool,
    jobs: Iterable[VideoJob],
    *,
    on_progress: Callable[[VideoJob, VideoProgress], None] | None = None,
) -> Iterator[VideoReport | VideoFailure]:
    """Stylize clips on the cluster of ``--cluster``, and show at the end what each worker has done.

    Raises:
        StylerError: as ``jobs.cluster.open_cluster`` and ``Cluster.stylize``.
    """
    from rtstyle.jobs.cluster import ClusterSettings, open_cluster, table
    from rtstyle.style_library import identify

    waiting = iter(jobs)
    first = next(waiting, None)
    if first is None:  # nothing to start a cluster for
        return
    settings = ClusterSettings(sharing.cluster or "local", sharing.workers, sharing.send_limit)
    made_by = identify(style, engine)
    with open_cluster(settings, style, engine, threads) as cluster:
        yield from cluster.stylize(chain([first], waiting), on_progress=on_progress, made_by=made_by)
        if not quiet:
            typer.echo(table(cluster.workers), err=True)
