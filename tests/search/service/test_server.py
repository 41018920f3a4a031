"""Servers as they are started: a socket, a signal, several processes."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from fastgoal.errors import ConfigError
from fastgoal.search.service.server import address, bind

TEXT = json.dumps({"text": "A red ball lies on the left. A blue box.", "top": 3})


@contextmanager
def started(*arguments):
    """A server of its own process, and the port that it printed."""
    command = [sys.executable, "-m", "fastgoal", "serve", *map(str, arguments), "--port", "0", "--rate", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(300, process.kill)
    killer.start()
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + process.stderr.read()
        yield process, int(found[1])
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


def children(pid):
    """Its workers."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line]


def search(port, path="/api/search"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, TEXT, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_lets_what_is_in_flight_finish(index_folder):
    with started(index_folder) as (process, port):
        status, before = search(port)
        assert status == 200
        with ThreadPoolExecutor(8) as pool:
            flying = [pool.submit(search, port) for _ in range(8)]
            while sum(future.done() for future in flying) < 2:  # the others wait for the model
                pass
            process.send_signal(signal.SIGTERM)
            hits = [future.result()[1]["hits"] for future in flying]
        assert hits == [before["hits"]] * 8
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
        with pytest.raises(ConnectionError):
            search(port)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_several_workers_serve_one_index(index_folder):
    with started(index_folder, "--workers", "2") as (process, port):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(search, [port] * 24))
        assert {status for status, _ in answers} == {200}
        assert len({json.dumps(found["hits"]) for _, found in answers}) == 1
        workers = children(process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        assert "died (exit code -9); another takes its place" in process.stderr.readline()
        assert search(port)[0] == 200  # the other one
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_a_worker_that_cannot_start_ends_them_all_with_its_reason(index_folder, tmp_path):
    shutil.copy(index_folder / "index.json", tmp_path)
    command = [sys.executable, "-m", "fastgoal", "serve", str(tmp_path), "--port", "0", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "the table of images is missing or broken" in done.stderr
    assert "a worker could not start" in done.stderr
    assert "Traceback" not in done.stderr


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


def test_the_address_is_one_that_a_browser_here_can_open():
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("localhost", "127.0.0.1")):
        with bind(host, 0) as bound:
            assert address(bound) == f"http://{shown}:{bound.getsockname()[1]}/"
