"""Hostile functions: each harms itself only.

Four well-behaved neighbours are called at a steady rate all the time. After each case, everything that the hostile
function started is gone, its next call gets a fresh environment, and no neighbour has seen an error or a new process.
The whole battery (``tox -e battery``) also measures the neighbours' latency with and without each case, and how soon
answers arrive and processes end.
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
    needs_sandbox,
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
ROUNDS = share(2, 0)  # of measuring the neighbours without and with a case
PHASE = 2.0  # seconds of each measurement
TIMED_OUT = "Sandbox.Timedout: Task timed out after .* seconds"
KILLED = "Runtime.ExitError: Runtime exited with error: signal: killed"
TOO_LARGE = "Function.ResponseSizeTooLarge: .*"
FAILED = "Runtime.ExitError: Runtime exited with error: "
TOO_MUCH = f"{KILLED}|MemoryError: .*"


class Case(NamedTuple):
    """An act of hostile.py; ``answer`` is a regular expression for the error or the JSON result."""

    name: str
    event: dict[str, Any]
    answer: str = ""
    timeout: float = 30  # seconds
    memory: int = 128  # MiB


def case(name, answer, timeout=30, memory=128, **event):
    return Case(name, event, answer, timeout, memory)


def endless(name, **event):
    return case(name, TIMED_OUT, **{"timeout": share(0.5, 0.3), **event})


SIGNALS = sorted(
    set(signal.valid_signals())
    - {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}  # ignored by default
    - {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}  # stop the process
)
CASES = [
    endless("endless: loop", do="loop"),
    endless("endless: stops itself", do="stop"),
    endless("endless: ignores every signal", do="ignore"),
    endless("endless: never releases the GIL", do="keep_the_interpreter"),
    endless("endless: stops its supervisor", do="stop_the_supervisor"),
    case("exit: sys.exit(0)", "Runtime.ExitError: Runtime exited without providing a reason", do="leave", status=0),
    case("exit: sys.exit(3)", f"{FAILED}exit status 3", do="leave", status=3),
    case("exit: sys.exit with a text", f"{FAILED}exit status 1", do="leave", status="a text"),
    case("exit: os._exit(0)", "Runtime.ExitError: Runtime exited without providing a reason", do="quit", status=0),
    case("exit: os._exit(255)", f"{FAILED}exit status 255", do="quit", status=255),
    case("exit: os._exit in a thread", f"{FAILED}exit status 9", do="quit_in_a_thread", status=9),
    case("exit: KeyboardInterrupt", f"{FAILED}(exit status 1|signal: interrupt)", do="interrupt"),
    *(
        case(f"exit: signal {number}", f"{FAILED}signal: .*", do="end_by", number=number)
        for number in share(SIGNALS, [1, 9, 15, 64])
    ),
    case("exit: crash in C", f"{FAILED}signal: segmentation fault", do="crash"),
    case("exit: stack overflow", f"{FAILED}signal: segmentation fault", do="overflow"),
    case("exit: execs another program", f"{FAILED}exit status 1", do="become", argv=["/bin/false"]),
    endless("endless: execs a program that waits", do="become", argv=["/bin/sleep", "60"]),
    case("exit: kills its supervisor", f'{KILLED}|"alive"', do="kill_the_supervisor"),
    case("exit: kills all processes it can", '"alive"', do="kill_all"),
    case("exit: leaves a daemon", f"{FAILED}exit status 7", do="fork_twice", and_then="quit", status=7),
    case("memory: allocates 2 GiB", TOO_MUCH, do="hog"),
    case("memory: children allocate 2 GiB", f"{TIMED_OUT}|{TOO_MUCH}", 1, do="hog_in_children"),
    endless("processes: fork bomb of 200", memory=1024, do="bomb"),
    endless("processes: fork faster than kills", memory=1024, do="flee"),
    case("processes: fork faster than kills, then exit", f"{FAILED}exit status 7", memory=1024, do="flee_from"),
    endless("processes: daemon", do="fork_twice"),
    endless("processes: 10,000 threads", memory=1024, do="many_threads"),
    case("processes: 5,000 descriptors", '"Too many open files"', do="many_descriptors"),
    case("output: 1 GiB", '"printed"', 300, do="flood", size=share(1024, 16) * MIB),
    case("output: endless line", '"printed"', do="line_without_end", size=share(256, 8) * MIB),
    case("output: binary noise", '"noise"', do="noise"),
    case("output: closes its descriptors", '"noise"', do="noise", close=[0, 1, 2]),
    case("output: closes the telemetry descriptor", f'"noise"|{FAILED}.*|OSError: .*', do="noise", close=[3]),
    case("output: prints after its answer", '"printing"', do="print_for_ever"),
    *(case(f"result: limit {n - LIMIT:+} bytes", '"x+"', memory=512, do="large", size=n) for n in (LIMIT - 1, LIMIT)),
    case("result: limit +1 bytes", TOO_LARGE, memory=512, do="large", size=LIMIT + 1),
    case("result: body of 2 GB", TOO_LARGE, do="stream", size=2 * 10**9, chunked=False),
    case("result: 2 GB in chunks", TOO_LARGE, do="stream", size=2 * 10**9, chunked=True),
    case("result: chunks of 6 MB", TOO_LARGE, do="stream", size=48 * 10**6, chunked=True, piece=6_000_000),
    case("result: many incomplete responses", "[0-9]+", memory=512, do="hold_back"),
    case("result: NaN", r"\[NaN, Infinity\]", do="nan"),
    case("result: cycle", "Runtime.MarshalError: Unable to marshal response: .*", do="cycle"),
    case("result: 100,000 levels", f"Runtime.MarshalError: .*|RecursionError: .*|{FAILED}.*", do="deep"),
    case("result: surrogate", rf'{FAILED}exit status 1|"\\ud800"', do="surrogate"),
    case("Runtime API: invalid requests", r'\["", "400", "403", "404"\]', do="attack", rounds=share(3, 1)),
    case("Runtime API: many connections", "[0-9]+", do="crowd", count=share(1000, 40)),
    case("Runtime API: sends without reading", "[0-9]+", do="send_without_reading"),
    case("Runtime API: responds, then exits", '"by hand"', do="answer_first", then="quit", status=7),
    case("Runtime API: responds, then loops", '"by hand"', 1, do="answer_first", then="loop"),
]
BOUNDED = (  # cases that must not fill the server's memory
    "result: body of 2 GB",
    "result: 2 GB in chunks",
    "result: chunks of 6 MB",
    "result: many incomplete responses",
    "Runtime API: sends without reading",
)
DEPENDENT = "endless", "exit: kills", "exit: leaves", "memory", "processes"  # on the sandbox
AT_IMPORT = [
    case("import: exits", f"{FAILED}exit status 7", do="quit", status=7),
    case("import: crashes", f"{FAILED}signal: segmentation fault", do="crash"),
    case("import: leaves a daemon", f"{FAILED}exit status 8", do="fork_twice", and_then="quit", status=8),
    case("import: allocates 2 GiB", f"{TOO_MUCH}", do="hog"),
    case("import: raises", "AttributeError: .*|KeyError: .*", do="no such act"),
]


SANDBOXES = ["process", "namespaces", "root"]


def in_each_sandbox(cases):
    """Run all cases in all sandboxes; in an ordinary run, the others only for the cases that depend on them."""
    pairs = [(sandbox, case) for sandbox in SANDBOXES for case in cases]
    depend = {"process": "", "namespaces": DEPENDENT, "root": "memory"}
    pairs = [(sandbox, case) for sandbox, case in pairs if WHOLE or case.name.startswith(depend[sandbox])]
    ids = [f"{sandbox}-{case.name}" for sandbox, case in pairs]
    return pytest.mark.parametrize(("site", "case"), pairs, ids=ids, indirect=["site"])


@pytest.fixture(scope="module")
def open_site(tmp_path_factory):
    """Open the site of a sandbox, and close the one before. A site with errors is not used again."""
    with contextlib.ExitStack() as stack:
        sites = {}

        def open_site(sandbox):
            if sandbox not in sites or sites[sandbox].neighbours.errors:
                stack.close()
                sites.clear()
                sites[sandbox] = stack.enter_context(new_site(sandbox, tmp_path_factory.mktemp("hostile") / "code"))
            return sites[sandbox]

        yield open_site


@pytest.fixture(params=SANDBOXES)
def site(request, open_site):
    """An executor and its neighbours; after the test, all neighbours must still answer, without an error."""
    needs_sandbox(request.param)
    site = open_site(request.param)
    yield site
    site.neighbours.wait_for_responses()
    assert site.neighbours.errors == []


@contextlib.contextmanager
def new_site(sandbox, code):
    shutil.copytree(FUNCTIONS / "hostile", code)
    with quiet_logger() as logger:
        with executing(sandbox=sandbox, logger=logger) as executor:
            with Neighbours(executor, code, rate=25) as neighbours:
                yield Site(sandbox, executor, code, neighbours)


@contextlib.contextmanager
def quiet_logger():
    """A logger that formats every line, as a server's does, and discards it."""
    logger = logging.Logger("hostile", logging.INFO)
    with open(os.devnull, "w") as file:
        logger.addHandler(logging.StreamHandler(file))
        yield logger


