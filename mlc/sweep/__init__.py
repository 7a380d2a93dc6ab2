"""Sweeps: which runs a study has, running them, and how far they are."""

from mlc.sweep.local import (
  Event,
  Job,
  Outcome,
  exit_with_launcher,
  run_local,
)
from mlc.sweep.manifest import Manifest, freeze
from mlc.sweep.status import Row, rows, table

__all__ = [
  'Event',
  'Job',
  'Manifest',
  'Outcome',
  'Row',
  'exit_with_launcher',
  'freeze',
  'rows',
  'run_local',
  'table',
]
