"""What is said while rows are judged."""

import io
import logging
import sys
import types

import pytest

from experiments import progress


@pytest.fixture
def clock(monkeypatch):
  """Seconds, which pass when they are told to."""
  now = [100.0]
  passing = types.SimpleNamespace(monotonic=lambda: now[0])
  monkeypatch.setattr(progress, 'time', passing)
  return now


def judge(clock, seconds, total=100):
  """Ten blocks of ten rows, then once more for another stage."""
  with progress.Judging(2, ['hamming', 'subset']) as told:
    for stage in ('fitting', 'deciding'):
      for done in range(10, total + 1, 10):
        clock[0] += seconds
        told.on_rows(stage, done, total)


def test_rows_are_told_with_an_estimate(clock, caplog):
  caplog.set_level(logging.INFO)
  judge(clock, seconds=3.0)
  assert caplog.messages[0] == 'judging 2 runs with hamming, subset'
  # A line in 5 s; the time until the first block is that of its compilation.
  assert caplog.messages[1:5] == [
    'fitting 30 of 100 rows, about 21 s left',
    'fitting 50 of 100 rows, about 15 s left',
    'fitting 70 of 100 rows, about 9 s left',
    'fitting 90 of 100 rows, about 3 s left',
  ]
  assert caplog.messages[5] == 'deciding 30 of 100 rows, about 21 s left'


def test_the_longer_it_takes_the_rarer_are_the_lines(clock, caplog):
  caplog.set_level(logging.INFO)
  judge(clock, seconds=6.0, total=6000)
  first, second = (
    sum(stage in line for line in caplog.messages)
    for stage in ('fitting', 'deciding')
  )
  # 600 blocks each in an hour: of the second half a line in 3 minutes or more.
  assert 60 < first < 100
  assert 10 < second < 20


def test_what_takes_no_time_is_not_told(clock, caplog):
  caplog.set_level(logging.INFO)
  judge(clock, seconds=0.1)
  assert len(caplog.messages) == 1


def test_a_terminal_gets_a_bar(clock, monkeypatch, caplog):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  caplog.set_level(logging.INFO)
  monkeypatch.setenv('TERM', 'xterm')
  monkeypatch.setattr(sys, 'stderr', Terminal())
  judge(clock, seconds=3.0)
  assert caplog.messages == []
  assert 'deciding 100 of 100 rows' in sys.stderr.getvalue()