class Site(NamedTuple):
    """An executor with neighbours, and the directory of the functions' code."""

    sandbox: str
    executor: Any
    code: Path
    neighbours: Neighbours

    def function(self, case, pipe, handler="hostile.handler", **variables):
        name = re.sub(r"[^a-z0-9]+", "-", case.name.lower())
        variables["LIVENESS_PIPE"] = pipe.path(self.executor, self.code)
        options = {"timeout": case.timeout, "memory_size": case.memory, "environment": variables}
        return function(handler, code=self.code, name=name[:64], **options)


@pytest.fixture
def pipe(tmp_path, site):
    pipe = LivenessPipe(site.code / tmp_path.name)
    yield pipe
    pipe.close()


@in_each_sandbox(CASES)
def test_a_hostile_function_harms_only_itself(site, pipe, case, battery):
    hostile, before = site.function(case, pipe), set(population(site.executor))
    figures = Figures(measures_neighbours=case.event.get("number", 9) == 9)  # one signal stands for all

    def misbehave():
        calls_of(site.executor, hostile)
        with figures.timed(case, pipe):
            outcome = site.executor.execute(hostile, invocation(case.event, name=hostile.name, tail=False))
        figures.note_death(pipe, has_ended(outcome) and case.answer != TIMED_OUT)
        assert re.fullmatch(case.answer, answer_of(outcome))
        if not has_ended(outcome):
            run(site.executor, hostile, {"do": "quit", "status": 0})
        figures.note_end(pipe, after_answer=has_ended(outcome))
        wait_until(lambda: set(population(site.executor)) <= before)
        assert calls_of(site.executor, hostile) == 1

    run_and_measure(site, misbehave, figures)
    battery.record(f"{case.name} ({site.sandbox})", **figures.all())
    if case.name in BOUNDED:
        assert figures.worst("server_mib") <= 16  # about twice BUFFER_LIMIT of the Runtime API


