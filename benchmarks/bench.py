"""All figures that rtstyle promises, measured here and now, into ``benchmarks/RESULTS.md``.

    python -m benchmarks.bench [--only speed,job] [--style NAME|DIR] [--control NAME|DIR]

Every script also runs alone: ``python -m benchmarks.speed``. Measure on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys

from benchmarks.report import ORDER, QUICK, Section, keep, setting, table
from benchmarks.subject import NotMeasuredError, Subject, opened
from engines.errors import StylerError


def main(only: str | None = None) -> None:
    """Measure, print, and write.

    Args:
        only: one script; otherwise the command line says which.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", metavar="NAME|DIR", help="what to measure; by default vangogh")
    parser.add_argument("--control", metavar="NAME|DIR", help="style trained without temporal and noise losses")
    if only is None:
        parser.add_argument("--only", default=",".join(QUICK), help=f"some of {', '.join(ORDER)}, with commas")
    args = parser.parse_args()
    names = [only] if only is not None else args.only.split(",")
    if unknown := set(names) - set(ORDER):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ORDER)}")
    try:
        with opened(args.style, args.control) as subject:
            failed = [name for name in names if not _one(name, subject)]
    except StylerError as error:
        sys.exit(f"benchmarks: {error}")
    if failed:
        sys.exit(f"benchmarks: could not measure {', '.join(failed)}; their older sections are kept")


def _one(name: str, subject: Subject) -> bool:
    """Measure one section; what was found so far is on the disk before the next one starts."""
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    told = setting()  # before the start: the load of the machine is without our own
    try:
        section: Section = importlib.import_module(f"benchmarks.{name}").measure(subject)
    except (StylerError, NotMeasuredError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    section = dataclasses.replace(section, setting=told)
    keep(section)
    print(table(section), flush=True)
    return True


if __name__ == "__main__":
    main()
