import logging
import os
import signal
import sys
import threading

import pytest

from mlc.training.quiet import OrbaxError, quietly


def interrupt() -> None:
  os.kill(os.getpid(), signal.SIGINT)


def test_an_interruption_waits_for_the_call():
  done = []

  def call():
    interrupt()
    done.append(True)

  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    quietly(call)
  assert done
  assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interruption_does_not_wait():
  done = []

  def call():
    interrupt()
    interrupt()
    done.append(True)

  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    quietly(call)
  assert not done
  assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_interruption_stays_ignored():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    assert quietly(lambda: interrupt() or 3) == 3
  finally:
    signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone():
  found = []
  thread = threading.Thread(target=lambda: found.append(quietly(lambda: 3)))
  thread.start()
  thread.join()
  assert found == [3]


@pytest.mark.slow
@pytest.mark.parametrize(
  ('error', 'errno'),
  [
    (ValueError("x [os_error_code='28'] y"), 28),
    (PermissionError(13, 'denied'), 13),
    (OSError('nameless'), 0),
    (KeyError('a' * 1000), 0),
  ],
)
def test_a_failure_is_told_once_and_shortly(error, errno, capfd, caplog):
  def call():
    logging.getLogger('absl').error('noise')
    logging.getLogger('asyncio').error('noise')
    raise error

  hook = sys.unraisablehook
  try:
    with pytest.raises(OrbaxError) as failure:
      quietly(call)
  finally:
    sys.unraisablehook = hook
  assert failure.value.errno == errno
  assert str(failure.value).startswith(type(error).__name__)
  assert len(str(failure.value)) <= 300
  assert capfd.readouterr() == ('', '')
  assert not caplog.text
  assert not logging.getLogger('absl').filters


def test_other_unraisable_errors_are_still_heard(monkeypatch):
  heard = []
  monkeypatch.setattr(sys, 'unraisablehook', heard.append)

  class Unraisable:
    def __init__(self, error):
      self.exc_value = error

  def call():
    sys.unraisablehook(Unraisable(RuntimeError('Event loop is closed')))
    sys.unraisablehook(Unraisable(RuntimeError('something else')))

  quietly(call)
  assert [str(u.exc_value) for u in heard] == ['something else']
  assert sys.unraisablehook == heard.append
