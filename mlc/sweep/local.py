"""Runs jobs as processes of this machine, a few at a time.

Each job is the leader of a process group of its own: Ctrl-C at the terminal
reaches only the launcher, which passes it on to the groups that it made and
waits for them. A job that is killed leaves a run directory that the next
launch continues, so nobody needs to be asked twice.
"""

import collections
import contextlib
import ctypes
import datetime
import heapq
import os
import pathlib
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from mlc.sweep.zygote import Process, Zygote

_POLL_SECS = 0.05
_TAIL_BYTES = 1 << 14
_TAIL_LINES = 20
_LAUNCHER = 'MLC_LAUNCHER_PID'
_PR_SET_PDEATHSIG = 1


class Job(NamedTuple):
  """A command to run.

  Attributes:
    run_id: its name.
    argv: program and arguments.
    env: the whole environment of the process.
    log: file to which its output is appended; its directory is made.
  """

  run_id: str
  argv: tuple[str, ...]
  env: Mapping[str, str]
  log: pathlib.Path


class Outcome(NamedTuple):
  """What became of a job.

  Attributes:
    job: which one.
    state: finished (exit code 0), failed, interrupted, or skipped (not
      started, since the launcher was interrupted before).
    code: exit code; -n when signal n ended it; None when it did not start.
    seconds: how long it ran.
    message: for a failed one, what its code means and the end of its output.
  """

  job: Job
  state: Literal['finished', 'failed', 'interrupted', 'skipped']
  code: int | None
  seconds: float
  message: str = ''


class Event(NamedTuple):
  """Something happened to a job.

  Attributes:
    kind: started, finished, failed or interrupted.
    job: which one.
    code: exit code, as in Outcome; None when it started.
    seconds: how long it ran.
    message: as in Outcome.
    ended: how many jobs ended so far.
    total: how many jobs there are.
    remaining_seconds: estimate for the others; None before any finished.
  """

  kind: Literal['started', 'finished', 'failed', 'interrupted']
  job: Job
  code: int | None
  seconds: float
  message: str
  ended: int
  total: int
  remaining_seconds: float | None


class _Child(NamedTuple):
  job: Job
  process: Process
  began: float
  offset: int


def run_local(
  jobs: Sequence[Job],
  *,
  max_parallel: int = 1,
  on_event: Callable[[Event], None] | None = None,
  grace_secs: float | int = 10.0,
  preload: Sequence[str] = (),
) -> list[Outcome]:
  """Runs every job, also when others fail.

  On SIGINT, SIGTERM or SIGHUP no more jobs are started, the running ones get
  SIGTERM, and SIGKILL when they are still there after `grace_secs` or at the
  second signal; then it returns. To be called from the main thread, which
  alone receives signals.

  Args:
    jobs: in the order in which they are started.
    max_parallel: how many run at a time.
    on_event: called from this thread. If it raises, the running jobs are
      ended before the exception goes on.
    grace_secs: between SIGTERM and SIGKILL.
    preload: modules that jobs of the form `python -m MODULE ...` would import:
      they are imported once for all of them, see `Zygote`. The environment of
      such a job then counts from after its imports.

  Returns:
    An outcome a job, in the order of `jobs`.
  """
  if max_parallel < 1:
    raise ValueError(f'max_parallel is {max_parallel}; give at least 1.')
  zygote = Zygote(preload)
  sweep = _Sweep(jobs, max_parallel, on_event, zygote)
  with _signals() as received:
    try:
      while sweep.goes_on(stopping=bool(received)):
        if received:
          sweep.stop(hard=len(received) > 1, grace_secs=grace_secs)
        else:
          sweep.start_more()
        time.sleep(_POLL_SECS)
        sweep.collect(interrupted=bool(received))
    finally:
      sweep.kill()
      zygote.close()
  return sweep.outcomes()


