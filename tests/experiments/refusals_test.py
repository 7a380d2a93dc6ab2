"""Bad input: one clear error, at once, and nothing is written or compiled."""

import json
import pathlib
import re
from typing import NamedTuple

import jax
import numpy as np
import pytest

from experiments import train
from experiments.flags import flags_of
from mlc.run_directory import RunDirectory, exclusive


class Case(NamedTuple):
  """A command line and what its error has to say."""

  program: str
  arguments: tuple[str, ...]
  says: tuple[str, ...]


def case(program, *arguments, says):
  return Case(program, arguments, says)


SYNTHETIC = '--dataset=synthetic:chain,labels=4,examples=200,features=4'
CASES = {
  # Names, with the nearest one.
  'method': case(
    'train.py', '--method=clasifier_chain', says=("'classifier_chain'", 'Known')
  ),
  'encoder': case('train.py', '--encoder=mpl', says=("Did you mean 'mlp'",)),
  'loss': case('train.py', '--loss=nnl', says=("Did you mean 'nll'",)),
  'decoder': case(
    'train.py', '--decoders=hamming,fbeta', says=("Did you mean 'f_beta'",)
  ),
  'flag': case('train.py', '--epcohs=3', says=('epcohs', 'epochs')),
  'flag of another method': case(
    'train.py',
    '--method=classifier_chain',
    '--model.heads=2',
    says=('model.heads',),
  ),
  'argument': case('train.py', 'yeast', says=("'yeast' is not a flag",)),
  'choice': case('train.py', '--split=kfolds', says=('split', 'kfold')),
  'dataset': case(
    'train.py', '--dataset=yaest', says=("'yeast'", 'Bundled', 'arff:PATH')
  ),
  'kind of synthetic data': case(
    'train.py', '--dataset=synthetic:chian', says=("Did you mean 'chain'",)
  ),
  'option of synthetic data': case(
    'train.py', '--dataset=synthetic:chain,lables=3', says=("'labels'",)
  ),
  'study': case('launch.py', '--study=clasic', says=("'classic'",)),
  'methods': case(
    'launch.py',
    '--methods=binary_relevance,label_powrset',
    says=("'label_powerset'",),
  ),
  'datasets': case('launch.py', '--datasets=yeast,mvies', says=("'movies'",)),
  'metrics': case(
    'compare.py',
    '--runs={run}',
    '--metrics=f1_exampel',
    says=("'f1_example'",),
  ),
  # Values.
  'study that is no name': case(
    'train.py', '--study=../up', says=("'../up'", 'folder')
  ),
  'epochs': case('train.py', '--epochs=0', says=('epochs is 0', 'at least 1')),
  'seeds': case('train.py', '--seeds=0', says=('seeds is 0',)),
  'seeds of a study': case('launch.py', '--seeds=0', says=('seeds is 0',)),
  'number': case('train.py', '--l2s=1,x', says=('l2s', "'x'")),
  'max_parallel': case(
    'launch.py', '--max_parallel=-1', says=('max_parallel is -1',)
  ),
  'fraction': case(
    'train.py', SYNTHETIC, '--test_fraction=1.5', says=('test_fraction',)
  ),
  'option of the encoder': case(
    'train.py',
    SYNTHETIC,
    '--encoder=mlp',
    '--encoder.width=0',
    says=('width=0',),
  ),
  'option of the method': case(
    'train.py',
    SYNTHETIC,
    '--method=classifier_chain',
    '--model.beam_width=0',
    says=('beam_width=0',),
  ),
  'option of the decoder': case(
    'train.py',
    SYNTHETIC,
    '--decoders=f_beta',
    '--decoder.beta=-1',
    says=('beta is -1',),
  ),
  'option without default': case(
    'train.py', SYNTHETIC, '--decoders=top_k', says=('--decoder.k',)
  ),
  'too many labels': case(
    'train.py',
    SYNTHETIC,
    '--decoders=top_k',
    '--decoder.k=5',
    says=('top_5', 'binary_relevance', '4'),
  ),
  'nothing to choose on': case(
    'train.py',
    SYNTHETIC,
    '--learning_rates=0.1,0.01',
    '--validation_fraction=0',
    '--nostratify',
    says=('2 pairs', '--validation_fraction'),
  ),
  # What does not go together.
  'decoder that the head cannot serve': case(
    'train.py',
    SYNTHETIC,
    '--method=label_powerset',
    '--decoders=greedy',
    says=('greedy', 'label_powerset'),
  ),
  'multi-label head on a multi-class set': case(
    'train.py',
    '--dataset=digits',
    '--method=classifier_chain',
    says=('exactly one label', '--method=softmax', '--allow_mismatch'),
  ),
  'softmax on a multi-label set': case(
    'train.py',
    SYNTHETIC,
    '--method=softmax',
    says=('multi-label', 'two or more', '--allow_mismatch'),
  ),
  'softmax without a likelihood': case(
    'train.py',
    SYNTHETIC,
    '--method=softmax',
    '--allow_mismatch',
    says=('probability 0', '--loss=sigmoid_cross_entropy'),
  ),
  'split that is not given': case(
    'train.py', SYNTHETIC, '--split=given', says=('holdout', 'kfold')
  ),
  'loss for unknown labels': case(
    'train.py',
    '--data_dir={data}',
    '--dataset=unknown',
    says=('unknown labels', 'sigmoid_cross_entropy'),
  ),
  # Files.
  'missing file': case(
    'train.py', '--dataset=arff:{data}/none.arff', says=('no file', 'none.arff')
  ),
  'missing file of a study': case(
    'launch.py',
    '--datasets=arff:{data}/none.arff',
    says=('no file', 'none.arff'),
  ),
  'missing data_dir': case(
    'train.py', '--dataset=x', '--data_dir={data}/none', says=('data_dir',)
  ),
  'missing flag file': case(
    'train.py', '--flagfile={data}/none.txt', says=('none.txt',)
  ),
  'missing run': case(
    'evaluate.py',
    '--run={data}/none',
    '--decoders=hamming',
    says=('no run directory', 'config.json'),
  ),
  'missing runs': case(
    'compare.py', '--runs={data}/none', says=('no directory',)
  ),
  'no runs': case('compare.py', says=('--runs=',)),
  'nothing to evaluate': case('evaluate.py', says=('--run=', '--decoders=')),
  'NaN in a feature': case(
    'train.py',
    '--dataset=arff:{data}/nan/nan.arff',
    says=('nan.arff:11', 'x1'),
  ),
  'infinity in a feature': case(
    'train.py',
    '--data_dir={data}',
    '--dataset=inf',
    says=('inf.arff:12', 'x2'),
  ),
  'label that is 2': case(
    'train.py',
    '--data_dir={data}',
    '--dataset=two',
    says=('two.arff:13', 'y1'),
  ),
  'ragged rows': case(
    'train.py',
    '--data_dir={data}',
    '--dataset=ragged',
    says=('ragged.arff:14', '5 values'),
  ),
  'no rows': case(
    'train.py', '--data_dir={data}', '--dataset=empty', says=('empty', 'row')
  ),
  'duplicate label names': case(
    'train.py', '--data_dir={data}', '--dataset=twice', says=('y0', 'twice')
  ),
  'no labels': case(
    'train.py', '--data_dir={data}', '--dataset=bare', says=('bare', 'label')
  ),
}


