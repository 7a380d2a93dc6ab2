"""Bad input: one clear error, at once, and nothing is written or compiled."""

import pathlib
from typing import NamedTuple

import pytest


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
  'resampling': case(
    'train.py', '--resampling=mlsmot', says=("Did you mean 'mlsmote'",)
  ),
  'option of resampling': case(
    'train.py',
    '--resampling=ml_rus',
    '--resampling.size=1.5',
    SYNTHETIC,
    says=('size=1.5', 'below 1'),
  ),
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
  'calibration': case(
    'train.py', '--calibration=plat', says=("Did you mean 'platt'", 'vector')
  ),
  'joint of a head that lost it': case(
    'train.py',
    SYNTHETIC,
    '--method=classifier_chain',
    '--calibration=platt',
    says=('decoder subset needs `mode`', 'platt, of its marginals alone'),
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
  'labels without a hierarchy': case(
    'train.py',
    SYNTHETIC,
    '--method=hierarchical',
    says=('nesting the <label>', '.xml', 'binary_relevance'),
  ),
  'rows against the hierarchy': case(
    'train.py',
    SYNTHETIC.replace('chain', 'hierarchy') + ',noise=0.2',
    '--method=hierarchical',
    '--model.kind=conditional',
    says=('of 200 rows', 'not relabelled', 'kind=max_constraint'),
  ),
  'penalty of links that are none': case(
    'train.py',
    SYNTHETIC,
    '--link_l2s=0.1,1',
    says=('binary_relevance', 'no links', 'classifier_chain'),
  ),
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
    says=('2 choices', '--validation_fraction'),
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


@pytest.mark.parametrize('name', CASES)
@pytest.mark.slow
def test_bad_input_is_refused_at_once(
  name, command, data, finished, tmp_path, contents, compiled, check_error
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
def test_the_command_itself_refuses(name, process, data, tmp_path, check_error):
  program, arguments, says = CASES[name]
  arguments = [argument.format(data=str(data)) for argument in arguments]
  outcome = process(program, *arguments, f'--workdir={tmp_path / "runs"}')
  check_error(outcome, program, says)
  assert outcome.out == ''
  assert not (tmp_path / 'runs').exists()
