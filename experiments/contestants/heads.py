"""How the time of each head grows with the number of labels."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich.box
from rich.console import Console
from rich.table import Table

from experiments.config import DataOptions, Experiment
from experiments.contestants.task import Sizes
from experiments.experiment import Model, build_model
from experiments.flags import resolved
from mlc import evaluation
from mlc.base import Batch
from mlc.data.arrays import to_device
from mlc.data.dataset import Dataset
from mlc.methods import METHODS
from mlc.numerics import jit_once, merge_frozen, split_frozen, take_rows
from mlc.training import optimizer
from mlc.training.objective import mean_loss
from mlc.training.options import TrainOptions

_log = logging.getLogger(__name__)

LABEL_COUNTS = (14, 100, 1000)
# Labels of a row, before their ancestors in the hierarchy are added.
_CARDINALITY = 3
# A call is repeated for at least the first, and no longer than the second.
_LEAST_SECONDS, _MOST_SECONDS = 0.3, 3.0
# What needs more is not tried: the machine may belong to others too.
_MOST_BYTES = 3 * 2**30
# Rows decided at a time.
_BLOCK = 64
# Of the table, in characters.
_LEAST_WIDTH = 90

Numbers = dict[str, float]


def measure_heads(
  sizes: Sizes,
  repeats: int,
  *,
  methods: Sequence[str] = tuple(METHODS),
  label_counts: Sequence[int] = LABEL_COUNTS,
) -> list[dict[str, Any]]:
  """Times a training step and a decision of each method, with its defaults.

  Args:
    sizes: rows, features and batch_size; decisions are for all rows.
    repeats: calls at least, of which the fastest counts; fewer where slow.
    methods: names in METHODS.
    label_counts: L, rising.

  Returns:
    For each method its `name` and `decoder`; `step` and `decide`: L ->
    seconds; `step_growth` and `decide_growth`: the exponent a of L^a between
    the two largest L, or None; and `refused`: L -> why not.
  """
  found = []
  for method in methods:
    row: dict[str, Any] = {
      'name': method,
      'decoder': METHODS[method].decoder,
      'step': {},
      'decide': {},
      'refused': {},
    }
    for num_labels in label_counts:
      who = f'{method} with {num_labels} labels'
      _log.info('%s', who)
      try:
        times = _measure(method, num_labels, sizes, repeats)
      except (ValueError, jax.errors.JaxRuntimeError) as error:
        row['refused'][str(num_labels)] = str(error)
        _log.info('%s: %s', who, error)
        continue
      _log.info('%s: step %.2g s, decide %.2g s', who, *times.values())
      for name, seconds in times.items():
        row[name][str(num_labels)] = seconds
    for name in ('step', 'decide'):
      row[f'{name}_growth'] = growth(row[name])
    found.append(row)
  return found


def growth(seconds: Mapping[str, float]) -> float | None:
  """log(t2 / t1) / log(L2 / L1) of the two largest L."""
  if len(seconds) < 2:
    return None
  (less, before), (more, after) = list(seconds.items())[-2:]
  return math.log(after / before) / math.log(int(more) / int(less))


def draw_labels(sizes: Sizes, num_labels: int, *, one_hot: bool) -> Dataset:
  """Few labels a row, on a hierarchy that every row obeys, or exactly one."""
  random = np.random.default_rng(0)
  x = random.normal(size=(sizes.rows, sizes.features)).astype(np.float32)
  y = np.zeros((sizes.rows, num_labels), np.uint8)
  count = 1 if one_hot else _CARDINALITY
  drawn = random.integers(num_labels, size=(sizes.rows, count))
  np.put_along_axis(y, drawn, 1, axis=1)
  hierarchy = None
  if not one_hot:
    # Ten kinds of each label: parents have lower numbers than their children.
    child = np.arange(10, num_labels)
    hierarchy = np.zeros((num_labels, num_labels), bool)
    hierarchy[child, child // 10 - 1] = True
    for j in reversed(child):
      y[:, j // 10 - 1] |= y[:, j]
  return Dataset(
    name='drawn',
    x=x,
    y=y,
    label_names=tuple(f'y{j}' for j in range(num_labels)),
    hierarchy=hierarchy,
  )


def _measure(
  method: str, num_labels: int, sizes: Sizes, repeats: int
) -> Numbers:
  """Seconds of a step and of deciding for all rows."""
  # The one method for rows of exactly one label.
  dataset = draw_labels(sizes, num_labels, one_hot=method == 'softmax')
  experiment = resolved(
    Experiment(method=method, data=DataOptions(standardize='false'))
  )
  sets = len(np.unique(dataset.y, axis=0))
  model = build_model(experiment, dataset, num_label_sets=sets)
  data = to_device(dataset)
  rows = data._replace(weight=jnp.ones(sizes.rows))
  params = jax.jit(model.init)(jax.random.key(0), rows)
  batch = take_rows(rows, jnp.arange(min(sizes.batch_size, sizes.rows)))
  trained, _ = split_frozen(params)
  state = optimizer.init(trained, TrainOptions())
  return {
    'step': _timed(
      lambda params, state, batch: train_step(model, params, state, batch),
      (params, state, batch),
      repeats,
    ),
    'decide': _timed(
      lambda params, rows: decide(model, params, rows),
      (params, rows),
      repeats,
      jit=jit_once,
    ),
  }


def train_step(
  model: Model, params: Any, state: Any, batch: Batch
) -> tuple[Any, Any]:
  """An update by AdamW, as in training."""
  trained, frozen = split_frozen(params)
  gradient = jax.grad(
    lambda trained: mean_loss(
      model.losses, merge_frozen(trained, frozen), batch, key=jax.random.key(1)
    )
  )(trained)
  rate, l2 = jnp.asarray(1e-3), jnp.asarray(0.0)
  rule = optimizer.adamw(rate, l2, TrainOptions())
  change, state = rule.update(gradient, state, trained)
  return merge_frozen(optax.apply_updates(trained, change), frozen), state


def decide(model: Model, params: Any, rows: Batch) -> Any:
  """The decisions of the method's own decoder, block after block."""
  (decoder,) = model.decoders.values()
  h = model.encoder.apply(params['encoder'], rows.x)
  fitted = decoder.fit(
    model.head, params['head'], h, rows.y, weight=rows.weight
  )

  def block(h):
    return decoder.decide(
      model.head, params['head'], h, fitted, key=jax.random.key(2)
    )

  return evaluation.in_blocks(block, h, _BLOCK)