class _Sweep:
  """The jobs that wait, run and have ended."""

  def __init__(
    self,
    jobs: Sequence[Job],
    max_parallel: int,
    on_event: Callable[[Event], None] | None,
    zygote: Zygote,
  ):
    self._jobs = list(jobs)
    self._waiting = collections.deque(range(len(self._jobs)))
    self._running: dict[int, _Child] = {}
    self._ended: dict[int, Outcome] = {}
    self._max_parallel = max_parallel
    self._on_event = on_event
    self._zygote = zygote
    self._deadline: float | None = None

  def goes_on(self, *, stopping: bool) -> bool:
    return bool(self._running or (self._waiting and not stopping))

  def outcomes(self) -> list[Outcome]:
    skipped = lambda job: Outcome(job, 'skipped', None, 0.0)
    return [
      self._ended.get(i) or skipped(job) for i, job in enumerate(self._jobs)
    ]

  def start_more(self) -> None:
    while self._waiting and len(self._running) < self._max_parallel:
      i = self._waiting.popleft()
      job = self._jobs[i]
      try:
        self._running[i] = _spawn(job, self._zygote)
      except OSError as error:
        message = f'cannot be started: {error}'
        self._end(i, Outcome(job, 'failed', None, 0.0, message))
      else:
        self._tell('started', job, None, 0.0, '')

  def collect(self, *, interrupted: bool) -> None:
    for i, child in list(self._running.items()):
      code = child.process.poll()
      if code is None:
        continue
      seconds = time.monotonic() - child.began
      del self._running[i]
      if code == 0:
        outcome = Outcome(child.job, 'finished', code, seconds)
      elif interrupted:
        outcome = Outcome(child.job, 'interrupted', code, seconds)
      else:
        message = '\n'.join([_meaning(code), *_tail(child)])
        outcome = Outcome(child.job, 'failed', code, seconds, message)
      self._end(i, outcome)

  def stop(self, *, hard: bool, grace_secs: float | int) -> None:
    if self._deadline is None:
      self._deadline = time.monotonic() + grace_secs
      self._send(signal.SIGTERM)
    if hard or time.monotonic() > self._deadline:
      self._send(signal.SIGKILL)

  def kill(self) -> None:
    """Ends what still runs, when an exception leaves the loop."""
    self._send(signal.SIGKILL)
    for child in self._running.values():
      child.process.wait()

  def _send(self, number: signal.Signals) -> None:
    for child in self._running.values():
      # Not yet seen to have ended, so the number is still this child's, or was
      # until a moment ago.
      if child.process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
          os.killpg(child.process.pid, number)

  def _end(self, i: int, outcome: Outcome) -> None:
    assert outcome.state != 'skipped'
    self._ended[i] = outcome
    self._tell(
      outcome.state,
      outcome.job,
      outcome.code,
      outcome.seconds,
      outcome.message,
    )

  def _tell(
    self,
    kind: Literal['started', 'finished', 'failed', 'interrupted'],
    job: Job,
    code: int | None,
    seconds: float,
    message: str,
  ) -> None:
    if self._on_event is None:
      return
    now = time.monotonic()
    ended, total = len(self._ended), len(self._jobs)
    left = remaining_seconds(
      [o.seconds for o in self._ended.values() if o.state == 'finished'],
      [now - child.began for child in self._running.values()],
      len(self._waiting),
      self._max_parallel,
    )
    self._on_event(Event(kind, job, code, seconds, message, ended, total, left))


def remaining_seconds(
  finished: Sequence[float],
  elapsed: Sequence[float],
  waiting: int,
  max_parallel: int,
) -> float | None:
  """When the last job ends, were each to take the mean of the finished ones.

  Args:
    finished: durations of finished jobs.
    elapsed: for how long each running job has run.
    waiting: number of jobs not started.
    max_parallel: how many run at a time.

  Returns:
    Seconds from now; None when no job finished yet.
  """
  if not finished:
    return None
  typical = statistics.fmean(finished)
  free = [0.0] * max(0, max_parallel - len(elapsed))
  slots = [max(0.0, typical - e) for e in elapsed] + free
  heapq.heapify(slots)
  for _ in range(waiting):
    heapq.heappush(slots, heapq.heappop(slots) + typical)
  return max(slots)


def _spawn(job: Job, zygote: Zygote) -> _Child:
  job.log.parent.mkdir(parents=True, exist_ok=True)
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  with open(job.log, 'ab') as log:
    offset = log.tell()
    log.write(f'=== {job.run_id} started {now}\n'.encode())
  environment = {**job.env, _LAUNCHER: str(os.getpid())}
  process = zygote.start(job.argv, environment, job.log)
  return _Child(job, process, time.monotonic(), offset)


def _tail(child: _Child) -> list[str]:
  """The last lines that this start of the job wrote."""
  try:
    with open(child.job.log, 'rb') as log:
      size = log.seek(0, os.SEEK_END)
      log.seek(max(child.offset, size - _TAIL_BYTES))
      lines = log.read().decode(errors='replace').splitlines()
  except OSError as error:
    return [f'({child.job.log} cannot be read: {error})']
  return lines[-_TAIL_LINES:]


def _meaning(code: int) -> str:
  if code >= 0:
    return f'exit code {code}'
  try:
    name = signal.Signals(-code).name
  except ValueError:
    name = str(-code)
  hint = ''
  if -code == signal.SIGKILL:
    hint = ', as the kernel does when memory runs out'
  return f'ended by signal {name}{hint}'


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
  """Collects SIGINT, SIGTERM and SIGHUP instead of dying of them."""
  received: list[int] = []
  before = {}
  if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
      # nohup and background jobs of a shell ignore some on purpose.
      if signal.getsignal(number) is not signal.SIG_IGN:
        note = lambda number, _: received.append(number)
        before[number] = signal.signal(number, note)
  try:
    yield received
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def exit_with_launcher() -> None:
  """To be called by a job's program first: it ends when its launcher does.

  Otherwise a launcher that is killed by kill -9 would leave jobs behind, which
  hold the locks of their runs against the next launch. Does nothing in a
  program that `run_local` did not start, or where the kernel cannot do it
  (it is a service of Linux).
  """
  launcher = os.environ.pop(_LAUNCHER, '')
  if not launcher.isdigit() or sys.platform != 'linux':
    return
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
  # It may have died between starting us and the call above.
  try:
    os.kill(int(launcher), 0)
  except ProcessLookupError:
    os.kill(os.getpid(), signal.SIGTERM)
  except PermissionError:
    pass
