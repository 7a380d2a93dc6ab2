"""Jobs that begin with everything imported.

Importing JAX, the heads and scikit-learn takes a job some seconds of a core
before its first line of work. The zygote is a process that imports them once
and forks for every job. It never touches a device, so that none of the threads
of JAX, and no driver, is there yet for a fork to break; JAX warns where a
program forks later than that. (OpenBLAS has threads from its import on, and
makes them anew after a fork.) Only Linux is known to fork so safely: elsewhere,
and for programs that are no Python modules, `start` begins a process anew.

The launcher writes a line of JSON for each job to the zygote, and reads from it
`["begun", job, pid]` and `["ended", job, code]`. A zygote whose launcher is
gone ends, and its jobs with it: see `exit_with_launcher`.
"""

import contextlib
import gc
import importlib
import json
import os
import pathlib
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

# The zygote looks for jobs that ended when nothing else wakes it.
_LOOK_SECS = 0.02
_SERVER = f'from {__name__} import main; main()'


@runtime_checkable
class Process(Protocol):
  """What a sweep asks of a job that runs; the leader of a process group."""

  @property
  def pid(self) -> int: ...
  def poll(self) -> int | None: ...
  def wait(self) -> int: ...


class Zygote:
  """The launcher's side.

  Attributes:
    modules: what is imported before the first job; one that cannot be
      imported is left for the job that needs it to say so.
  """

  def __init__(self, modules: Sequence[str]):
    self.modules = tuple(modules)
    self._server: subprocess.Popen[bytes] | None = None
    self._listener: threading.Thread | None = None
    self._begun: dict[int, int] = {}
    self._codes: dict[int, int] = {}
    self._news = threading.Condition()
    self._jobs = 0

  def start(
    self, argv: Sequence[str], env: Mapping[str, str], log: pathlib.Path
  ) -> Process:
    """Begins a job whose output is appended to `log`.

    Raises:
      OSError: the program cannot be started.
    """
    forks = sys.platform == 'linux' and bool(self.modules)
    if forks and tuple(argv[:2]) == (sys.executable, '-m'):
      with contextlib.suppress(BrokenPipeError):
        return self._fork(argv[2], argv[3:], env, log)
    with open(log, 'ab') as file:
      return subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=subprocess.STDOUT,
        start_new_session=True,
      )

  def close(self) -> None:
    """Ends the zygote; jobs that still run are asked to end."""
    server = self._server
    if server is not None:
      _hang_up(server)
      server.wait()
    if self._listener is not None:
      self._listener.join()

  def _fork(
    self,
    module: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    log: pathlib.Path,
  ) -> Process:
    server = self._server
    if server is None:
      server = self._server = self._begin()
    number = self._jobs
    self._jobs += 1
    line = json.dumps(
      [number, module, list(arguments), dict(env), os.path.abspath(log)]
    )
    assert server.stdin is not None
    try:
      server.stdin.write(line.encode() + b'\n')
      server.stdin.flush()
    except ValueError as error:
      raise BrokenPipeError('the zygote has ended') from error
    with self._news:
      # However long the imports take: a job that was asked for and then begun
      # anew would run twice.
      known = lambda: number in self._begun or self._server is not server
      self._news.wait_for(known)
      if number not in self._begun:
        raise BrokenPipeError('the zygote has ended')
    return _Forked(self, number)

  def _begin(self) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
      [sys.executable, '-c', _SERVER, *self.modules],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      # Ctrl-C at the terminal is the launcher's, which tells the jobs.
      start_new_session=True,
    )
    self._listener = threading.Thread(
      target=self._listen, args=(server,), daemon=True
    )
    self._listener.start()
    return server

  def _listen(self, server: subprocess.Popen[bytes]) -> None:
    assert server.stdout is not None
    with server.stdout:
      for line in server.stdout:
        kind, number, value = json.loads(line)
        with self._news:
          (self._begun if kind == 'begun' else self._codes)[number] = value
          self._news.notify_all()
    _hang_up(server)
    server.wait()
    with self._news:
      # What it ran ends with it; the next job begins another.
      for number in self._begun:
        self._codes.setdefault(number, -signal.SIGTERM)
      self._server = None
      self._news.notify_all()

  def _code(self, number: int, *, wait: bool) -> int | None:
    with self._news:
      if wait:
        self._news.wait_for(lambda: number in self._codes)
      return self._codes.get(number)


def _hang_up(server: subprocess.Popen[bytes]) -> None:
  assert server.stdin is not None
  with contextlib.suppress(BrokenPipeError):
    server.stdin.close()


class _Forked:
  """A job of the zygote."""

  def __init__(self, zygote: Zygote, number: int):
    self._zygote, self._number = zygote, number

  @property
  def pid(self) -> int:
    return self._zygote._begun[self._number]

  def poll(self) -> int | None:
    return self._zygote._code(self._number, wait=False)

  def wait(self) -> int:
    code = self._zygote._code(self._number, wait=True)
    assert code is not None
    return code


# The zygote's side.


def _serve(modules: Sequence[str]) -> tuple[str, list[str]] | None:
  """Forks for every job that the launcher writes.

  Returns:
    In a job its module and arguments; None in the zygote, at its end.
  """
  # What an import prints must not stand between the lines for the launcher.
  launcher = os.dup(1)
  os.dup2(2, 1)
  for name in modules:
    with contextlib.suppress(ImportError):
      importlib.import_module(name)
  # What is there now is shared by all jobs, until one writes to it.
  gc.freeze()
  running: dict[int, int] = {}
  pending = b''
  while True:
    ready, _, _ = select.select([0], [], [], _LOOK_SECS if running else None)
    if ready:
      read = os.read(0, 1 << 16)
      if not read:
        return None
      *lines, pending = (pending + read).split(b'\n')
      for line in lines:
        number, *job = json.loads(line)
        pid = os.fork()
        if pid == 0:
          os.close(launcher)
          return _become(*job)
        running[pid] = number
        # From here on it can be signalled as the group that it leads.
        while os.getpgid(pid) != pid:
          time.sleep(0.001)
        _tell(launcher, 'begun', number, pid)
    for pid in list(running):
      ended, status = os.waitpid(pid, os.WNOHANG)
      if ended:
        code = os.waitstatus_to_exitcode(status)
        _tell(launcher, 'ended', running.pop(pid), code)


def _tell(launcher: int, kind: str, number: int, value: int) -> None:
  os.write(launcher, json.dumps([kind, number, value]).encode() + b'\n')


def _become(
  module: str, arguments: list[str], env: Mapping[str, Any], log: str
) -> tuple[str, list[str]]:
  """Makes the process that was forked one that was begun for the job."""
  os.setsid()
  null = os.open(os.devnull, os.O_RDONLY)
  file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
  for here, there in ((null, 0), (file, 1), (file, 2)):
    os.dup2(here, there)
  os.close(null)
  os.close(file)
  os.environ.clear()
  os.environ.update(env)
  return module, arguments


def main() -> None:
  """The zygote, and every job that it becomes."""
  job = _serve(sys.argv[1:])
  if job is not None:
    module, arguments = job
    # It is run as the program that it is, and not as what was imported.
    sys.modules.pop(module, None)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name='__main__', alter_sys=True)
