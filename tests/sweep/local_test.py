import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mlc.sweep.local import Event, Job, remaining_seconds, run_local


def job(tmp_path, name: str, code: str, *argv: object) -> Job:
  return Job(
    run_id=name,
    argv=(
      *(sys.executable, '-u', '-c', textwrap.dedent(code)),
      *(str(argument) for argument in argv),
    ),
    env=dict(os.environ),
    log=tmp_path / name / 'log.txt',
  )


def alive(pid: int) -> bool:
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  return True


def wait_until(condition, seconds: float = 20.0) -> None:
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, 'waited in vain'
    time.sleep(0.02)


def test_a_failed_job_does_not_stop_the_others(tmp_path):
  jobs = [
    job(tmp_path, 'good', 'print("one")'),
    job(tmp_path, 'bad', 'print("two"); raise SystemExit(7)'),
    job(tmp_path, 'killed', 'import os; os.kill(os.getpid(), 9)'),
    job(tmp_path, 'last', 'import sys; print("three", file=sys.stderr)'),
  ]
  outcomes = run_local(jobs)
  assert [o.job for o in outcomes] == jobs
  assert [o.state for o in outcomes] == [
    'finished',
    'failed',
    'failed',
    'finished',
  ]
  assert [o.code for o in outcomes] == [0, 7, -9, 0]
  assert outcomes[1].message.splitlines()[0] == 'exit code 7'
  assert outcomes[1].message.splitlines()[-1] == 'two'
  assert 'SIGKILL' in outcomes[2].message
  assert 'memory' in outcomes[2].message
  assert (tmp_path / 'last' / 'log.txt').read_text().endswith('three\n')
  assert all(o.seconds > 0 for o in outcomes)


def test_a_program_that_is_missing_is_a_failed_job(tmp_path):
  missing = Job('missing', ('/no/such/program',), {}, tmp_path / 'a' / 'log')
  good = job(tmp_path, 'good', '')
  blocked = tmp_path / 'file'
  blocked.touch()
  nowhere = Job('nowhere', ('true',), {}, blocked / 'log.txt')
  outcomes = run_local([missing, nowhere, good])
  assert [o.state for o in outcomes] == ['failed', 'failed', 'finished']
  assert '/no/such/program' in outcomes[0].message
  assert outcomes[0].code is None


def test_the_log_is_appended_and_the_tail_is_of_this_start(tmp_path):
  run_local([job(tmp_path, 'run', 'print("first"); exit(1)')])
  (outcome,) = run_local([job(tmp_path, 'run', 'print("second"); exit(1)')])
  text = (tmp_path / 'run' / 'log.txt').read_text()
  assert text.index('first') < text.index('second')
  assert text.count('=== run started') == 2
  assert 'second' in outcome.message
  assert 'first' not in outcome.message


def test_the_tail_of_a_long_log_is_short(tmp_path):
  code = 'for i in range(100000): print(i)\nexit(1)'
  (outcome,) = run_local([job(tmp_path, 'run', code)])
  lines = outcome.message.splitlines()
  assert lines[-1] == '99999'
  assert len(lines) == 21


def test_the_environment_is_the_one_given(tmp_path):
  given = job(tmp_path, 'run', 'import os; print(os.environ["CORES"])')
  run_local([given._replace(env={'CORES': '1 of 2'})])
  assert given.log.read_text().endswith('1 of 2\n')


def test_no_more_run_at_a_time_than_allowed(tmp_path):
  spans = tmp_path / 'spans'
  spans.mkdir()
  code = """
    import os, sys, time
    mine = sys.argv[1] + '/' + str(os.getpid())
    open(mine, 'w').close()
    print(len(os.listdir(sys.argv[1])))
    time.sleep(0.4)
    os.unlink(mine)
  """
  jobs = [job(tmp_path, f'run{i}', code, spans) for i in range(6)]
  assert all(o.state == 'finished' for o in run_local(jobs, max_parallel=3))
  at_once = [int(j.log.read_text().splitlines()[-1]) for j in jobs]
  assert max(at_once) <= 3
  assert max(at_once) >= 2


def test_events_tell_the_story(tmp_path):
  events: list[Event] = []
  jobs = [
    job(tmp_path, 'a', 'import time; time.sleep(0.2)'),
    job(tmp_path, 'b', 'exit(3)'),
    job(tmp_path, 'c', ''),
  ]
  run_local(jobs, on_event=events.append)
  assert [(e.kind, e.job.run_id, e.ended) for e in events] == [
    ('started', 'a', 0),
    ('finished', 'a', 1),
    ('started', 'b', 1),
    ('failed', 'b', 2),
    ('started', 'c', 2),
    ('finished', 'c', 3),
  ]
  assert {e.total for e in events} == {3}
  assert events[0].remaining_seconds is None
  took = events[1].seconds
  assert took > 0.2
  assert events[1].remaining_seconds == pytest.approx(2 * took)
  assert events[3].code == 3
  assert events[-1].remaining_seconds == 0


@pytest.mark.parametrize(
  ('finished', 'elapsed', 'waiting', 'parallel', 'expected'),
  [
    ([], [1.0], 5, 1, None),
    ([10.0], [], 0, 1, 0.0),
    ([10.0, 20.0], [5.0], 2, 1, 10.0 + 2 * 15.0),
    ([10.0], [4.0, 8.0], 1, 2, 2.0 + 10.0),
    ([10.0], [4.0, 8.0], 3, 2, 2.0 + 2 * 10.0),
    ([10.0], [99.0], 0, 4, 0.0),
    ([10.0], [], 5, 4, 20.0),
  ],
)
def test_estimate(finished, elapsed, waiting, parallel, expected):
  assert remaining_seconds(finished, elapsed, waiting, parallel) == expected


