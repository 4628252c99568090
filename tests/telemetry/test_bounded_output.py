"""Streams that do not wait for the reader of a full pipe."""

import io
import os
import pty
import subprocess
import sys
import threading

import pytest

from serverfull_wsgi.telemetry.bounded_output import BoundedText, bounded
from tests.support.servers import ROOT


class Pipe:
    """A pipe with a text stream at its end."""

    def __init__(self, **options):
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(writer, "wb")), encoding="utf-8", **options)
        self.bounded = bounded(self.stream)

    def read(self):
        try:
            return os.read(self.reader, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def fill(self):
        self.bounded.write_line("x" * 70_000 + "\n")
        assert self.bounded.buffer.lost == 1


@pytest.fixture
def make_pipe():
    pipes = []

    def make(**options):
        pipes.append(Pipe(**options))
        return pipes[-1]

    yield make
    for pipe in pipes:
        os.close(pipe.reader)
        pipe.stream.close()


@pytest.fixture
def pipe(make_pipe):
    return make_pipe()


def test_a_stream_of_a_file_on_a_disk_is_not_wrapped(tmp_path):
    with open(tmp_path / "log", "w") as file:
        assert bounded(file) is file


@pytest.mark.parametrize("stream", [None, io.StringIO(), sys], ids=["None", "in memory", "module"])
def test_a_stream_without_a_descriptor_is_not_wrapped(stream):
    assert bounded(stream) is stream


def test_a_stream_is_wrapped_once(pipe):
    assert type(pipe.bounded) is BoundedText
    assert bounded(pipe.stream) is pipe.bounded
    assert bounded(pipe.bounded) is pipe.bounded


def test_earlier_text_of_the_stream_comes_first():
    code = (
        "import sys; from serverfull_wsgi.telemetry.bounded_output import bounded; "
        "print('first'); bounded(sys.stdout).write_line('second')"
    )
    assert python(code) == b"first\nsecond"


def test_text_waits_for_a_flush_a_log_line_or_a_full_buffer(pipe):
    pipe.bounded.write("printed")
    assert pipe.read() == ""
    pipe.bounded.write_line("logged\n")
    assert pipe.read() == "printedlogged\n"
    pipe.bounded.write("printed")
    pipe.bounded.flush()
    assert pipe.read() == "printed"
    pipe.bounded.write("y" * 9000)
    assert len(pipe.read()) == 9000


def test_a_line_buffered_stream_writes_each_line(make_pipe):
    pipe = make_pipe(line_buffering=True)
    print("a line", file=pipe.bounded)
    assert pipe.read() == "a line\n"
    pipe.bounded.reconfigure(line_buffering=False)
    print("another", file=pipe.bounded)
    assert pipe.read() == ""
    pipe.bounded.flush()
    assert pipe.read() == "another\n"


def test_characters_outside_the_encoding_are_escaped_in_log_lines_only(pipe):
    pipe.bounded.reconfigure(encoding="ascii")
    pipe.bounded.write_line("ƛ\n")
    assert pipe.read() == "\\u019b\n"
    with pytest.raises(UnicodeEncodeError):
        pipe.bounded.write("ƛ")


def test_lost_lines_are_counted_and_the_cut_line_is_ended(pipe):
    pipe.fill()
    for _ in range(4):
        pipe.bounded.write_line("lost\n")
    assert pipe.bounded.buffer.lost == 5
    assert set(pipe.read()) == {"x"}
    pipe.bounded.write_line("back\n")
    note = "5 lines of output were dropped, because nothing read the output"
    end = pipe.read()
    assert end.startswith("\n")
    assert note in end
    assert end.endswith("\nback\n")
    assert pipe.bounded.buffer.lost == 0


def test_a_line_that_is_longer_than_the_pipe_is_written_if_it_is_read(pipe):
    line, read = "z" * 300_000 + "\n", []
    thread = threading.Thread(target=pipe.bounded.write_line, args=[line])
    thread.start()
    while thread.is_alive():
        read.append(pipe.read())
    read.append(pipe.read())
    assert "".join(read) == line


def test_lines_of_threads_are_not_mixed(pipe):
    def write(letter):
        for _ in range(100):
            pipe.bounded.write_line(letter * 9999 + "\n")

    threads = [threading.Thread(target=write, args=[letter]) for letter in "abcd"]
    read = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read.append(pipe.read())
    read.append(pipe.read())
    lines = "".join(read).splitlines()
    assert len(lines) == 400
    assert {len(set(line)) for line in lines} == {1}


def test_a_closed_stream_is_not_written_to(pipe):
    pipe.stream.close()
    other = os.open(os.devnull, os.O_WRONLY)  # has the closed descriptor's number now
    with pytest.raises(ValueError, match="closed file"):
        pipe.bounded.write_line("late\n")
    os.close(other)


def test_a_file_that_replaces_the_pipe_is_written_to(pipe, tmp_path):
    with open(tmp_path / "log", "wb") as log:
        os.dup2(log.fileno(), pipe.stream.fileno())
    pipe.bounded.write_line("in the file\n")
    assert (tmp_path / "log").read_text() == "in the file\n"


def test_a_file_that_replaces_a_terminal_is_written_to(tmp_path):
    reader, writer = pty.openpty()
    stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(writer, "wb")), encoding="utf-8")
    bounded(stream).write_line("on the terminal\n")
    assert os.read(reader, 100) == b"on the terminal\r\n"
    with open(tmp_path / "log", "wb") as log:
        os.dup2(log.fileno(), writer)
    bounded(stream).write_line("in the file\n")
    assert (tmp_path / "log").read_text() == "in the file\n"
    stream.close()
    os.close(reader)


def test_text_without_a_line_end_is_written_at_the_end_of_the_process():
    code = (
        "import sys; from serverfull_wsgi.telemetry.bounded_output import bounded; "
        "sys.stdout = bounded(sys.stdout); print('the end', end='')"
    )
    assert python(code) == b"the end"


def python(code):
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, check=True).stdout
