"""Servers as they are started: a socket, a signal, several processes."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from fastgoal.errors import ConfigError, DataError
from fastgoal.interrupts import Interrupts
from fastgoal.search.service.server import _in_worker, address, bind, serve
from fastgoal.search.service.settings import Limits, ServiceSettings
from fastgoal.search.service.workers import CANNOT_START

TEXT = json.dumps({"text": "A red ball lies on the left. A blue box.", "top": 3})
FREE = Limits(rate=0)
posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def search(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/api/search", TEXT, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())["hits"]
    connection.close()
    return found


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_finish(index_folder, number):
    answers, bound = [], bind("127.0.0.1", 0)
    port = bound.getsockname()[1]

    def clients():
        answers.append(search(port))
        with ThreadPoolExecutor(6) as pool:
            flying = [pool.submit(search, port) for _ in range(6)]
            next(iter(flying)).result()
            os.kill(os.getpid(), number)  # most of the others wait for the model
            answers.extend(future.result() for future in flying)

    thread = threading.Thread(target=clients)
    with Interrupts():  # as the command line has them: it raises for a signal that nobody took
        serve(ServiceSettings(uri=str(index_folder), limits=FREE), bound, ready=lambda _: thread.start())
    thread.join()
    assert answers == [(200, answers[0][1])] * 7
    with pytest.raises(ConnectionError):
        search(port)


def children(pid):
    """Its workers."""
    command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "spawn_main" in line]


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@posix
def test_several_workers_serve_one_index_and_end_with_the_one_that_started_them(index_folder):
    command = [sys.executable, "-m", "fastgoal", "serve", str(index_folder), "--port", "0", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(300, process.kill)
    killer.start()
    try:
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())[1])
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(search, [port] * 16))
        assert answers == [(200, answers[0][1])] * 16
        workers = children(process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        assert any("died (exit code -9); another takes its place" in line for line in process.stderr)
        assert search(port) == answers[0]
        workers = [*workers, *children(process.pid)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert all(gone(worker) for worker in workers)
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


def test_a_worker_that_cannot_start_says_why(capsys):
    def here():
        raise DataError("no index here", where="nowhere")

    with pytest.raises(SystemExit) as end:
        _in_worker(here)
    assert end.value.code == CANNOT_START
    assert capsys.readouterr().err == "fastgoal: nowhere: no index here\n"


def test_what_is_no_index_is_told_before_workers_start(tmp_path):
    told = []
    with bind("127.0.0.1", 0) as bound, pytest.raises(DataError, match="no index here"):
        serve(ServiceSettings(uri=str(tmp_path)), bound, workers=2, ready=partial(told.append))
    assert told == []


def test_a_port_in_use_and_an_address_of_others_are_told_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port {port}: the port is in use"):
            bind("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"--host 192\.0\.2\.1: cannot be listened at"):
        bind("192.0.2.1", 0)
    with pytest.raises(ConfigError, match=r"--host nowhere\.invalid: cannot be listened at"):
        bind("nowhere.invalid", 0)
    with pytest.raises(ConfigError, match="--port 99999: there is no such port"):
        bind("127.0.0.1", 99999)


def test_the_address_is_one_that_a_browser_here_can_open():
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("localhost", "127.0.0.1")):
        with bind(host, 0) as bound:
            assert address(bound) == f"http://{shown}:{bound.getsockname()[1]}/"