def test_no_jobs_and_no_places(tmp_path):
  assert run_local([]) == []
  with pytest.raises(ValueError, match='max_parallel is 0'):
    run_local([job(tmp_path, 'a', '')], max_parallel=0)


def test_an_exception_in_the_callback_ends_the_jobs(tmp_path):
  def on_event(event: Event) -> None:
    wait_until((tmp_path / 'pid').exists)
    raise KeyError('callback')

  code = """
    import os, pathlib, sys, time
    path = pathlib.Path(sys.argv[1], 'pid')
    path.with_suffix('.tmp').write_text(str(os.getpid()))
    path.with_suffix('.tmp').rename(path)
    time.sleep(60)
  """
  with pytest.raises(KeyError, match='callback'):
    run_local([job(tmp_path, 'a', code, tmp_path)], on_event=on_event)
  assert not alive(int((tmp_path / 'pid').read_text()))
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Interruption: a launcher of its own, as `python launch.py` is one.

LAUNCH = """
  import os, pathlib, sys
  from mlc.sweep.local import Job, run_local
  root, grace = pathlib.Path(sys.argv[1]), float(sys.argv[2])
  child = (sys.executable, '-u', '-c', sys.argv[3], str(root))
  jobs = [
    Job(f'job{i}', child, dict(os.environ), root / f'job{i}' / 'log.txt')
    for i in range(4)
  ]
  outcomes = run_local(jobs, max_parallel=2, grace_secs=grace)
  print(' '.join(o.state for o in outcomes))
  print(' '.join(str(o.code) for o in outcomes))
"""

SLEEPER = """
import os, pathlib, subprocess, sys, time
root = pathlib.Path(sys.argv[1])
grandchild = subprocess.Popen(['sleep', '60'])
for pid in (os.getpid(), grandchild.pid):
  (root / f'pid-{pid}').touch()
time.sleep(60)
"""

STUBBORN = (
  """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
  + SLEEPER
)


def launch(
  path: pathlib.Path, child: str, grace: float = 10.0, processes: int = 4
):
  """A launcher with two running jobs, and the processes that they are."""
  launcher = subprocess.Popen(
    [
      *(sys.executable, '-c', textwrap.dedent(LAUNCH)),
      *(str(path), str(grace), child),
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  wait_until(lambda: len(list(path.glob('pid-*'))) == processes)
  pids = [int(p.name.removeprefix('pid-')) for p in path.glob('pid-*')]
  return launcher, pids


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_jobs_and_they_are_waited_for(tmp_path, number):
  launcher, pids = launch(tmp_path, SLEEPER)
  assert all(alive(pid) for pid in pids)
  launcher.send_signal(number)
  out, err = launcher.communicate(timeout=20)
  assert out.splitlines() == [
    'interrupted interrupted skipped skipped',
    '-15 -15 None None',
  ], err
  assert err == ''
  wait_until(lambda: not any(running(pid) for pid in pids))


def running(pid: int) -> bool:
  """Alive and no zombie that its new parent has yet to notice."""
  try:
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except FileNotFoundError:
    return False
  return stat.rsplit(')', 1)[1].split()[0] != 'Z'


def test_a_stubborn_job_is_killed_after_the_grace(tmp_path):
  launcher, pids = launch(tmp_path, STUBBORN, grace=0.3)
  launcher.send_signal(signal.SIGTERM)
  out, _ = launcher.communicate(timeout=20)
  assert out.splitlines()[1] == '-9 -9 None None'
  wait_until(lambda: not any(running(pid) for pid in pids))


def test_a_second_signal_does_not_wait_for_the_grace(tmp_path):
  launcher, pids = launch(tmp_path, STUBBORN, grace=60)
  launcher.send_signal(signal.SIGINT)
  time.sleep(0.3)
  assert all(alive(pid) for pid in pids)
  launcher.send_signal(signal.SIGINT)
  out, _ = launcher.communicate(timeout=20)
  assert out.splitlines()[1] == '-9 -9 None None'


def test_a_job_ends_with_a_launcher_that_was_killed(tmp_path):
  child = """
import os, pathlib, sys, time
from mlc.sweep.local import exit_with_launcher
exit_with_launcher()
pathlib.Path(sys.argv[1], f'pid-{os.getpid()}').touch()
time.sleep(60)
"""
  launcher, pids = launch(tmp_path, child, processes=2)
  launcher.kill()
  launcher.communicate()
  wait_until(lambda: not any(running(pid) for pid in pids))


def test_outside_a_sweep_there_is_no_launcher_to_end_with():
  code = """
    import os
    from mlc.sweep.local import exit_with_launcher
    exit_with_launcher()
    os.environ['MLC_LAUNCHER_PID'] = 'nonsense'
    exit_with_launcher()
    print('alive')
  """
  done = subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout == 'alive\n'


def test_from_another_thread_it_leaves_the_signals_alone(tmp_path):
  outcomes = []
  thread = threading.Thread(
    target=lambda: outcomes.extend(run_local([job(tmp_path, 'a', '')]))
  )
  thread.start()
  thread.join()
  assert [o.state for o in outcomes] == ['finished']
