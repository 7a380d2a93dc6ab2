"""What an experiment is, as values: everything that decides its result."""

import dataclasses
import hashlib
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any, Literal

from mlc.base import lookup
from mlc.rules import mining
from mlc.training.options import TrainOptions

# What can be done about decisions that break a rule.
CONSTRAINTS = ('none', 'repair', 'decode', 'condition')
# What --rules may say, other than a file.
HIERARCHY, MINED, TEXT = 'hierarchy', 'mined', 'text:'


@dataclasses.dataclass(frozen=True)
class DataOptions:
  """Which rows are trained on, and how features are prepared.

  Attributes:
    dataset: yeast, movies, digits, the name of a folder in --data_dir,
      arff:PATH, tfds:NAME or synthetic:KIND,key=value,...
    split: auto takes the given split where there is one and a holdout
      otherwise; kfold makes --folds runs a seed.
    folds: number of folds of --split=kfold.
    test_fraction: share of the rows that a holdout keeps for the last
      evaluation.
    validation_fraction: share of the training part on which thresholds,
      stopping and hyperparameters are chosen; 0 for none.
    stratify: keep the share of each label in every part (iterative
      stratification); false shuffles.
    standardize: scale features by mean and deviation of the training part;
      auto does so where they are dense. Sparse ones can only be divided by
      their deviation, which makes each rare token a large number.
    resampling: what is done to the training rows, so that rare labels count;
      validation and test rows stay as they are.
  """

  dataset: str = 'yeast'
  split: Literal['auto', 'given', 'holdout', 'kfold'] = 'auto'
  folds: int = 10
  test_fraction: float = 0.2
  validation_fraction: float = 0.2
  stratify: bool = True
  standardize: Literal['auto', 'true', 'false'] = 'auto'
  resampling: str = 'none'


@dataclasses.dataclass(frozen=True)
class Search:
  """The runs of one experiment: all train in one compiled program.

  Attributes:
    seeds: number of seeds, 0 to seeds - 1.
    learning_rates: tried for every seed, the best on validation is kept
      (lbfgs has none).
    l2s: penalties tried likewise; with lbfgs 1 is scikit-learn's C = 1, with
      adamw it is the decoupled weight decay.
    link_l2s: penalties tried likewise for the links, the weights by which
      labels act on labels (in chains, stacked and ising), each with each of
      the l2s; empty lets them share l2.
  """

  seeds: int = 5
  learning_rates: tuple[float, ...] = (3e-3,)
  l2s: tuple[float, ...] = (0.0,)
  link_l2s: tuple[float, ...] = ()

  def __post_init__(self) -> None:
    if self.seeds < 1:
      raise ValueError(f'seeds is {self.seeds}; give at least 1.')
    for name in ('learning_rates', 'l2s', 'link_l2s'):
      values = getattr(self, name)
      lacking = not values and name != 'link_l2s'
      if lacking or not all(0 <= v < math.inf for v in values):
        said = ','.join(map(str, values)) or 'empty'
        raise ValueError(
          f'{name} is {said}; give one or more numbers from 0 on.'
        )
      if len(set(values)) < len(values):
        raise ValueError(f'{name} has a value twice: {values}.')


@dataclasses.dataclass(frozen=True)
class RuleOptions:
  """What must hold between labels, and how decisions are made to keep it.

  Attributes:
    rules: a file of rules (mlc/rules/text.py says what stands in one), `text:`
      and rules with `;` between them, `hierarchy` for that of the data set, or
      `mined` from each run's training rows; empty for none.
    constraints: beside the decisions that know no rules, those that keep them,
      comma-separated: repair makes the likeliest changes to a decision, decode
      takes the best decision among those that are allowed, condition does so in
      p(y | h) given that the rules hold; empty or none only counts what breaks
      a rule.
    rule_support: of mined rules, training rows that could break one, at least.
    rule_confidence: share of those rows that keep it, at least.
    rule_expected: rows that would break it if labels were independent, at
      least.
  """

  rules: str = ''
  constraints: tuple[str, ...] = ()
  rule_support: int = 20
  rule_confidence: float = 0.99
  rule_expected: float = 5.0

  def __post_init__(self) -> None:
    for name in self.constraints:
      lookup(name, dict.fromkeys(CONSTRAINTS), 'value of constraints')
    ways = tuple(name for name in self.constraints if name != 'none')
    if (ways and ways != self.constraints) or len({*ways}) < len(ways):
      raise ValueError(
        f'constraints is {",".join(self.constraints)}; give none alone, or '
        'some of the others, each once.'
      )
    if ways and not self.rules:
      raise ValueError(
        f'--constraints={",".join(ways)} has no rules to keep: give --rules=a '
        'file, text:..., hierarchy or mined.'
      )
    # Two ways to say that nothing is to be done are one experiment.
    object.__setattr__(self, 'constraints', ways)
    mining.check(self.rule_support, self.rule_confidence, self.rule_expected)

  @property
  def path(self) -> pathlib.Path | None:
    """The file of rules, if they come from one."""
    named = self.rules in ('', HIERARCHY, MINED)
    if named or self.rules.startswith(TEXT):
      return None
    return pathlib.Path(self.rules)


