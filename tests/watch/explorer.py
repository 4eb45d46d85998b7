"""Runs the threads of the watchdog in every order, up to a bound.

The real code of :mod:`llmwatch.watch` runs, with the real classes. Only what threads meet at is replaced: locks,
threads, inboxes and the clock. Each thread is an *actor*. One actor runs at a time, until its next *point*: just before
it takes a lock, waits or uses an inbox, and in a ``fine`` run also before it uses what is shared without a lock. There
the explorer chooses the actor that goes on. So a run is a list of choices, and the same choices give the same run.

:func:`explore` makes every run with at most so many *preemptions* (an actor is stopped at a point although it could go
on) and *interruptions* (the exception of a signal handler in the caller, at any line of the watchdog). Where the
running actor has to wait or ends, every other one is tried, which counts as nothing. This is the bound of CHESS: most
faults of threads need one or two preemptions (Musuvathi and Qadeer, PLDI 2007).

Two runs whose actors met each other in the same order are in the same state, whatever else the order was. Each actor
carries a hash of what it met (:meth:`World.meets`), and a run that comes to a known state ends there, since what
follows was or will be tried.

An end in which an actor waits for ever is a deadlock: time passes only as an actor of the scenario lets it pass.
"""

from __future__ import annotations

import _thread
import contextlib
import dis
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import pytest

import llmwatch.watch
from llmwatch.watch import attempt, cancel, clock, launch, supervisor, workers
from llmwatch.watch.clock import Waiter

__all__ = ["Explored", "Interruption", "Shared", "Violation", "World", "WorldClock", "explore"]

_WATCH = str(Path(llmwatch.watch.__file__).parent)
_LONGEST = 2_000
"""Points of a run after which it counts as endless."""


class Violation(AssertionError):
    """A law is broken. ``law`` is its name."""

    def __init__(self, law: str, what: str, run: list[str]) -> None:
        super().__init__(f"{law}: {what}; the actors ran in the order {' '.join(run)}")
        self.law = law


class Interruption(BaseException):
    """The exception of a signal handler."""


class _Stop(BaseException):
    """Ends an actor whose run is over."""


class _Hand:
    """A real thread that plays one actor after another. It runs only while its gate is open."""

    def __init__(self) -> None:
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.play: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._serve, name="explorer", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            self.gate.acquire()
            if self.play is None:
                return
            self.play()

    def end(self) -> None:
        self.play = None
        self.gate.release()
        self._thread.join()


class _Actor:
    """A thread of a run. ``patient``: it may wait for ever."""

    __slots__ = (
        "done",
        "function",
        "hand",
        "interruptible",
        "last",
        "made",
        "name",
        "number",
        "past",
        "patient",
        "ready",
        "thread",
        "until",
    )

    def __init__(self, name: str, function: Callable[[], object], number: int, hand: _Hand) -> None:
        self.past = hash((name, number))  # everything it has met
        self.made = 0  # things that threads meet at, made by this actor
        self.name = name
        self.function = function
        self.number = number
        self.hand = hand
        self.patient = False
        self.interruptible = False
        self.ready: Callable[[], bool] | None = None  # it waits until this is true
        self.until: float | None = None  # its wait ends by itself
        self.last = False  # it waits until no other actor can go on
        self.thread: object = None
        self.done = False


