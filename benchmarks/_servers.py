"""Starts a server on one core, waits until it answers, pauses it while others are measured, and reads what it cost."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
_BEGUN = 19  # where /proc/PID/stat has the start of a process, counted from its state
_NGINX = """
worker_processes 1; daemon off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{body}'; }} }}
}}
"""


class Running:
    """A server process with its children, in a session of its own."""

    def __init__(self, name: str, command: list[str], port: int, *, folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.port = port
        on_core = ["taskset", "-c", str(SERVER_CORE)] if shutil.which("taskset") else []
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed when it is stopped)
        self.process = subprocess.Popen(
            [*on_core, *command],
            cwd=folder,
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )

    def ask(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Return status and body of one request; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            if body is None:
                connection.request("GET", path)
            else:
                sent = body if isinstance(body, bytes) else json.dumps(body)
                connection.request("POST", path, sent, {"content-type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait(self, path: str = "/healthz", *, seconds: float = 60.0) -> None:
        """Return once it answers 200."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self._said.seek(0)
                said = self._said.read().decode(errors="replace").strip()
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {said}")
            try:
                if self.ask(path)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.005)
        raise RuntimeError(f"{self.name} was not ready after {seconds:g} s")

    def pause(self) -> None:
        """Let it do nothing, so that it takes nothing from the one that is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """Return the CPU seconds that it and its children have used."""
        return sum(_stat(pid, 11) + _stat(pid, 12) for pid in self._family()) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> float:
        """Return the most memory that it has had resident, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024

    def stop(self) -> None:
        """End it and all that it started, and wait for its end."""
        family = self._family()
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        time.sleep(0.2)
        for pid, begun in family.items():  # some leave their workers behind
            if _stat(pid, _BEGUN) == begun:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._said.close()

    def _signal(self, number: int) -> None:
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _family(self) -> dict[int, int]:
        """Return it and those descended from it, each with when it began."""
        begun: dict[int, int] = {}
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            pid = int(stat.parent.name)
            parents[pid] = self.process.pid if int(fields[3]) == self.process.pid else int(fields[1])  # by the session
            begun[pid] = int(fields[_BEGUN])

        def is_ours(pid: int) -> bool:
            while pid > 1 and pid != self.process.pid:
                pid = parents.get(pid, 0)
            return pid == self.process.pid

        return {pid: at for pid, at in begun.items() if is_ours(pid)}


def _stat(pid: int, field: int) -> int:
    """Return a figure of a process, counted from its state; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[field])
    except OSError:
        return 0


def kaizen(folder: Path, env: Mapping[str, str] | None = None) -> Running:
    """Start `kaizen serve` in a project."""
    port = free_port()
    return Running("kaizen", [str(BIN / "kaizen"), "serve", "--port", str(port)], port, folder=folder, env=env or {})


def nginx(folder: Path, body: bytes) -> Running:
    """Start nginx with one worker that answers everything with this body."""
    port = free_port()
    folder.mkdir()
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, body=body.decode().replace("'", "")))
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    return Running("nginx", command, port, folder=folder, env={})


def load(
    server: Running,
    body: bytes,
    *,
    connections: int,
    seconds: float,
    folder: Path,
    path: str = "/v1/predict",
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Send the same request from the other core as fast as answers come; return what `wrk` counted.

    The result has `requests`, `errors` (answers other than 2xx and 3xx among them), `rate` (a second), `p50_us`,
    `p99_us` and `cpu_us` (of the server, a request).
    """
    script = folder / "post.lua"
    (folder / "body").write_bytes(body)
    told = {"content-type": "application/json", **(headers or {})}
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in told.items()]
    script.write_text(_LUA.replace("BODY", str(folder / "body")).replace("HEADERS", "\n".join(lines)))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script)]
    if shutil.which("taskset"):
        command = ["taskset", "-c", str(LOAD_CORE), *command]
    before = server.cpu_s()
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{path}"], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    found["rate"] = found["requests"] / found["seconds"]
    found["cpu_us"] = 1e6 * (server.cpu_s() - before) / max(1, found["requests"])
    return found


_LUA = """
wrk.method = "POST"
HEADERS
wrk.body = io.open("BODY", "rb"):read("*a")
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%f,"p50_us":%d,"p99_us":%d,"errors":%d}\\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
