"""One writer a run directory: flock, which the kernel frees on any death."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from mlc.run_directory.files import RunDirectoryError, naming_path

# `holder` takes the lock for an instant, which must not refuse a starter.
_PATIENCE_SECS = 0.25
_RETRY_SECS = 0.02
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)


class HeldError(RunDirectoryError):
  """Another process is writing the run directory."""


class Holder(NamedTuple):
  """Who holds a lock; pid 0 when the file does not say.

  Attributes:
    pid: process id.
    host: the machine on which it runs.
    since: when it took the lock, ISO 8601, UTC.
  """

  pid: int
  host: str
  since: str


@contextlib.contextmanager
def exclusive(path: pathlib.Path) -> Iterator[None]:
  """Holds the lock file `path`, or refuses.

  The file stays when the lock is given back: removing it would let two
  processes hold locks on two files of the same name. After kill -9 the file
  still names the dead process, but the lock is free.

  Args:
    path: lock file; made when missing.

  Raises:
    HeldError: another process has it; the message names pid and host.
    RunDirectoryError: the file system cannot lock.
  """
  descriptor = _acquire(path)
  try:
    holder_now = Holder(
      pid=os.getpid(),
      host=socket.gethostname(),
      since=datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    )
    with naming_path(path):
      os.ftruncate(descriptor, 0)
      os.write(descriptor, json.dumps(holder_now._asdict()).encode())
    yield
  finally:
    with contextlib.suppress(OSError):
      os.ftruncate(descriptor, 0)
    os.close(descriptor)


def _acquire(path: pathlib.Path) -> int:
  deadline = time.monotonic() + _PATIENCE_SECS
  while True:
    with naming_path(path):
      # Opened for writing: NFS grants an exclusive lock to nothing less.
      descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
      # Whoever removed the directory meanwhile has left us a nameless file.
      if os.path.samestat(os.fstat(descriptor), os.stat(path)):
        return descriptor
    except FileNotFoundError:
      pass
    except OSError as error:
      if error.errno not in _BUSY:
        os.close(descriptor)
        raise RunDirectoryError(
          f'the file system of {path.parent} does not support locks (flock: '
          f'{os.strerror(error.errno or 0)}), as some NFS and Lustre mounts '
          'do not. Two processes could then ruin a run, so nothing was '
          'started. Choose a --workdir on a local disk, or have the file '
          'system mounted with flock.'
        ) from error
    os.close(descriptor)
    if time.monotonic() > deadline:
      raise HeldError(_held_message(path))
    time.sleep(_RETRY_SECS)


def refuse_held(path: pathlib.Path) -> None:
  """Raises HeldError when another process holds the lock file `path`.

  For a refusal before long preparations; what counts is `exclusive`.
  """
  if holder(path) is not None:
    raise HeldError(_held_message(path))


def _held_message(path: pathlib.Path) -> str:
  who = _read(path)
  name = f'process {who.pid} on {who.host}' if who.pid else 'another process'
  since = f' since {who.since}' if who.since else ''
  return (
    f'{path.parent} is being written by {name}{since}. Nothing was changed. '
    'Wait for it or end it, then run the same command again.'
  )


def holder(path: pathlib.Path) -> Holder | None:
  """Who holds the lock file `path`; None when nobody does or none is there.

  A probe: it takes a shared lock for an instant, and writes nothing.
  """
  try:
    descriptor = os.open(path, os.O_RDONLY)
  except OSError:
    return None
  try:
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except OSError as error:
    return _read(path) if error.errno in _BUSY else None
  finally:
    os.close(descriptor)
  return None


def _read(path: pathlib.Path) -> Holder:
  # The holder may be between its ftruncate and its write.
  try:
    return Holder(**json.loads(path.read_bytes()))
  except (OSError, ValueError, TypeError):
    return Holder(pid=0, host='', since='')
