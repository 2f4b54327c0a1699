"""``rtstyle styles``: the styles that there are, and one's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.commands.help import Commands, PlainCommand
from rtstyle.commands.options import Json, complete_style, print_json

if TYPE_CHECKING:
    from rtstyle.style_download import OnBytes
    from rtstyle.style_library import StyleEntry

styles = typer.Typer(cls=Commands, rich_markup_mode=None, invoke_without_command=True)

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_style, help="Name of a style.")]
OwnName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a style of your own.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what has this name.")]


@styles.callback()
def list_styles(
    ctx: typer.Context,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE.jpg", help="Write one picture that shows them all.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """List the styles that come with rtstyle and your own, or add, pack and remove your own.

    KEY is the key that chooses the style in the window of `rtstyle webcam`. A style that you trained also works by its
    folder, --style runs/wave; with a name it is listed here and on the page. Your own styles are kept in your data
    folder, or in the folder that the environment variable RTSTYLE_STYLES names.

    Examples:
        rtstyle styles
        rtstyle styles --sheet styles.jpg
        rtstyle styles add runs/wave --name my-wave
        rtstyle image photo.jpg painting.jpg --style my-wave
    """
    if ctx.invoked_subcommand is not None:
        return
    from rtstyle.style_library import installed

    entries = installed()
    if sheet is not None:
        _write_sheet(sheet, entries, overwrite)
        return
    if as_json:
        print_json({"styles": entries})
        return
    if not entries:
        typer.echo("No styles are installed. `rtstyle train` makes one.")
    rows = [("KEY", "NAME", "TITLE", "PAINTER", "LICENCE", "FOLDER")]
    usable = [entry.name for entry in entries if not entry.fault]
    keys = dict(zip(usable, "123456789", strict=False))
    rows += [(keys.get(e.name, ""), e.name, e.fault or e.title, e.painter, e.licence, e.path) for e in entries]
    if entries:
        typer.echo(table(rows))


def _write_sheet(file: Path, entries: Sequence[StyleEntry], overwrite: bool) -> None:
    from engines.errors import SinkError
    from rtstyle.media.image_files import write_picture
    from rtstyle.style_previews import style_sheet

    if file.exists() and not overwrite:
        raise SinkError(f"{file} exists already", hint="--overwrite replaces it")
    write_picture(file, style_sheet(entries))
    typer.echo(f"{file} shows your styles and those that come with rtstyle")


@styles.command(cls=PlainCommand)
def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR|FILE|URL",
            help="A folder of `rtstyle train`, a pack (.rtstyle or .zip), the address of a pack, hf://OWNER/NAME for a "
            "repository of the Hugging Face Hub, or a mix or texture to keep, as for --style.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Another name than its own.")] = "",
    sha256: Annotated[str, typer.Option("--sha256", metavar="HEX", help="Refuse a pack with another SHA-256.")] = "",
    overwrite: Overwrite = False,
) -> None:
    """Add a style to your own: it is checked, tried on a small frame, and then has a name everywhere.

    Examples:
        rtstyle styles add runs/wave --name my-wave
        rtstyle styles add wave.rtstyle
        rtstyle styles add hf://somebody/rtstyle-wave
        rtstyle styles add runs/wave@0.3 --name calm-wave
        rtstyle styles add vangogh:0.6+wave:0.4 --name night-sea
    """
    from engines.style_file import PREVIEW
    from rtstyle import shelf
    from rtstyle.style_library import gallery_styles

    taken = gallery_styles()
    if name:
        shelf.check_name(name, taken, adding=True, replace=overwrite)  # before a download
    folder = shelf.add(_files(source, sha256), taken, name, replace=overwrite, source=source)
    typer.echo(f"added {folder.name}; try `rtstyle image photo.jpg painting.jpg --style {folder.name}`")
    typer.echo(f"{folder / PREVIEW} shows it")


def _files(source: str, sha256: str) -> dict[str, bytes]:
    """Return the files of a style, wherever it is."""
    from engines.errors import StyleError
    from engines.style_file import sha256 as sha256_of
    from rtstyle import shelf, style_download
    from rtstyle.style_library import find, open_style
    from rtstyle.style_mix import is_single

    if style_download.is_address(source):
        with _progress(source) as on_bytes:
            return style_download.download(source, on_bytes, sha256)
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() in (shelf.SUFFIX, ".zip"):
        if sha256 and sha256_of(path) != sha256.lower():
            raise StyleError(f"{source} has another sha256 than you gave", hint="do not use it")
        return shelf.unpack(path)
    if sha256:
        raise StyleError(f"--sha256 is that of a pack, and {source} is no pack", hint="omit it")
    return shelf.read_folder(find(source)) if is_single(source) else open_style(source).files()


@styles.command(cls=PlainCommand)
def remove(name: OwnName) -> None:
    """Delete a style of your own."""
    from rtstyle import shelf

    typer.echo(f"removed {shelf.remove(name)}")


@styles.command(cls=PlainCommand)
def rename(
    name: OwnName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Its new title, which the page shows.")] = "",
) -> None:
    """Give a style of your own another name."""
    from rtstyle import shelf
    from rtstyle.style_library import gallery_styles

    typer.echo(f"{name} is now {shelf.rename(name, new, gallery_styles(), title).name}")


@styles.command(cls=PlainCommand)
def export(
    name: Name,
    target: Annotated[Path | None, typer.Argument(metavar="FILE", help="By default NAME.rtstyle.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a style into one file, to pass it on; `rtstyle styles add FILE` adds it elsewhere.

    Prints the SHA-256 of the file, which the other side can give to --sha256.
    """
    from rtstyle import shelf
    from rtstyle.style_library import open_style

    style = open_style(name)
    target = target or Path(f"{style.name}{shelf.SUFFIX}")
    digest = shelf.pack(style, target, replace=overwrite)
    typer.echo(f"{digest}  {target}")


@styles.command(cls=PlainCommand)
def info(name: Name, as_json: Json = False) -> None:
    """Show what is known of a style: its painting, licence, size, and how it was trained."""
    from rtstyle.style_library import open_style

    style = open_style(name)
    record = style.training
    facts: dict[str, Any] = {
        "name": style.name,
        "title": style.title,
        "painter": style.painter,
        "work": style.work,
        "licence": style.licence,
        "folder": str(style.folder),
        "preview": str(style.preview or ""),
        "bytes": sum(len(data) for data in style.files().values()),
        "weights sha256": style.weights_sha256(),
        "texture": style.texture,
        "int8": bool(style.ranges),
        "steps": record.get("steps_done"),
        "minutes": record.get("minutes"),
        "photographs": record.get("content_pictures"),
        "finished": record.get("finished"),
    }
    if as_json:
        print_json(facts)
        return
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        shown = ("no", "yes")[value] if isinstance(value, bool) else "unknown" if value in (None, "") else value
        typer.echo(f"{key.ljust(width)}  {shown}")


@contextmanager
def _progress(label: str) -> Iterator[OnBytes]:
    """Show how much of a download has arrived: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Lay out rows of text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)