@in_each_sandbox(AT_IMPORT)
def test_a_function_that_fails_at_import_gets_its_error_and_harms_no_other(site, pipe, case, battery):
    before, figures = set(population(site.executor)), Figures()
    hostile = site.function(case, pipe, "at_import.handler", INIT=json.dumps(case.event))

    def misbehave():
        for _ in range(share(5, 2)):
            with figures.timed(case, pipe):
                outcome = site.executor.execute(hostile, invocation(name=hostile.name))
            figures.note_death(pipe, died=True)
            assert re.fullmatch(case.answer, answer_of(outcome))
        figures.note_end(pipe, after_answer=False)
        wait_until(lambda: set(population(site.executor)) <= before)

    run_and_measure(site, misbehave, figures)
    battery.record(f"{case.name} ({site.sandbox})", **figures.all())


def test_an_endless_import_times_out_on_every_call(site, pipe):
    case = endless("import: endless", do="loop")
    hostile = site.function(case, pipe, "at_import.handler", INIT=json.dumps(case.event))
    with quiet_logger() as logger, executing(sandbox=site.sandbox, init_timeout=0.3, logger=logger) as executor:
        for _ in range(2):
            assert re.fullmatch(case.answer, answer_of(executor.execute(hostile, invocation(name=hostile.name))))
            pipe.wait_for_end()