@dataclasses.dataclass(frozen=True)
class Experiment:
  """One row of a comparison: a method on a data set under stated conditions.

  Attributes:
    study: name of the study, a folder of the workdir.
    method: how label dependence is modelled.
    loss: how the parameters are fitted; empty for the method's own.
    decoders: how the distribution becomes decisions; empty for the method's
      own.
    encoder: identity makes the head a linear model.
    calibration: how probabilities are mended on the validation rows before
      decoders are fitted, on the same rows.
    metric_convention: whose numbers: what rows and labels count for which a
      metric is undefined (see mlc/metrics/conventions.py); skip leaves them
      out.
    allow_mismatch: insist on a multi-label head for a set in which every row
      has exactly one label, or on softmax for one in which some have not.
    regrets: where p(y | x) is known, measure the regret of every decision and
      where it comes from, which takes longer than the rest of the judging.
    data: see DataOptions.
    search: see Search.
    train: see TrainOptions.
    constrain: see RuleOptions.
    options: of the head, encoder, loss, decoders and resampling, e.g.
      {'model.order': 'random'}; only those that differ from the default.
  """

  study: str = 'single'
  method: str = 'binary_relevance'
  loss: str = ''
  decoders: tuple[str, ...] = ()
  encoder: str = 'identity'
  calibration: str = 'none'
  metric_convention: Literal['mlc', 'sklearn', 'mulan', 'skip'] = 'mlc'
  allow_mismatch: bool = False
  regrets: bool = True
  data: DataOptions = DataOptions()
  search: Search = Search()
  train: TrainOptions = dataclasses.field(default_factory=TrainOptions)
  constrain: RuleOptions = RuleOptions()
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    if not re.fullmatch(r'\w[\w.-]*', self.study):
      raise ValueError(
        f'study is {self.study!r}; it names a folder of the workdir: letters, '
        'digits, `_`, `-` and `.`.'
      )


# Of the file of rules.
_HASH = 'rules_sha256'


def config_of(experiment: Experiment) -> dict[str, Any]:
  """All that decides the result, as flat JSON: what a run is known by.

  How often a state is saved is left out, since it decides nothing, and so are
  link_l2s, calibration, resampling and rules where there are none, and the
  metric convention where it is ours: runs older than these options keep their
  name. Of a file of rules its content counts too.

  Raises:
    ValueError: a file of rules cannot be read.
  """
  flat = dataclasses.asdict(experiment)
  options = flat.pop('options')
  rules = flat.pop('constrain')
  for part in ('data', 'search', 'train'):
    flat |= flat.pop(part)
  del flat['save_interval_secs']
  if not flat['link_l2s']:
    del flat['link_l2s']
  for name in ('calibration', 'resampling'):
    if flat[name] == 'none':
      del flat[name]
  if flat['metric_convention'] == Experiment.metric_convention:
    del flat['metric_convention']
  return {**flat, **_rules_of(experiment.constrain, rules), **options}


def _rules_of(given: RuleOptions, flat: Mapping[str, Any]) -> dict[str, Any]:
  """What the rules add to a config: nothing where there are none."""
  if not given.rules:
    return {}
  mined = given.rules == MINED
  kept = {k: v for k, v in flat.items() if mined or not k.startswith('rule_')}
  if given.path is None:
    return kept
  try:
    content = given.path.read_bytes()
  except OSError as error:
    raise ValueError(
      f'--rules={given.rules} is no file that can be read ({error.strerror}); '
      f'give one, or {HIERARCHY}, {MINED}, or {TEXT}RULE;RULE.'
    ) from None
  return {**kept, _HASH: hashlib.sha256(content).hexdigest()}


def experiment_from(config: Mapping[str, Any]) -> Experiment:
  """The experiment that `config_of` wrote."""
  rest = dict(config)
  rest.pop('content_hash', None)
  rest.pop(_HASH, None)

  def take(cls: type) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(cls)]
    values = {name: rest.pop(name) for name in names if name in rest}
    return {
      name: tuple(value) if isinstance(value, list) else value
      for name, value in values.items()
    }

  parts: dict[str, Any] = {
    'data': DataOptions(**take(DataOptions)),
    'search': Search(**take(Search)),
    'train': TrainOptions(**take(TrainOptions)),
    'constrain': RuleOptions(**take(RuleOptions)),
  }
  top = take(Experiment)
  # JSON knows no tuples.
  options = {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in rest.items()
  }
  return Experiment(**top, **parts, options=options)
