"""Silence around Orbax; what goes wrong in it reaches us as an exception."""

import contextlib
import gc
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_log = logging.getLogger(__name__)
_SHOWN = 300


class OrbaxError(Exception):
  """Orbax could not do what it was asked.

  Attributes:
    errno: of the system call that failed; 0 when none did.
  """

  def __init__(self, message: str, errno: int = 0):
    super().__init__(message)
    self.errno = errno


def quietly(call: Callable[[], Any]) -> Any:
  """Calls Orbax, passing what it logs to our debug log.

  One failed write makes it print hundreds of lines from its threads, and so
  does an interruption: Ctrl-C waits until it is done, the second does not.
  Importing it also gives the root logger a handler, which is the application's
  to choose.

  Args:
    call: imports Orbax and does something with it.

  Returns:
    What `call` returns.

  Raises:
    OrbaxError: it failed; the message is the start of what Orbax says.
  """
  hook = sys.unraisablehook
  with _interrupt_later(), _silence():
    try:
      result = call()
      sys.unraisablehook = hook
      return result
    except Exception as error:
      _log.debug('orbax failed', exc_info=True)
      code = re.search(r"os_error_code='(\d+)'", str(error))
      errno = int(code[1]) if code else getattr(error, 'errno', None) or 0
      failure = OrbaxError(f'{type(error).__name__}: {error}'[:_SHOWN], errno)
    # Tasks that it left unawaited complain when they are collected: that is
    # now, when nobody listens. The exception above held on to them.
    gc.collect()
  raise failure


@contextlib.contextmanager
def _interrupt_later() -> Iterator[None]:
  before = signal.getsignal(signal.SIGINT)
  main = threading.current_thread() is threading.main_thread()
  if not main or not callable(before):
    yield
    return
  received: list[int] = []

  def note(number, frame):
    received.append(number)
    if len(received) > 1:
      before(number, frame)

  signal.signal(signal.SIGINT, note)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)
  if received:
    before(received[0], None)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
  loggers = [logging.getLogger(name) for name in ('absl', 'asyncio')]
  handlers, hook = list(logging.root.handlers), sys.unraisablehook
  for logger in loggers:
    logger.addFilter(_divert)
  if not isinstance(hook, _Hook):
    # It stays after a failure: the threads go on for a while.
    sys.unraisablehook = _Hook(hook)
  try:
    yield
  finally:
    for logger in loggers:
      logger.removeFilter(_divert)
    logging.root.handlers[:] = handlers


def _divert(record: logging.LogRecord) -> bool:
  # Its records do not say from where they come; while Orbax works it is Orbax.
  _log.debug('orbax: %s', record.getMessage())
  return False


class _Hook:
  """Drops what TensorStore's threads tell an event loop that Orbax closed."""

  def __init__(self, before: Any):
    self._before = before

  def __call__(self, unraisable: Any) -> None:
    error = unraisable.exc_value
    if not (
      isinstance(error, RuntimeError) and str(error) == 'Event loop is closed'
    ):
      self._before(unraisable)