class World:
    """One run: its actors, its time, and the choices that were made."""

    def __init__(
        self, hands: list[_Hand], script: list[int], known: set[int], preemptions: int, interruptions: int
    ) -> None:
        self.time = 1_000.0
        self.timer = SimpleNamespace(past=0)
        self.order: list[str] = []
        self.fine = False
        self._made = 0
        self._prologue: tuple[str, ...] = ()
        self.violation: Violation | None = None
        self.at_each_point: list[Callable[[], None]] = []
        self.trail: list[tuple[int, int]] = []  # each choice, and the number of the possible ones
        self.main: _Actor | None = None
        self.current: _Actor | None = None
        self.stopping = False
        self.known_state = False  # the run ended in a state that another run goes on from
        self._script = script
        self._known = known
        self._preemptions = preemptions
        self._interruptions = interruptions
        self._hands = hands
        self._used: list[_Hand] = []
        self._actors: list[_Actor] = []
        self._points = 0
        self._over = _thread.allocate_lock()
        self._over.acquire()

    # -- what a scenario uses -----------------------------------------------

    def actor(
        self, name: str, function: Callable[[], object], *, patient: bool = False, interruptible: bool = False
    ) -> _Actor:
        """Add an actor. ``interruptible``: signal handlers may interrupt it, so it is the main thread."""
        hand = self._hands.pop() if self._hands else _Hand()
        self._used.append(hand)
        one = _Actor(name, function, len(self._actors) + 1, hand)
        one.patient, one.interruptible = patient, interruptible
        one.thread = SimpleNamespace(ident=one.number, name=name)
        if interruptible:
            self.main = one
        self._actors.append(one)
        hand.play = lambda: self._play(one)
        return one

    def prologue(self, *names: str) -> None:
        """Until :meth:`explore_from_here`, always run the first of these actors that can go on."""
        self._prologue = names

    def explore_from_here(self) -> None:
        """End the prologue, which has one order: the actors of ``prologue``, the first one that can go on."""
        self._prologue = ()

    def start(self, name: str, function: Callable[[], object]) -> _Actor:
        """Add an actor that the running actor starts."""
        self.point()
        one = self.actor(name, function, patient=True)
        one.past = hash((name, self.made()))
        return one

    def started(self, name: str) -> int:
        """The number of actors of this name."""
        return sum(one.name == name for one in self._actors)

    def require(self, law: str, holds: object, what: str) -> None:
        """End the run with a :class:`Violation` unless ``holds``."""
        if not holds and self.violation is None and not self.stopping:
            self.violation = Violation(law, what, self.order)
            if self.current is None:
                raise self.violation
            self._stop()

    def point(self, ready: Callable[[], bool] | None = None, *, last: bool = False) -> None:
        """Let the explorer choose the actor that goes on.
        The running one waits here until ``ready()``, with ``last`` until no other actor can go on.
        """
        me = self.current
        if self.stopping or me is None:
            # Before a run the scenario is set up, and after it its end is looked at: one thread, nothing to wait for.
            if self.stopping and me is not None:
                raise _Stop
            return
        if self._prologue and (ready is None or ready()):
            return
        self._points += 1
        for look in self.at_each_point:
            look()
        self.require("no deadlock", self._points < _LONGEST, "the run does not end")
        me.ready, me.last = ready, last
        if len(self.trail) >= len(self._script) and not self._prologue:
            self._note_state(me)
        following = self._choose_actor(me)
        if following is not me:
            self._pass_on(following)
            me.hand.gate.acquire()
            if self.stopping:
                raise _Stop
        me.ready, me.last = None, False

    def sleep(self, ready: Callable[[], bool], until: float | None) -> None:
        """A wait that ends by itself at ``until``."""
        me = self.current
        if me is not None:
            me.until = until
        self.point(ready)
        if me is not None:
            me.until = None

    def next_wake(self) -> float | None:
        """The earliest instant at which a wait ends by itself; ``None`` once no actor has to end."""
        if all(one.done or one.patient or one is self.current for one in self._actors):
            return None
        return min((one.until for one in self._actors if one.until is not None and not one.done), default=None)

    def made(self) -> int:
        """The past of a new thing that actors meet at."""
        me = self.current
        if me is None:
            self._made += 1
            return hash(("before", self._made))
        me.made += 1
        return hash((me.past, me.made))

    def meets(self, thing: Any, *, changes: bool = True) -> None:
        """The running actor meets ``thing``, in whose ``past`` is everything that met there before."""
        me = self.current
        if me is not None:
            me.past = hash((me.past, thing.past))
            if changes:
                thing.past = me.past

    def _note_state(self, me: _Actor) -> None:
        state = hash((me.number, self._preemptions, self._interruptions, *(one.past for one in self._actors)))
        if state in self._known:
            self.known_state = True
            self._stop()
        self._known.add(state)

    def fine_point(self) -> None:
        """A point at what is shared without a lock, in the scenarios that are about this."""
        if self.fine:
            self.point()

    def interruption(self) -> bool:
        """Whether a signal handler interrupts the running actor here."""
        me = self.current
        if me is None or not me.interruptible or self.stopping or not self._interruptions:
            return False
        struck = self._choose(2) == 1
        self._interruptions -= struck
        if struck:
            self.order.append("(interrupted)")
            me.past = hash((me.past, "interrupted", self._points))
        return struck

    # -- choices ------------------------------------------------------------

    def _choose(self, count: int) -> int:
        place = len(self.trail)
        chosen = self._script[place] if place < len(self._script) else 0
        assert chosen < count, "the same choices gave another run"
        self.trail.append((chosen, count))
        return chosen

    def _choose_actor(self, me: _Actor | None) -> _Actor | None:
        able = [one for one in self._actors if not one.done and (one.ready is None or one.ready())]
        able = [one for one in able if not one.last] or able
        for name in self._prologue:
            for one in able:
                if one.name == name:
                    return one
        if me in able:
            able.remove(me)
            if not able or not self._preemptions:
                return me
            chosen = self._choose(len(able) + 1)
            self._preemptions -= chosen > 0
            return me if chosen == 0 else able[chosen - 1]
        if not able:
            return None
        return able[self._choose(len(able)) if len(able) > 1 else 0]

    def _pass_on(self, following: _Actor | None) -> None:
        """Wake the actor that goes on; the caller sleeps after this, or has ended."""
        if following is None:
            stuck = [one.name for one in self._actors if not (one.done or one.patient)]
            if stuck and self.violation is None:
                self.violation = Violation("no deadlock", f"{', '.join(stuck)} waits for ever", self.order)
            self.stopping = True
            self._over.release()
        else:
            if not self.order or self.order[-1] != following.name:
                self.order.append(following.name)
            self.current = following
            following.hand.gate.release()

    # -- runs ---------------------------------------------------------------

    def _stop(self) -> None:
        self.stopping = True
        raise _Stop

    def _play(self, one: _Actor) -> None:
        try:
            if not self.stopping:
                if one.interruptible:
                    sys.settrace(self._trace)
                one.function()
        except _Stop:
            pass
        except BaseException as error:
            if self.violation is None and not self.stopping:
                self.violation = Violation("no exception is let out", f"{one.name} ended with {error!r}", self.order)
                self.stopping = True
        finally:
            if one.interruptible:
                sys.settrace(None)
        one.done = True
        if not self.stopping:
            try:
                self._pass_on(self._choose_actor(None))
                return
            except AssertionError as error:
                self.violation = Violation("the explorer itself works", str(error), self.order)
                self.stopping = True
        self._over.release()

    def run(self) -> None:
        """Run to the end; raises the :class:`Violation` that was found."""
        self._pass_on(self._choose_actor(None))
        self._over.acquire()
        for one in self._actors:
            if not one.done:
                self.current = one
                one.hand.gate.release()
                self._over.acquire()
        self.current = None
        self._hands += self._used
        if self.violation is not None:
            raise self.violation

    # -- interruptions ------------------------------------------------------

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._trace_line if frame.f_code.co_filename.startswith(_WATCH) else None

    def _trace_line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line" and not _is_safe(frame) and self.interruption():
            raise Interruption
        return self._trace_line


