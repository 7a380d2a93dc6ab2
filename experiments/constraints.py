"""Rules between labels in an experiment: what they are, and decisions by them.

With `--rules` alone it is counted what breaks them. Each way in `--constraints`
adds, to every decoder of the experiment, one that keeps them, judged on the
same run: what a constraint costs or gains is a difference of two rows.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import deciding, judgement, rule_effects
from experiments.config import HIERARCHY, MINED, TEXT, RuleOptions
from experiments.experiment import Model, Trial
from experiments.fitted import notes_of
from experiments.progress import Judging
from mlc import decoding, evaluation
from mlc import rules as rule_set
from mlc.base import Batch, Decoder, Head, MissingCapabilityError, Params
from mlc.calibration import none
from mlc.data.dataset import Dataset
from mlc.data.splits import Split
from mlc.heads.constrained import constrained, keeping, with_rules
from mlc.numerics import jit_once
from mlc.rules import Rule, RuleError, Rules
from mlc.run_directory import naming_path, write_atomic

REPAIR, DECODE, CONDITION = 'repair', 'decode', 'condition'
# Where a run keeps what it was ruled by, and what that did.
FOLDER, RULES = 'constraints', 'rules.txt'


class Constraints(NamedTuple):
  """The rules of an experiment, and the decisions that keep them.

  Attributes:
    sets: the rules of each split.
    plain: the decoders that know none, by name.
    ways: of keeping them, as `RuleOptions.constraints`.
    conditioned: the model whose head is conditioned on them; None without that
      way.
    empirical: whether the rules were mined from the labels.
  """

  sets: Sequence[Sequence[Rule]]
  plain: tuple[str, ...]
  ways: tuple[str, ...]
  conditioned: Model | None
  empirical: bool

  def text(self, splits: Sequence[Split]) -> dict[str, str]:
    """`rules.txt`: the rules, as a file of rules, of each split if mined."""
    if not self.empirical:
      text = ''.join(f'{rule.text}\n' for rule in self.sets[0])
      return {RULES: text}
    lines = []
    for split, rules in zip(splits, self.sets, strict=True):
      fold = f', fold {split.fold}' if split.fold >= 0 else ''
      lines.append(
        f'# seed {split.seed}{fold}: mined from {len(split.train)} training '
        'rows, so empirical'
      )
      lines += [f'{rule.text}  # {rule.source}' for rule in rules]
    return {RULES: '\n'.join(lines) + '\n'}


def prepare(
  options: RuleOptions, model: Model, dataset: Dataset, trial: Trial
) -> tuple[Model, Constraints | None]:
  """The model with the decoders that keep the rules, and the rules.

  Raises:
    ValueError: rules that cannot be read or contradict each other, or a
      decoder or a head that cannot keep them in the way that is asked for.
  """
  if not options.rules:
    return model, None
  sets = _sets(options, dataset, trial)
  for rules in {id(rules): rules for rules in sets}.values():
    rule_set.refuse_conflict(rules, dataset.label_names)
  plain = tuple(model.decoders)
  decoders = dict(model.decoders)
  for way, make in ((REPAIR, decoding.repaired), (DECODE, decoding.within)):
    if way in options.constraints:
      for name in plain:
        decoder = make(model.decoders[name])
        decoder.exactness(model.calibrated)
        decoders[decoder.name] = decoder
  conditioned = None
  if CONDITION in options.constraints:
    head = constrained(
      model.calibrated, rule_set.compiled(sets[0], dataset.num_labels)
    )
    made = [_under_condition(model.decoders[name], head) for name in plain]
    conditioned = model._replace(
      head=head, calibrator=none(), decoders={d.name: d for d in made}
    )
  found = Constraints(
    sets, plain, options.constraints, conditioned, options.rules == MINED
  )
  return model._replace(decoders=decoders), found


def _under_condition(decoder: Decoder, head: Head) -> Decoder:
  """The best allowed decision of a conditioned head, or a repaired one.

  Of the conditioned marginals a threshold need not keep the rules: at most two
  of three labels may all be likelier than not.
  """
  try:
    made = decoding.within(decoder)
    made.exactness(head)
  except MissingCapabilityError:
    made = decoding.repaired(decoder)
    made.exactness(head)
  return made._replace(name=f'{decoder.name}_{CONDITION}')


def _sets(
  options: RuleOptions, dataset: Dataset, trial: Trial
) -> list[list[Rule]]:
  """The rules of each split; one list where they are the same."""
  names, given = dataset.label_names, options.rules
  if given == MINED:
    return [
      rule_set.mined(
        dataset.y[split.train],
        names,
        support=options.rule_support,
        confidence=options.rule_confidence,
        expected=options.rule_expected,
        where=None if dataset.where is None else dataset.where[split.train],
      )
      for split in trial.splits
    ]
  if given == HIERARCHY:
    if dataset.hierarchy is None:
      raise RuleError(
        f'--rules=hierarchy: {dataset.name} has no hierarchy. Labels nested in '
        'the .xml of a data set are one; or give a file of rules.'
      )
    rules = rule_set.of_hierarchy(dataset.hierarchy, names)
  elif options.path is None:
    text = given.removeprefix(TEXT).replace(';', '\n')
    rules = rule_set.parse(text, names, where='--rules')
  else:
    rules = rule_set.read(options.path, names)
  return [rules] * len(trial.splits)


class Outcome(NamedTuple):
  """What an experiment found.

  Attributes:
    rows: of results.json.
    arrays: of predictions.npz.
    notes: what a user must know.
    files: name -> text, of the folder `constraints` of a run; empty without.
  """

  rows: list[dict[str, Any]]
  arrays: dict[str, np.ndarray]
  notes: list[str]
  files: dict[str, str]


def judge(
  model: Model,
  dataset: Dataset,
  data: Batch,
  trial: Trial,
  selected: Sequence[int],
  params: Params,
  found: Constraints | None,
  *,
  regrets: bool = True,
  convention: str = 'mlc',
) -> Outcome:
  """Judges the selected runs, and what the rules changed; see `judgement`.

  The user is told how far it is.
  """
  stacked = None
  splits = [trial.described[run]['split'] for run in selected]
  if found is not None and selected:
    sets = [found.sets[split] for split in splits]
    stacked = rule_set.stacked(sets, dataset.num_labels)
    stacked = Rules(*map(jnp.asarray, stacked))
  same = (dataset, data, trial, selected)
  asked: dict[str, Any] = {
    'regrets': regrets,
    'rules': stacked,
    'convention': convention,
  }
  with Judging(len(selected), list(model.decoders)) as progress:
    rows, arrays = judgement.judge(
      model, *same, params, **asked, on_rows=progress.on_rows
    )
  notes = notes_of(arrays)
  if found is None or stacked is None:
    return Outcome(rows, arrays, notes, {})
  mended = deciding.calibrated(
    model, data, [trial.splits[split] for split in splits], params
  )
  models = dict.fromkeys(model.decoders, model)
  if found.conditioned is not None:
    inner = {**params, 'head': with_rules(mended['head'], stacked)}
    with Judging(len(selected), list(found.conditioned.decoders)) as progress:
      more, judged = judgement.judge(
        found.conditioned, *same, inner, **asked, on_rows=progress.on_rows
      )
    rows += more
    arrays |= {k: v for k, v in judged.items() if k.startswith('decision_')}
    arrays['marginals_condition'] = judged['marginals']
    models |= dict.fromkeys(found.conditioned.decoders, found.conditioned)
  effects = rule_effects.of_decisions(
    [found.sets[split] for split in splits], arrays, dataset, found.plain
  )
  rows = _with_reasons(rows) + _inconsistency(effects, models, arrays)
  notes += rule_effects.notes_of(effects, rows, found.empirical)
  notes += _notes_of_model(model, data, mended, stacked, found, arrays)
  files = rule_effects.tables(effects, rows, arrays)
  return Outcome(rows, arrays, notes, files)


def _with_reasons(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """A rule that a row breaks gives its truth probability 0."""
  why = 'the rules rule out the label set of some row: its nll is infinite'
  return [
    {**row, 'reason': why}
    if row['metric'] == 'nll' and np.isposinf(row['value'])
    else row
    for row in rows
  ]


def _inconsistency(
  effects: rule_effects.Effects,
  models: Mapping[str, Model],
  arrays: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
  """Rows of results.json: the share of test rows that break a rule."""
  return [
    {
      'decoder': name,
      'seed': int(seed),
      'fold': int(fold),
      'split': 'test',
      'metric': 'inconsistency',
      'value': float(effects.inconsistent[name][run]),
      'exactness': models[name]
      .decoders[name]
      .exactness(models[name].calibrated),
    }
    for name in models
    for run, (seed, fold) in enumerate(
      zip(arrays['seed'], arrays['fold'], strict=True)
    )
  ]


def write(directory: pathlib.Path, files: Mapping[str, str]) -> None:
  """Writes files into the folder `constraints` of a directory."""
  folder = directory / FOLDER
  with naming_path(folder):
    folder.mkdir(parents=True, exist_ok=True)
  for name, text in files.items():
    write_atomic(folder / name, text.encode())


# What only the model can tell: how likely it finds the rules, and how far a
# search may be from the best.


def _notes_of_model(
  model: Model,
  data: Batch,
  params: Params,
  stacked: Rules,
  found: Constraints,
  arrays: Mapping[str, np.ndarray],
) -> list[str]:
  head, notes = model.calibrated, []
  if found.conditioned is not None:
    rate = _of_rows(
      lambda params, h, rules, y: keeping(head, params, h, rules),
      (model, data, params, stacked),
      arrays,
    )
    how = 'exactly' if head.joint is not None else 'as the share of 1000 draws'
    none = int((rate == 0).sum())
    notes.append(
      'condition: before it the model gives the rules a probability of '
      f'{rate.mean():.3f} on average over the test rows and of '
      f'{rate.min():.3f} in the worst, {how}'
    )
    if none and head.joint is None:
      notes.append(
        f'condition: in {none} rows no draw was accepted; they are answered as '
        'if there were no rules'
      )
  name = f'subset_{DECODE}'
  searched = name in model.decoders and (
    model.decoders[name].exactness(head) == 'searched'
  )
  if searched and head.mode is not None:
    gap = _of_rows(
      lambda params, h, rules, y: rule_set.optimality_gap(head, params, h, y),
      (model, data, params, stacked),
      arrays,
      name,
    )
    notes.append(
      f'{name} is searched: an allowed label vector may be likelier by '
      f'{gap.mean():.3g} nats on average and {gap.max():.3g} at most (the '
      'distance to the mode without rules)'
    )
  return notes


def _of_rows(
  function: Callable[..., jax.Array],
  given: tuple[Model, Batch, Params, Rules],
  arrays: Mapping[str, np.ndarray],
  decoder: str = '',
) -> np.ndarray:
  """A number for each test row of each run, as one array."""
  model, data, params, rules = given
  index = jnp.asarray(np.maximum(arrays['row'], 0), jnp.int32)
  of_rows = arrays[f'decision_{decoder}'] if decoder else arrays['y']
  y = jnp.asarray(of_rows, jnp.float32)

  @jit_once
  def compute(data, params, rules, index, y):
    def one(run):
      params, rules, index, y = run
      rows = evaluation.rows_of(data, index, jnp.ones(index.shape))

      def of_block(part):
        x, y = part
        h = model.encoder.apply(params['encoder'], x)
        return function(params['head'], h, rules, y)

      return evaluation.in_blocks(of_block, (rows.x, y), 256)

    return jax.lax.map(one, (params, rules, index, y))

  found = np.asarray(compute(data, params, rules, index, y))
  return found[arrays['row'] >= 0]
