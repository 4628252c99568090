"""What functions that mean harm do to themselves, and that they do it to nobody else (C1 to C7, C9 and C11).

Four neighbours are called at a steady rate all the time. After each case everything it started is gone, the next call
gets an environment that knows nothing of it, and no neighbour has noticed. The whole battery (``tox -e battery``)
also measures: the neighbours with and without each case, and how soon answers come and processes go.
"""

import contextlib
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.battery import WHOLE, share
from tests.support.isolated import (
    FUNCTIONS,
    executing,
    function,
    invocation,
    needs_namespaces,
    population,
    result,
    run,
)
from tests.support.noisy_neighbour import LivenessPipe, Neighbours, compared
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.battery,
    pytest.mark.skipif(
        sys.platform != "linux" or not importlib.util.find_spec("awslambdaric"),
        reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only",
    ),
]
MIB = 1024 * 1024
LIMIT = 6_291_556  # bytes of a response
ROUNDS, PHASE = share(2, 0), 2.0  # of the neighbours without and with a case; seconds of each
TIMED_OUT = "Sandbox.Timedout: Task timed out after .* seconds"
KILLED = "Runtime.ExitError: Runtime exited with error: signal: killed"
TOO_LARGE = "Function.ResponseSizeTooLarge: .*"
FAILED = "Runtime.ExitError: Runtime exited with error: "
TOO_MUCH = f"{KILLED}|MemoryError: .*"


class Case(NamedTuple):
    """What a function does, and what its caller is told: an error, or the result in JSON, as a regular expression."""

    name: str
    event: dict[str, Any]
    told: str
    timeout: float = 30
    memory: int = 128


def case(name, told, timeout=30, memory=128, **event):
    return Case(name, event, told, timeout, memory)


def endless(name, **event):
    return case(name, TIMED_OUT, **{"timeout": share(0.5, 0.3), **event})


