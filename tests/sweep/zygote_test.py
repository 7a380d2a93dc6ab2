import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from mlc.sweep.local import Job, run_local

pytestmark = pytest.mark.skipif(
  sys.platform != 'linux', reason='jobs are forked on Linux only'
)

HEAVY = """
import os, pathlib
print('an import that prints', flush=True)
with open(os.environ['IMPORTS'], 'a') as file:
  file.write(f'{os.getpid()}\\n')
"""

WORK = """
import heavy, os, sys, time
if __name__ == '__main__':
  what, path = sys.argv[1], sys.argv[2]
  with open(path, 'a') as file:
    file.write(f'{os.getpid()} {os.environ.get("WORD")}\\n')
  print('out', flush=True)
  print('err', file=sys.stderr, flush=True)
  assert sys.stdin.read() == ''
  assert os.getpgid(0) == os.getsid(0) == os.getpid()
  assert sys.modules['__main__'].__file__ == __file__
  if what == 'raise': raise KeyError('broken')
  if what == 'exit': sys.exit(7)
  if what == 'kill': os.kill(os.getpid(), 9)
  if what == 'sleep': time.sleep(60)
  if what == 'parent': os.kill(os.getppid(), 9); time.sleep(60)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
  """A folder from which modules are imported; `imports` tells by whom."""
  (tmp_path / 'heavy.py').write_text(HEAVY)
  (tmp_path / 'work.py').write_text(WORK)
  here = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
  monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), here]))
  monkeypatch.setenv('IMPORTS', str(tmp_path / 'imports'))
  return tmp_path


def job(place: pathlib.Path, name: str, what: str, **env: str) -> Job:
  return Job(
    name,
    (sys.executable, '-m', 'work', what, str(place / name)),
    {**os.environ, **env},
    place / 'logs' / f'{name}.log',
  )


def importers(place: pathlib.Path) -> list[str]:
  return (place / 'imports').read_text().split()


def test_jobs_are_what_they_are_when_begun_anew(place):
  whats = ['well', 'raise', 'exit', 'kill', 'well']
  jobs = [job(place, f'{i}-{w}', w, WORD=str(i)) for i, w in enumerate(whats)]
  found = {}
  for preload in ((), ('work', 'no_such_module')):
    (place / 'imports').unlink(missing_ok=True)
    for one in jobs:
      one.log.unlink(missing_ok=True)
      (place / one.run_id).unlink(missing_ok=True)
    outcomes = run_local(jobs, max_parallel=2, preload=preload)
    found[preload] = [(o.state, o.code) for o in outcomes]
    for i, one in enumerate(jobs):
      lines = one.log.read_text().splitlines()
      said = [line for line in lines[1:] if not line.startswith('an import')]
      assert said[:2] == ['out', 'err']
      assert (place / one.run_id).read_text().split()[1] == str(i)
    assert "KeyError: 'broken'" in outcomes[1].message
  assert found[()] == found[('work', 'no_such_module')]
  assert [code for _, code in found[()]] == [0, 1, 7, -9, 0]


def test_what_is_preloaded_is_imported_once(place):
  jobs = [job(place, str(i), 'well') for i in range(3)]
  run_local(jobs, preload=('work',))
  assert len(importers(place)) == 1
  pids = {(place / str(i)).read_text().split()[0] for i in range(3)}
  assert len(pids) == 3
  assert not pids & set(importers(place))


def test_other_programs_are_begun_anew(place):
  plain = job(place, 'a', 'well')
  plain = plain._replace(argv=(sys.executable, '-c', 'print("here")'))
  (outcome,) = run_local([plain], preload=('work',))
  assert outcome.code == 0
  assert not (place / 'imports').exists()


def test_a_zygote_that_is_killed_fails_its_job_only(place):
  jobs = [job(place, 'a', 'parent'), job(place, 'b', 'well')]
  began = time.monotonic()
  outcomes = run_local(jobs, preload=('work',))
  assert time.monotonic() - began < 30
  assert [o.state for o in outcomes] == ['failed', 'finished']
  assert len(set(importers(place))) == 2
  # It had no launcher to end with: this test's program does not ask for it.
  os.kill(int((place / 'a').read_text().split()[0]), signal.SIGKILL)


LAUNCH = """
  import os, pathlib, sys
  from mlc.sweep.local import Job, run_local
  root = pathlib.Path(sys.argv[1])
  argv = (sys.executable, '-m', 'sleeper', str(root / 'pid'))
  job = Job('a', argv, dict(os.environ), root / 'log')
  print([o.code for o in run_local([job], preload=('sleeper',))])
"""

SLEEPER = """
import os, sys, time
from mlc.sweep import exit_with_launcher
if __name__ == '__main__':
  exit_with_launcher()
  with open(sys.argv[1], 'w') as file:
    file.write(str(os.getpid()))
  time.sleep(60)
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
@pytest.mark.slow
def test_a_job_ends_with_its_launcher(place, number):
  (place / 'sleeper.py').write_text(SLEEPER)
  launcher = subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(LAUNCH), str(place)],
    stdout=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  pid = place / 'pid'
  deadline = time.monotonic() + 30
  while not (pid.exists() and pid.read_text()):
    assert time.monotonic() < deadline
    time.sleep(0.02)
  launcher.send_signal(number)
  out, _ = launcher.communicate(timeout=20)
  if number == signal.SIGINT:
    assert out == '[-15]\n'
  while pathlib.Path(f'/proc/{pid.read_text()}').exists():
    assert time.monotonic() < deadline
    time.sleep(0.02)