def test_process_wide_changes_stay_in_their_environment(site, pipe):
    case = Case("state: changes everything", {"do": "change_everything"})
    changer, other = site.function(case, pipe), site.function(Case("state: another", {}), pipe)
    here = os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    original = result(site.executor, other, {"do": "fingerprint"})
    changed = result(site.executor, changer, case.event)
    assert sum(changed[name] != original[name] for name in original) >= 12, changed
    assert result(site.executor, other, {"do": "fingerprint"}) == original
    run(site.executor, changer, {"do": "quit", "status": 0})
    assert result(site.executor, changer, {"do": "fingerprint"}) == original
    assert here == (
        os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("act", "options"), [("attack", {}), ("crowd", {"count": share(200, 20)})], ids=["attack", "crowd"]
)
def test_a_neighbours_runtime_api_serves_no_other_environment(site, pipe, act, options, battery):
    case = Case(f"a neighbour's Runtime API: {act}", {"do": act, "addresses": site.neighbours.addresses, **options}, "")
    hostile, figures = site.function(case, pipe), Figures()

    def misbehave():
        answer = result(site.executor, hostile, case.event)
        assert answer == ([""] if act == "attack" else answer)

    run_and_measure(site, misbehave, figures)
    battery.record(f"{case.name} ({site.sandbox})", **figures.all())


def answer_of(outcome):
    """Return ``errorType: errorMessage`` of an error, without the request id, or else the result."""
    if outcome.function_error is None:
        return outcome.payload.decode()
    error = json.loads(outcome.payload)
    return f"{error['errorType']}: {re.sub('^RequestId: [^ ]+ (Error: )?', '', error['errorMessage'])}"


def calls_of(executor, function):
    """Return the number of calls of the environment; on a busy machine, retry a call that times out."""
    deadline = time.monotonic() + 30
    while True:
        outcome, value = run(executor, function, {"do": "nothing"})
        if outcome.function_error is None:
            return value
        assert value["errorType"] == "Sandbox.Timedout", value
        assert time.monotonic() < deadline


def has_ended(outcome):
    """Return whether the environment ends with such an outcome."""
    return answer_of(outcome).startswith(("Sandbox.Timedout", "Runtime.ExitError", "Function.ResponseSizeTooLarge"))


def run_and_measure(site, misbehave, figures):
    """Run the case once; in the whole battery for a while, and measure the neighbours before and meanwhile."""
    phases = [], []
    rounds = ROUNDS if figures.measures_neighbours else 0
    for number in range(rounds * 2):
        start = time.monotonic()
        while time.monotonic() < start + PHASE:
            misbehave() if number % 2 else time.sleep(PHASE)
        phases[number % 2].append((start, time.monotonic()))
    if rounds:
        figures.neighbours = compared(*(site.neighbours.latencies(one) for one in phases))
    else:
        misbehave()


class Figures:
    """The highest of each measured figure: milliseconds, and MiB that the server's memory grew by."""

    def __init__(self, *, measures_neighbours=True):
        self.measures_neighbours = measures_neighbours
        self._worst = {}
        self.neighbours = {}

    def _note(self, name, value):
        self._worst[name] = max(value, self._worst.get(name, value))

    def worst(self, name):
        """Return the highest value; 0 if it could not be measured."""
        return self._worst.get(name, 0.0)

    @contextlib.contextmanager
    def timed(self, case, pipe):
        pipe.end_started_at()  # discard times of earlier rounds
        resident, started = reset_peak(), time.monotonic()
        yield
        self._answered = time.monotonic()
        if case.answer == TIMED_OUT:
            self._note("beyond_timeout_ms", (self._answered - started - case.timeout) * 1000)
        if resident:
            self._note("server_mib", (peak() - resident) / MIB)

    def note_death(self, pipe, died):
        if died and (end_started_at := pipe.end_started_at()):
            self._note("answer_after_death_ms", (self._answered - end_started_at) * 1000)

    def note_end(self, pipe, *, after_answer):
        end = pipe.wait_for_end()
        if after_answer:
            self._note("gone_after_answer_ms", (end - self._answered) * 1000)

    def all(self):
        return {**{name: f"{value:.1f}" for name, value in self._worst.items()}, **self.neighbours}


def reset_peak():
    """Reset this process's peak of resident memory. Return the bytes now resident; 0 if the kernel cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _status("VmRSS")


def peak():
    return _status("VmHWM")


def _status(name):
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