_safe: dict[CodeType, dict[int, bool]] = {}


def _is_safe(frame: FrameType) -> bool:
    """Whether Python takes no signal here, although a line begins.
    This holds at ``try``, and where the line of a ``with`` is reached again at the end of its block.
    """
    code = frame.f_code
    lines = _safe.get(code)
    if lines is None:
        _safe[code] = lines = {}
        entered: set[int] = set()
        starts = {start: line for start, _, line in code.co_lines() if line is not None}
        line = 0
        for step in dis.get_instructions(code):
            line = starts.get(step.offset, line)
            lines[step.offset] = step.opname in ("NOP", "SETUP_FINALLY") or line in entered
            if step.opname in ("BEFORE_WITH", "SETUP_WITH"):
                entered.add(line)
    return lines.get(frame.f_lasti, False)


# -- what threads meet at ----------------------------------------------------

_world: World | None = None


def _here() -> World:
    assert _world is not None
    return _world


class _Lock:
    """A lock; a waiter sleeps on one."""

    def __init__(self) -> None:
        self.past = _here().made()
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._held:
            _here().point(lambda: not self._held)
        _here().meets(self)
        self._held = True
        return True

    def release(self) -> None:
        _here().meets(self)
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _RLock:
    """A re-entrant lock. To take it again is no point, since nothing changes for the other actors."""

    def __init__(self) -> None:
        self.past = _here().made()
        self._owner: object = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        world = _here()
        if self._owner is None or self._owner is not world.current:
            world.point(lambda: self._owner is None)
            world.meets(self)
            self._owner = world.current
        self._count += 1
        return True

    def release(self) -> None:
        self._count -= 1
        if not self._count:
            self._owner = None

    def _is_owned(self) -> bool:
        return self._count > 0 and self._owner is _here().current

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _Inbox:
    """A ``SimpleQueue``."""

    def __init__(self) -> None:
        self.past = _here().made()
        self.items: deque[Any] = deque()

    def put(self, item: object) -> None:
        _here().point()
        _here().meets(self)
        self.items.append(item)

    def get_nowait(self) -> Any:
        # No point: what is put before this could have been put before the wait that just ended.
        _here().meets(self)
        if not self.items:
            raise queue.Empty
        return self.items.popleft()


