"""A run directory, and what is done with it."""

import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mlc import run_directory
from mlc.run_directory import (
  RunDirectory,
)

CONFIG = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}


@pytest.fixture
def run(tmp_path) -> RunDirectory:
  return RunDirectory(tmp_path / 'study' / run_directory.run_id(CONFIG))


def snapshot(path: pathlib.Path) -> dict:
  return {
    str(file.relative_to(path)): (file.read_bytes(), file.stat().st_mtime_ns)
    for file in path.rglob('*')
    if file.is_file()
  }


def finish(run: RunDirectory) -> None:
  with run.open(CONFIG, flags='--method=chain\n'):
    run.append_metrics({'epoch': 1}, {'epoch': 2})
    run.write_predictions(y=np.eye(3))
    run.write_results({'rows': [1.5]})
    run.mark_done()


def python(code: str, *argv: object, **kwargs) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(code), *map(str, argv)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    **kwargs,
  )


@pytest.fixture(name='config')
def config_fixture() -> dict:
  return CONFIG


@pytest.fixture(name='snapshot')
def snapshot_fixture():
  return snapshot


@pytest.fixture(name='finish')
def finish_fixture():
  return finish


@pytest.fixture(name='python')
def python_fixture():
  return python