@pytest.fixture
def data(write_arff, sample) -> pathlib.Path:
  """A data_dir of data sets of which each has a fault of its own."""
  x, y = sample
  x, y = x.tolist(), y.tolist()

  def broken(name, *, row=0, feature=None, label=None, value=''):
    a, b = [list(r) for r in x], [list(r) for r in y]
    if feature is not None:
      a[row][feature] = value
    if label is not None:
      b[row][label] = value
    return write_arff(name, a, b)

  broken('nan', row=2, feature=1, value='nan')
  broken('inf', row=3, feature=2, value='1e999')
  broken('two', row=4, label=1, value='2')
  folder = broken('unknown', row=5, label=2, value='?')
  ragged = [list(r) for r in x]
  del ragged[5][0]
  write_arff('ragged', ragged, y)
  text = (folder / 'unknown' / 'unknown.arff').read_text()
  header = text[: text.index('@data\n') + len('@data\n')]
  rows = text[len(header) :]
  for name, content in {
    'empty': header,
    'twice': header.replace('y1', 'y0') + rows,
    'bare': header.replace('-C -3', '-C 0') + rows,
  }.items():
    (folder / name).mkdir()
    (folder / name / f'{name}.arff').write_text(content)
  return folder


@pytest.fixture(scope='session')
def compiled() -> list[str]:
  """Grows with every compilation in this process."""
  events: list[str] = []

  def listen(event: str, duration_secs: float, **kwargs) -> None:
    del duration_secs, kwargs
    if event.endswith('backend_compile_duration'):
      events.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  return events


def check_error(outcome, program: str, says) -> None:
  """One message, the last thing said but for where to find help."""
  assert outcome.code in (1, 2)
  assert 'Traceback' not in outcome.err
  lines = outcome.err.splitlines()
  assert lines[0].startswith(f'{program}: error: ')
  assert outcome.err.count('error:') == 1
  # What cannot be parsed is also told where to find the flags.
  assert len(lines) == outcome.code
  for words in says:
    assert words in lines[0]


@pytest.mark.parametrize('name', CASES)
def test_bad_input_is_refused_at_once(
  name, command, data, finished, tmp_path, contents, compiled
):
  program, arguments, says = CASES[name]
  places = {'data': str(data), 'run': str(finished.path)}
  before, count = contents(tmp_path), len(compiled)
  run_before = contents(finished.path)
  arguments = [argument.format(**places) for argument in arguments]
  if program in ('train.py', 'launch.py'):
    arguments.append(f'--workdir={tmp_path / "runs"}')
  outcome = command(program, *arguments)
  check_error(outcome, program, says)
  assert outcome.seconds < 1.0
  assert len(compiled) == count
  assert contents(tmp_path) == before
  assert not (tmp_path / 'runs').exists()
  assert contents(finished.path) == run_before