class _Thread:
    """A thread that is an actor once it is started.

    It is patient: the scenario says whether it must have ended.
    """

    def __init__(
        self, *, target: Callable[..., object], args: tuple[object, ...] = (), name: str = "", daemon: bool = True
    ) -> None:
        self.name = name
        self._run = lambda: target(*args)

    def start(self) -> None:
        _here().start(self.name.removeprefix("llmwatch-"), self._run).thread = self


class WorldClock:
    """The time of the run."""

    def now(self) -> float:
        world = _here()
        world.meets(world.timer, changes=False)
        return world.time

    wall = now

    def get(self, inbox: _Inbox, until: float | None) -> Any:
        world = _here()
        world.sleep(lambda: bool(inbox.items) or (until is not None and until < world.time), until)
        world.meets(inbox)
        world.meets(world.timer, changes=False)
        return inbox.items.popleft() if inbox.items else None

    def wait(self, waiter: Waiter, until: float | None) -> None:
        world = _here()
        world.sleep(lambda: waiter.woken or (until is not None and until <= world.time), until)
        world.meets(waiter._woken)
        world.meets(world.timer, changes=False)
        if world.interruption():
            raise Interruption
        if waiter.woken:
            waiter._woken.acquire()


class _Cell:
    def __init__(self, value: object) -> None:
        self.past = _here().made()
        self.value = value


class Shared:
    """A field that threads use without a lock: each use of it is a point.
    ``mutable``: to read it may change its value. ``locked``: it is written under the holder's lock only, so to read it
    there is no point.
    """

    def __init__(self, *, mutable: bool = False, locked: bool = False) -> None:
        self._mutable = mutable
        self._locked = locked

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, holder: Any, owner: type) -> Any:
        if not (self._locked and holder._lock._is_owned()):
            _here().fine_point()
        cell: _Cell = holder.__dict__[self._name]
        _here().meets(cell, changes=self._mutable)
        return cell.value

    def __set__(self, holder: Any, value: object) -> None:
        cell = holder.__dict__.get(self._name)
        if cell is None:
            holder.__dict__[self._name] = _Cell(value)
        else:
            _here().fine_point()
            _here().meets(cell)
            cell.value = value