def _timed(
  function: Callable[..., Any],
  arguments: tuple[Any, ...],
  repeats: int,
  jit: Callable[..., Any] = jax.jit,
) -> float:
  """Seconds of the fastest call, compiled before, as users have it compiled.

  The fastest: an exponent is of what the work takes, and whatever else the
  machine does only adds to it.
  """
  compiled = jit(function).lower(*arguments).compile()
  memory = compiled.memory_analysis()
  needed = getattr(memory, 'temp_size_in_bytes', 0)
  if needed > _MOST_BYTES:
    raise ValueError(
      f'needs {needed / 2**30:.1f} GiB; not tried above '
      f'{_MOST_BYTES / 2**30:.0f} GiB. Lower --rows or --batch_size.'
    )
  times: list[float] = []
  while len(times) < repeats or sum(times) < _LEAST_SECONDS:
    began = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    times.append(time.perf_counter() - began)
    if sum(times) > _MOST_SECONDS:
      break
  return min(times)


def show_heads(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
  """Prints milliseconds by L, and the exponents; why what was refused below."""
  counts = sorted(
    {
      int(count)
      for row in rows
      for count in (*row['step'], *row['decide'], *row['refused'])
    }
  )
  table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
  table.add_column('', no_wrap=True)
  for what in ('step', 'decide'):
    for count in counts:
      table.add_column(f'{what}\nL={count}', justify='right', no_wrap=True)
    table.add_column(f'{what}\nL^', justify='right', no_wrap=True)
  for row in rows:
    cells = []
    for what in ('step', 'decide'):
      times = [row[what].get(str(count)) for count in counts]
      cells += ['-' if t is None else _ms(t) for t in times]
      exponent = row[f'{what}_growth']
      cells.append('-' if exponent is None else f'{exponent:.1f}')
    table.add_row(row['name'], *cells)
  print(f'\n{title}')
  console = Console(highlight=False)
  # Headings are cut off below.
  console.width = max(console.width, _LEAST_WIDTH)
  console.print(table)
  for row in rows:
    for count, why in row['refused'].items():
      print(f'{row["name"]}, L={count}: {why}')


def _ms(seconds: float) -> str:
  value = 1e3 * seconds
  return f'{value:.0f}' if value >= 100 else f'{value:.2g}'