@pytest.mark.slow
@pytest.mark.parametrize(
  'name',
  [
    'flag',
    'dataset',
    'NaN in a feature',
    'study',
    'softmax on a multi-label set',
  ],
)
def test_the_command_itself_refuses(name, process, data, tmp_path):
  program, arguments, says = CASES[name]
  arguments = [argument.format(data=str(data)) for argument in arguments]
  outcome = process(program, *arguments, f'--workdir={tmp_path / "runs"}')
  check_error(outcome, program, says)
  assert outcome.out == ''
  assert not (tmp_path / 'runs').exists()


class TestHeldDirectories:
  def test_a_run_that_another_process_writes(
    self, command, finished, tmp_path, contents, compiled
  ):
    held = tmp_path / 'runs' / 'single' / finished.run_id
    held.mkdir(parents=True)
    with exclusive(held / 'lock'):
      before, count = contents(tmp_path), len(compiled)
      outcome = command(
        'train.py',
        f'--flagfile={finished.flags_path}',
        f'--workdir={tmp_path / "runs"}',
      )
      assert contents(tmp_path) == before
    check_error(outcome, 'train.py', ['is being written by process'])
    assert outcome.seconds < 1.0
    assert len(compiled) == count

  def test_a_study_that_another_process_runs(self, command, tmp_path, contents):
    study = tmp_path / 'runs' / 'regret'
    study.mkdir(parents=True)
    with exclusive(study / 'lock'):
      before = contents(tmp_path)
      outcome = command(
        'launch.py', '--study=regret', f'--workdir={tmp_path / "runs"}'
      )
      assert contents(tmp_path) == before
    check_error(outcome, 'launch.py', ['is being written by process'])

  def test_a_workdir_that_cannot_be_made(self, command, tmp_path):
    (tmp_path / 'file').write_text('')
    for program in ('train.py', 'launch.py'):
      arguments = [SYNTHETIC] if program == 'train.py' else []
      outcome = command(
        program, *arguments, f'--workdir={tmp_path / "file" / "runs"}'
      )
      check_error(outcome, program, ['cannot write', 'Not a directory'])


class TestChanges:
  """Something is not what it was when the run was begun."""

  @pytest.fixture
  def partial(self, write_arff, sample, tiny, tmp_path, monkeypatch, command):
    """A run on a file, interrupted after its last epoch."""
    x, y = sample
    y = np.column_stack([y, np.ones(len(y), int)])
    data_dir = write_arff('mine', x, y)
    with monkeypatch.context() as patched:
      patched.setattr(train, 'conclude', _interrupt)
      outcome = command(
        'train.py',
        *flags_of(tiny(dataset='mine')),
        f'--data_dir={data_dir}',
        f'--workdir={tmp_path / "runs"}',
      )
    assert outcome.code == 130
    assert 'the same command continues' in outcome.err
    (path,) = (tmp_path / 'runs' / 'single').iterdir()
    return RunDirectory(path)

  def test_the_data(self, partial, command, tmp_path, contents, compiled):
    assert partial.status().state == 'partial'
    file = tmp_path / 'data' / 'mine' / 'mine.arff'
    file.write_text(re.sub(r'\n[^\n]+\n$', '\n', file.read_text()))
    before, count = contents(tmp_path), len(compiled)
    outcome = command('train.py', f'--flagfile={partial.flags_path}')
    assert outcome.code == 1
    assert 'content_hash: ' in outcome.err
    assert 'Nothing was written' in outcome.err
    assert 'Traceback' not in outcome.err
    assert contents(tmp_path) == before
    assert len(compiled) == count
    assert outcome.seconds < 1.0

  def test_a_constant_label_is_allowed_and_reported(self, partial):
    assert re.search(
      r'note: 1 of 4 labels are always 1 .* y3', partial.log_path.read_text()
    )

  def test_the_config(self, partial, command, tmp_path, contents):
    config = partial.read_config()
    partial.config_path.write_text(json.dumps({**config, 'epochs': 3}))
    before = contents(tmp_path)
    outcome = command('train.py', f'--flagfile={partial.flags_path}')
    assert outcome.code == 1
    assert 'epochs: 3 -> 2' in outcome.err
    assert contents(tmp_path) == before

  def test_the_config_of_the_checkpoint(
    self, partial, command, tmp_path, contents
  ):
    """Both files agree with the command line, the checkpoint does not."""
    for path in partial.checkpoints_path.glob('*/manifest.json'):
      manifest = json.loads(path.read_text())
      manifest['config']['epochs'] = 3
      path.write_text(json.dumps(manifest))
    before = contents(partial.checkpoints_path)
    metrics = partial.metrics_path.read_bytes()
    outcome = command('train.py', f'--flagfile={partial.flags_path}')
    assert outcome.code == 1
    assert 'Traceback' not in outcome.err
    assert contents(partial.checkpoints_path) == before
    assert partial.metrics_path.read_bytes() == metrics
    assert partial.status().state == 'failed'


def _interrupt(*arguments) -> None:
  raise KeyboardInterrupt