class _Deque(deque[Any]):
    """A queue that threads use without a lock."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.past = _here().made()

    def append(self, item: object) -> None:
        _here().fine_point()
        _here().meets(self)
        super().append(item)

    def popleft(self) -> Any:
        # No point: one thread takes, from the other end.
        _here().meets(self)
        return super().popleft()

    def __bool__(self) -> bool:
        _here().fine_point()
        _here().meets(self, changes=False)
        return len(self) > 0


class _Launch(launch.Launch):
    """A launch, from which two threads may take the thread that is to be started."""

    _waiting: Any = Shared(mutable=True)


class _Log:
    """The log of the supervisor, in which a fault of its own would stand."""

    def exception(self, message: str) -> None:
        self.error(f"{message}: {sys.exc_info()[1]!r}")

    def error(self, message: str) -> None:
        world = _here()
        if not world.stopping:
            world.require("the watch itself does not fail", False, message)


def _current_thread() -> object:
    actor = _here().current
    return None if actor is None else actor.thread


def _ident() -> int:
    actor = _here().current
    return 0 if actor is None else actor.number


def _main_thread() -> object:
    main = _here().main
    return SimpleNamespace(ident=-1) if main is None else main.thread


def _start_bare(function: Callable[..., object], args: tuple[object, ...]) -> None:
    _here().start("starter", lambda: function(*args))


@contextlib.contextmanager
def _replaced() -> Iterator[None]:
    threads = SimpleNamespace(
        Lock=_Lock,
        RLock=_RLock,
        Thread=_Thread,
        local=threading.local,
        get_ident=_ident,
        main_thread=_main_thread,
        current_thread=_current_thread,
        active_count=lambda: 0,
    )
    with pytest.MonkeyPatch.context() as patch:
        for module in (attempt, cancel, clock, launch, supervisor, workers):
            patch.setattr(module, "threading", threads)
        patch.setattr(launch, "_thread", SimpleNamespace(start_new_thread=_start_bare))
        patch.setattr(supervisor, "queue", SimpleNamespace(SimpleQueue=_Inbox, Empty=queue.Empty))
        patch.setattr(supervisor, "deque", _Deque)
        patch.setattr(supervisor, "_log", _Log())
        for module in (supervisor, workers):
            patch.setattr(module, "SYSTEM", WorldClock())
            patch.setattr(module, "Launch", _Launch)
        yield


class Explored:
    """The result of an exploration."""

    def __init__(self) -> None:
        self.runs = 0
        self.ends = 0
        self.points = 0


def explore(
    scenario: Callable[[World], Callable[[], None]], *, preemptions: int, interruptions: int = 0, most: int = 100_000
) -> Explored:
    """Make every run of ``scenario`` within the bounds; raises the first :class:`Violation`.

    ``scenario(world)`` adds the actors and returns the function that looks at the end of the run. More than ``most``
    runs are an error: every run was wanted.
    """
    global _world
    found, hands, script, known = Explored(), list[_Hand](), list[int](), set[int]()
    try:
        with _replaced():
            while True:
                _world = world = World(hands, script, known, preemptions, interruptions)
                look_at_end = scenario(world)
                world.run()
                world.stopping = False
                if not world.known_state:
                    look_at_end()
                    found.ends += 1
                if world.violation is not None:
                    raise world.violation
                found.runs += 1
                found.points += world._points
                assert found.runs <= most, "there are more runs than expected"
                following = _next(world.trail)
                if following is None:
                    return found
                script = following
    finally:
        _world = None
        for hand in hands:
            hand.end()


def _next(trail: list[tuple[int, int]]) -> list[int] | None:
    """The choices of the next run: the last choice that has another possibility takes it."""
    while trail:
        chosen, count = trail.pop()
        if chosen + 1 < count:
            return [before for before, _ in trail] + [chosen + 1]
    return None
