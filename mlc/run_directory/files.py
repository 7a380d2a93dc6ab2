"""Writes that are there in full or not at all, whatever stops the process."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

# Between any two system calls the process may be killed. So a file is made
# under a name that nobody reads and renamed when its bytes are on the disk.
TEMPORARY = '.*.tmp'


class RunDirectoryError(RuntimeError):
  """A run directory cannot be used as asked; nothing in it was changed."""


class StorageError(RunDirectoryError):
  """The file system refused a write: full, read-only or not permitted."""


@contextlib.contextmanager
def naming_path(path: pathlib.Path) -> Iterator[None]:
  """Turns an OSError of a write into one that says where and what to do."""
  try:
    yield
  except OSError as error:
    raise storage_error(path, os.strerror(error.errno or 0)) from error


def storage_error(path: pathlib.Path, reason: str) -> StorageError:
  """The error for a write to `path` that failed for `reason`."""
  return StorageError(
    f'cannot write {path}: {reason}. What stood there before is untouched. '
    'Free space (or mend the permissions) and run the same command again: '
    'it continues from the last checkpoint.'
  )


def write_atomic(
  path: pathlib.Path, content: bytes | Callable[[BinaryIO], Any]
) -> None:
  """Writes a file so that a reader finds the old or the new one, in full.

  Args:
    path: the file; its directory exists.
    content: the bytes, or a function that writes them to an open file.

  Raises:
    StorageError: the write failed; `path` is as it was.
  """
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  with naming_path(path):
    try:
      with open(temporary, 'wb') as file:
        if isinstance(content, bytes):
          file.write(content)
        else:
          content(file)
        file.flush()
        os.fsync(file.fileno())
      os.replace(temporary, path)
      sync_directory(path.parent)
    except BaseException:
      temporary.unlink(missing_ok=True)
      raise


def append(path: pathlib.Path, content: bytes) -> None:
  """Appends whole lines to a file; a failed write leaves none of them.

  Not forced to the disk: a checkpoint does that for the lines it counts on.

  Args:
    path: the file; made when missing.
    content: lines, each with its newline.

  Raises:
    StorageError: the write failed; the file has its former length.
  """
  with naming_path(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
      size = os.fstat(descriptor).st_size
      try:
        rest = memoryview(content)
        while rest:
          rest = rest[os.write(descriptor, rest) :]
      except BaseException:
        os.ftruncate(descriptor, size)
        raise
    finally:
      os.close(descriptor)


def truncate(path: pathlib.Path, size: int) -> None:
  """Cuts a file to its first `size` bytes, on the disk."""
  with naming_path(path), open(path, 'r+b') as file:
    file.truncate(size)
    os.fsync(file.fileno())


def mark(path: pathlib.Path) -> dict[str, Any]:
  """Length and SHA-256 of a file that grows, whose bytes are on the disk."""
  if not path.exists():
    return {'bytes': 0, 'sha256': hashlib.sha256().hexdigest()}
  with naming_path(path), open(path, 'rb') as file:
    os.fsync(file.fileno())
  size = path.stat().st_size
  return {'bytes': size, 'sha256': sha256(path, size)}


def begins_with(path: pathlib.Path, earlier: dict[str, Any]) -> bool:
  """True when a file, having grown, begins as `mark` saw it."""
  size = path.stat().st_size if path.exists() else 0
  if size < earlier['bytes'] or earlier['bytes'] == 0:
    return earlier['bytes'] == 0
  return sha256(path, earlier['bytes']) == earlier['sha256']


def read_json(path: pathlib.Path) -> Any:
  """The content of a JSON file.

  Raises:
    RunDirectoryError: it is missing or not JSON; the message names the file.
  """
  try:
    return json.loads(path.read_bytes())
  except OSError as error:
    raise RunDirectoryError(
      f'cannot read {path}: {os.strerror(error.errno or 0)}.'
    ) from error
  except ValueError as error:
    raise RunDirectoryError(
      f'{path} is damaged: not JSON ({error}). Restore it from a copy, or '
      'move it away.'
    ) from error


def read_object(path: pathlib.Path) -> dict[str, Any]:
  """The content of a JSON file that holds an object; errors as `read_json`."""
  value = read_json(path)
  if not isinstance(value, dict):
    raise RunDirectoryError(
      f'{path} is damaged: it holds a {type(value).__name__}, not an object. '
      'Restore it from a copy, or move it away.'
    )
  return value


def sha256(path: pathlib.Path, size: int | None = None) -> str:
  """SHA-256 of a file, or of its first `size` bytes, in hexadecimal."""
  digest = hashlib.sha256()
  rest = path.stat().st_size if size is None else size
  with open(path, 'rb') as file:
    while rest > 0:
      block = file.read(min(rest, 1 << 20))
      if not block:
        raise RunDirectoryError(f'{path} has fewer than {size} bytes.')
      digest.update(block)
      rest -= len(block)
  return digest.hexdigest()


def sync_directory(path: pathlib.Path) -> None:
  """Forces the names in a directory to the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    # Some network file systems have no fsync of a directory.
    with contextlib.suppress(OSError):
      os.fsync(descriptor)
  finally:
    os.close(descriptor)


def sync_tree(path: pathlib.Path) -> None:
  """Forces every file and name below a directory to the disk."""
  for folder, _, names in os.walk(path, topdown=False):
    for name in names:
      with open(os.path.join(folder, name), 'rb') as file:
        os.fsync(file.fileno())
    sync_directory(pathlib.Path(folder))
