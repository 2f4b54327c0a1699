"""Actions that may arrive faster than they can be carried out: then only the newest of each is."""

from __future__ import annotations

import logging
from threading import Condition, Thread

from engines.errors import StylerError
from rtstyle.live.action_kinds import TRIGGERS
from rtstyle.live.actions import Actions

logger = logging.getLogger(__name__)

MOST_WAITING = 32
"""Actions that may wait; when there are more, the older ones of the same name are discarded."""

MOST_COMPLAINTS = 20
"""Different complaints that are logged, each once: a controller may send nonsense all night."""


class ActionQueue:
    """Carries out actions in order, in a thread of its own, so that whoever asks for them never waits."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, object, str]] = []
        self._change = Condition()
        self._actions: Actions | None = None
        self._closed = False
        self._complaints: set[str] = set()
        self._thread = Thread(target=self._run, name="actions", daemon=True)

    @property
    def actions(self) -> Actions | None:
        """The run that is steered; while there is none, actions are discarded. May be replaced at any time."""
        return self._actions

    @actions.setter
    def actions(self, actions: Actions | None) -> None:
        with self._change:
            self._actions = actions
            self._waiting.clear()
            if self._thread.ident is None and not self._closed:
                self._thread.start()

    def put(self, name: str, value: object, asked_by: str) -> None:
        """Ask for an action; any thread may call it, and never waits.

        Args:
            name: as ``Actions.change`` takes it.
            value: likewise; but a trigger ignores 0, which is its button coming up.
            asked_by: who asks, for messages, e.g. ``OSC``.
        """
        if name in TRIGGERS:
            if value is not None and not value:
                return
            value = None
        with self._change:
            if self._actions is not None:
                self._waiting.append((name, value, asked_by))
                if len(self._waiting) > MOST_WAITING:
                    newest = dict[str, tuple[str, object, str]]()
                    for waiting in self._waiting:
                        newest.pop(waiting[0], None)  # the newest is also the last
                        newest[waiting[0]] = waiting
                    self._waiting = list(newest.values())
                self._change.notify()

    def complain(self, complaint: str) -> None:
        """Log a warning, unless it was logged before or there were too many."""
        with self._change:
            if complaint in self._complaints or len(self._complaints) >= MOST_COMPLAINTS:
                return
            self._complaints.add(complaint)
        logger.warning("%s", complaint)

    def close(self) -> None:
        """Discard what waits, and wait for the action in progress; may be called twice."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                waiting, actions = self._waiting, self._actions
                self._waiting = []
            assert actions is not None, "nothing waits without a run"
            for name, value, asked_by in waiting:
                try:
                    actions.change(name, value)
                except StylerError as error:
                    self.complain(f"{asked_by}: {error}")
                except Exception as error:  # noqa: BLE001  # this thread must survive whatever a controller sends
                    self.complain(f"{asked_by}: {name} failed: {type(error).__name__}: {error}")