SIGNALS = sorted(
    set(signal.valid_signals())
    - {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}  # which end nothing
    - {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}  # which stop
)
CASES = [
    endless("C1 an endless loop", do="loop"),
    endless("C1 stops itself", do="stop"),
    endless("C1 ignores every signal", do="ignore"),
    endless("C1 keeps the interpreter", do="keep_the_interpreter"),
    endless("C1 stops its init", do="stop_the_init"),
    case("C2 sys.exit(0)", "Runtime.ExitError: Runtime exited without providing a reason", do="leave", status=0),
    case("C2 sys.exit(3)", f"{FAILED}exit status 3", do="leave", status=3),
    case("C2 sys.exit of a text", f"{FAILED}exit status 1", do="leave", status="a text"),
    case("C2 os._exit(0)", "Runtime.ExitError: Runtime exited without providing a reason", do="quit", status=0),
    case("C2 os._exit(255)", f"{FAILED}exit status 255", do="quit", status=255),
    case("C2 os._exit in a thread", f"{FAILED}exit status 9", do="quit_in_a_thread", status=9),
    case("C2 KeyboardInterrupt", f"{FAILED}(exit status 1|signal: interrupt)", do="interrupt"),
    *(
        case(f"C2 signal {number}", f"{FAILED}signal: .*", do="end_by", number=number)
        for number in share(SIGNALS, [1, 9, 15, 64])
    ),
    case("C2 a crash in C", f"{FAILED}signal: segmentation fault", do="crash"),
    case("C2 recursion past the stack", f"{FAILED}signal: segmentation fault", do="overflow"),
    case("C2 becomes another program", f"{FAILED}exit status 1", do="become", argv=["/bin/false"]),
    endless("C2 becomes a program that waits", do="become", argv=["/bin/sleep", "60"]),
    case("C2 kills its init", f'{KILLED}|"alive"', do="kill_the_init"),
    case("C2 kills all it sees", '"alive"', do="kill_all"),
    case("C2 ends, and leaves a daemon", f"{FAILED}exit status 7", do="fork_twice", and_then="quit", status=7),
    case("C3 a hog of memory", TOO_MUCH, do="hog"),
    case("C3 children that are hogs", f"{TIMED_OUT}|{TOO_MUCH}", 1, do="hog_in_children"),
    endless("C4 a bomb of 200 processes", memory=1024, do="bomb"),
    endless("C4 processes that flee", memory=1024, do="flee"),
    case("C4 processes that flee, and it ends", f"{FAILED}exit status 7", memory=1024, do="flee_from"),
    endless("C4 a daemon", do="fork_twice"),
    endless("C4 10,000 threads", memory=1024, do="many_threads"),
    case("C4 5,000 descriptors", '"Too many open files"', do="many_descriptors"),
    case("C5 prints 1 GB", '"printed"', 300, do="flood", size=share(1024, 16) * MIB),
    case("C5 a line without end", '"printed"', do="line_without_end", size=share(256, 8) * MIB),
    case("C5 noise", '"noise"', do="noise"),
    case("C5 closes its descriptors", '"noise"', do="noise", close=[0, 1, 2]),
    case("C5 closes the one for its log", f'"noise"|{FAILED}.*|OSError: .*', do="noise", close=[3]),
    case("C5 prints for ever", '"printing"', do="print_for_ever"),
    *(case(f"C7 {n - LIMIT:+} bytes", '"x+"', memory=512, do="large", size=n) for n in (LIMIT - 1, LIMIT)),
    case("C7 +1 bytes", TOO_LARGE, memory=512, do="large", size=LIMIT + 1),
    case("C7 a stream of 2 GB", TOO_LARGE, do="stream", size=2 * 10**9, chunked=False),
    case("C7 2 GB in chunks", TOO_LARGE, do="stream", size=2 * 10**9, chunked=True),
    case("C7 chunks of 6 MB", TOO_LARGE, do="stream", size=48 * 10**6, chunked=True, piece=6_000_000),
    case("C7 answers held back", "[0-9]+", memory=512, do="hold_back"),
    case("C7 NaN", r"\[NaN, Infinity\]", do="nan"),
    case("C7 a cycle", "Runtime.MarshalError: Unable to marshal response: .*", do="cycle"),
    case("C7 100,000 levels", f"Runtime.MarshalError: .*|RecursionError: .*|{FAILED}.*", do="deep"),
    case("C7 a surrogate", rf'{FAILED}exit status 1|"\\ud800"', do="surrogate"),
    case("C9 its own Runtime API", r'\["", "400", "403", "404"\]', do="attack", rounds=share(3, 1)),
    case("C9 a crowd at its own Runtime API", "[0-9]+", do="crowd", count=share(1000, 40)),
    case("C9 asks, and does not listen", "[0-9]+", do="ask_and_not_listen"),
    case("C9 answers, and then ends", '"by hand"', do="answer_first", then="quit", status=7),
    case("C9 answers, and then loops", '"by hand"', 1, do="answer_first", then="loop"),
]
BOUNDED = (  # what they make the server keep in memory
    "C7 a stream of 2 GB",
    "C7 2 GB in chunks",
    "C7 chunks of 6 MB",
    "C7 answers held back",
    "C9 asks, and does not listen",
)
DEPENDENT = "C1 ", "C2 kills", "C2 ends", "C3", "C4"  # on the level of protection
BEGINNINGS = [
    case("C11 ends while it begins", f"{FAILED}exit status 7", do="quit", status=7),
    case("C11 crashes while it begins", f"{FAILED}signal: segmentation fault", do="crash"),
    case("C11 leaves a daemon while it begins", f"{FAILED}exit status 8", do="fork_twice", and_then="quit", status=8),
    case("C11 a hog while it begins", f"{TOO_MUCH}", do="hog"),
    case("C11 raises while it begins", "AttributeError: .*|KeyError: .*", do="no such act"),
]


SANDBOXES = ["process", "namespaces"]


def at_each_level(cases):
    """All cases at both levels of protection; in an ordinary run only those at both to which it matters."""
    pairs = [(level, case) for level in SANDBOXES for case in cases]
    pairs = [pair for pair in pairs if WHOLE or pair[0] == "process" or pair[1].name.startswith(DEPENDENT)]
    ids = [f"{level}-{case.name}" for level, case in pairs]
    return pytest.mark.parametrize(("house", "case"), pairs, ids=ids, indirect=["house"])


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """Gives the house of a level of protection, and ends the one before."""
    with contextlib.ExitStack() as stack:
        there = {}

        def house(sandbox):
            if sandbox not in there:
                stack.close()
                there.clear()
                there[sandbox] = stack.enter_context(inhabited(sandbox, tmp_path_factory.mktemp("hostile") / "code"))
            return there[sandbox]

        yield house


@pytest.fixture(params=SANDBOXES)
def house(request, houses):
    """An executor at a level of protection, its neighbours, who notice nothing, and where hostile code is."""
    if request.param == "namespaces":
        needs_namespaces()
    house = houses(request.param)
    yield house
    house.neighbours.wait_for_responses()
    assert house.neighbours.errors == []


@contextlib.contextmanager
def inhabited(sandbox, code):
    shutil.copytree(FUNCTIONS / "hostile", code)
    with quiet_logger() as logger:
        with executing(sandbox=sandbox, logger=logger) as executor:
            with Neighbours(executor, code, rate=25) as neighbours:
                yield House(sandbox, executor, code, neighbours)


@contextlib.contextmanager
def quiet_logger():
    """Writes every line, as a server's does, but where nobody reads it."""
    logger = logging.Logger("hostile", logging.INFO)
    with open(os.devnull, "w") as file:
        logger.addHandler(logging.StreamHandler(file))
        yield logger


class House(NamedTuple):
    sandbox: str
    executor: Any
    code: Path
    neighbours: Neighbours

    def function(self, case, leash, handler="hostile.handler", **variables):
        name = re.sub(r"[^a-z0-9]+", "-", case.name.lower())
        variables["LEASH"] = leash.path
        options = {"timeout": case.timeout, "memory_size": case.memory, "environment": variables}
        return function(handler, code=self.code, name=name[:64], **options)


@pytest.fixture
def leash(tmp_path, house):
    leash = LivenessPipe(house.code / tmp_path.name)
    yield leash
    leash.close()


@at_each_level(CASES)
def test_what_a_function_does_to_itself_stays_there(house, leash, case, battery):
    hostile, before = house.function(case, leash), set(population(house.executor))
    figures = Figures(brief=case.event.get("number", 9) != 9)  # of all signals, one is enough

    def misbehave():
        calls_of(house.executor, hostile)
        with figures.taken(case, leash):
            outcome = house.executor.execute(hostile, invocation(case.event, name=hostile.name, tail=False))
        figures.death(leash, ended(outcome) and case.told != TIMED_OUT)
        assert re.fullmatch(case.told, told(outcome))
        if not ended(outcome):
            run(house.executor, hostile, {"do": "quit", "status": 0})
        figures.gone(leash, after_answer=ended(outcome))
        wait_until(lambda: set(population(house.executor)) <= before)
        assert calls_of(house.executor, hostile) == 1

    beside(house, misbehave, figures)
    battery.record(f"{case.name} ({house.sandbox})", **figures.all())
    if case.name in BOUNDED:
        assert figures.worst("server_mib") <= 16


@at_each_level(BEGINNINGS)
def test_a_function_that_cannot_begin_is_told_of_and_harms_nobody(house, leash, case, battery):
    before, figures = set(population(house.executor)), Figures()
    hostile = house.function(case, leash, "begins.handler", INIT=json.dumps(case.event))

    def misbehave():
        for _ in range(share(5, 2)):
            with figures.taken(case, leash):
                outcome = house.executor.execute(hostile, invocation(name=hostile.name))
            figures.death(leash, died=True)
            assert re.fullmatch(case.told, told(outcome))
        figures.gone(leash, after_answer=False)
        wait_until(lambda: set(population(house.executor)) <= before)

    beside(house, misbehave, figures)
    battery.record(f"{case.name} ({house.sandbox})", **figures.all())


def test_a_function_that_does_not_begin_to_end_is_told_of(house, leash):
    case = endless("C11 does not begin to end", do="loop")
    hostile = house.function(case, leash, "begins.handler", INIT=json.dumps(case.event))
    with quiet_logger() as logger, executing(sandbox=house.sandbox, init_timeout=0.3, logger=logger) as executor:
        for _ in range(2):
            assert re.fullmatch(case.told, told(executor.execute(hostile, invocation(name=hostile.name))))
            leash.wait_for_end()


def test_twelve_things_that_are_changed_stay_as_they_were_elsewhere(house, leash):
    case = Case("C6 changes everything", {"do": "change_everything"}, "")
    changer, other = house.function(case, leash), house.function(Case("C6 another", {}, ""), leash)
    here = os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    as_it_was = result(house.executor, other, {"do": "fingerprint"})
    changed = result(house.executor, changer, case.event)
    assert sum(changed[name] != as_it_was[name] for name in as_it_was) >= 12, changed
    assert result(house.executor, other, {"do": "fingerprint"}) == as_it_was
    run(house.executor, changer, {"do": "quit", "status": 0})
    assert result(house.executor, changer, {"do": "fingerprint"}) == as_it_was
    assert here == (
        os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("act", "options"), [("attack", {}), ("crowd", {"count": share(200, 20)})], ids=["attack", "crowd"]
)
def test_a_neighbours_runtime_api_answers_to_nobody_else(house, leash, act, options, battery):
    case = Case(
        f"C9 a neighbour's Runtime API, {act}", {"do": act, "addresses": house.neighbours.addresses, **options}, ""
    )
    hostile, figures = house.function(case, leash), Figures()

    def misbehave():
        answer = result(house.executor, hostile, case.event)
        assert answer == ([""] if act == "attack" else answer)

    beside(house, misbehave, figures)
    battery.record(f"{case.name} ({house.sandbox})", **figures.all())


def told(outcome):
    """``errorType: errorMessage`` of a failure, without the request's id; else the result."""
    if outcome.function_error is None:
        return outcome.payload.decode()
    error = json.loads(outcome.payload)
    return f"{error['errorType']}: {re.sub('^RequestId: [^ ]+ (Error: )?', '', error['errorMessage'])}"


def calls_of(executor, function):
    """The number of calls that the environment has had; a busy machine may need longer than the function has."""
    deadline = time.monotonic() + 30
    while True:
        outcome, value = run(executor, function, {"do": "nothing"})
        if outcome.function_error is None:
            return value
        assert value["errorType"] == "Sandbox.Timedout", value
        assert time.monotonic() < deadline


def ended(outcome):
    """Whether the environment was not to outlive it."""
    return told(outcome).startswith(("Sandbox.Timedout", "Runtime.ExitError", "Function.ResponseSizeTooLarge"))


def beside(house, misbehave, figures):
    """Once in an ordinary run; in the whole battery for a while, with the neighbours watched before and meanwhile."""
    phases = [], []
    rounds = 0 if figures.brief else ROUNDS
    for number in range(rounds * 2):
        begin = time.monotonic()
        while time.monotonic() < begin + PHASE:
            misbehave() if number % 2 else time.sleep(PHASE)
        phases[number % 2].append((begin, time.monotonic()))
    if rounds:
        figures.neighbours = compared(*(house.neighbours.latencies(one) for one in phases))
    else:
        misbehave()


class Figures:
    """The worst of what was measured: seconds, and MiB that the server's memory grew by."""

    def __init__(self, *, brief=False):
        self.brief = brief  # not measured beside neighbours
        self._worst = {}
        self.neighbours = {}

    def _note(self, name, value):
        self._worst[name] = max(value, self._worst.get(name, value))

    def worst(self, name):
        """0 where it could not be measured."""
        return self._worst.get(name, 0.0)

    @contextlib.contextmanager
    def taken(self, case, leash):
        leash.end_started_at()
        resident, began = reset_peak(), time.monotonic()
        yield
        self._answered = time.monotonic()
        if case.told == TIMED_OUT:
            self._note("beyond_timeout_ms", (self._answered - began - case.timeout) * 1000)
        if resident:
            self._note("server_mib", (peak() - resident) / MIB)

    def death(self, leash, died):
        if died and (begun := leash.end_started_at()):
            self._note("answer_after_death_ms", (self._answered - begun) * 1000)

    def gone(self, leash, *, after_answer):
        gone = leash.wait_for_end()
        if after_answer:
            self._note("gone_after_answer_ms", (gone - self._answered) * 1000)

    def all(self):
        return {**{name: f"{value:.1f}" for name, value in self._worst.items()}, **self.neighbours}


def reset_peak():
    """What this process has resident, in bytes, as its peak is from here on; 0 where that cannot be had."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _status("VmRSS")


def peak():
    return _status("VmHWM")


def _status(name):
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
