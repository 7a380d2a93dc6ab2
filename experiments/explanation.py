"""What `explain` found, as JSON, tables and a figure."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import rich.box
from rich.console import Console
from rich.table import Table

from mlc.explain import search
from mlc.report.propagation import Matrix, propagation_figure

# Rows of a printed table at most.
_SHOWN = 20


class Explained(NamedTuple):
  """What was found in a run, with a leading axis of its selected runs.

  Attributes:
    units: seed and fold of each.
    names: of the labels, in data set order.
    rank: position of each label, [runs, members, labels]; None without order.
    found: what `ask` gives, as numpy arrays.
    exactness: capability -> how it was obtained.
    notes: what was not looked at, and why.
  """

  units: Sequence[Mapping[str, int]]
  names: Sequence[str]
  rank: np.ndarray | None
  found: Mapping[str, Any]
  exactness: Mapping[str, str]
  notes: Sequence[str]


def as_json(told: Explained) -> dict[str, Any]:
  """All numbers, NaN as null."""

  def plain(value):
    if isinstance(value, np.ndarray | np.generic):
      return plain(value.tolist())
    if isinstance(value, list | tuple) and not hasattr(value, '_asdict'):
      return [plain(part) for part in value]
    if hasattr(value, '_asdict'):
      return plain(value._asdict())
    if isinstance(value, Mapping):
      return {key: plain(part) for key, part in value.items()}
    undefined = isinstance(value, float) and math.isnan(value)
    return None if undefined else value

  return plain(told)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """CSV; numbers with 6 digits."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator='\n')
  writer.writerow(columns)
  writer.writerows(
    [f'{x:.6g}' if isinstance(x, float | np.floating) else x for x in row]
    for row in rows
  )
  return out.getvalue()


def tables(told: Explained) -> dict[str, str]:
  """File name -> CSV, of what was found."""
  found, out = told.found, {}
  if 'positions' in found and told.rank is not None:
    at = found['positions']
    out['positions.csv'] = table(
      ('seed', 'fold', 'member', 'label', 'position', *at._fields),
      (
        (
          *unit.values(),
          m,
          name,
          int(told.rank[r, m, j]) + 1,
          *(values[r, m, j] for values in at),
        )
        for r, unit in enumerate(told.units)
        for m in range(told.rank.shape[1])
        for j, name in enumerate(told.names)
      ),
    )
  matrices = matrices_of(told)
  if matrices:
    out['labels.csv'] = table(
      ('from', 'to', *matrices),
      (
        (a, b, *(float(values[i, j]) for values in matrices.values()))
        for i, a in enumerate(told.names)
        for j, b in enumerate(told.names)
      ),
    )
  if 'searches' in found:
    out['searches.csv'] = table(
      ('seed', 'fold', 'search', *search.Search._fields),
      (
        (*unit.values(), name, *(values[r] for values in measured))
        for r, unit in enumerate(told.units)
        for name, measured in in_order(found['searches'])
      ),
    )
  return out


def in_order(searches: Mapping[str, Any]) -> list[tuple[str, Any]]:
  """Greedy, the beams by width, the mode: compiled code sorts by name."""

  def place(item):
    name = item[0]
    width = int(name.removeprefix('beam_')) if '_' in name else 0
    return name == 'mode', width

  return sorted(searches.items(), key=place)


def matrices_of(told: Explained) -> dict[str, np.ndarray]:
  """Name -> [L, L], means over runs and members."""
  out = {}
  for source in ('flips', 'direct', 'total'):
    if source in told.found:
      for field, values in told.found[source]._asdict().items():
        axes = tuple(range(values.ndim - 2))
        prefix = '' if source == 'flips' else f'{source}_'
        out[f'{prefix}{field}'] = np.mean(values, axis=axes)
  return out


def figure_of(told: Explained) -> Any | None:
  """The figure; None where there is nothing to draw."""
  found, order = told.found, np.arange(len(told.names))
  lines: dict[str, np.ndarray] = {}
  if told.rank is not None:
    if (told.rank == told.rank[:1, :1]).all():
      order = np.argsort(told.rank[0, 0])
    if 'positions' in found:
      along = np.argsort(told.rank, axis=-1)
      for field, values in found['positions']._asdict().items():
        placed = np.take_along_axis(values, along, axis=-1)
        name = field.replace('_', ' ')
        lines[name] = placed.reshape(-1, placed.shape[-1])
  known = matrices_of(told)
  titles = (
    ('change', 'Other decision when forced', False),
    ('direct_effect', 'Change of P, others known', True),
    ('total_effect', 'Change of P, others unknown', True),
  )
  matrices = [
    Matrix(title, known[name][order][:, order], signed)
    for name, title, signed in titles
    if name in known
  ]
  bars = {
    name: float(np.mean(measured.equal))
    for name, measured in in_order(found.get('searches', {}))
    if name != 'mode'
  }
  if not (lines or matrices or bars):
    return None
  names = [told.names[int(j)] for j in order]
  return propagation_figure(names, lines, matrices, bars)


def show(title: str, told: Explained) -> None:
  """Prints where accuracy is lost, what moves what, and what searches find."""
  columns: tuple[str, ...]
  rows: list[tuple[str, ...]]
  found, said = told.found, '[dim]means over the test rows of all runs'
  print(title)
  console = Console(highlight=False)
  if 'positions' in found and told.rank is not None:
    along = np.argsort(told.rank, axis=-1)
    forced, free = (
      np.take_along_axis(values, along, axis=-1).mean(axis=(0, 1))
      for values in found['positions']
    )
    fixed = (told.rank == told.rank[:1, :1]).all()
    names = [told.names[j] if fixed else 'varies' for j in along[0, 0]]
    rows = [
      (str(k + 1), name, f'{a:.4f}', f'{b:.4f}', f'{a - b:+.4f}')
      for k, (name, a, b) in enumerate(zip(names, forced, free, strict=True))
    ]
    columns = ('position', 'label', 'teacher-forced', 'free-running', 'lost')
    _print(console, columns, rows, said)
  matrices = matrices_of(told)
  moved = matrices.get('change', matrices.get('direct_size'))
  if moved is not None:
    apart = np.where(np.eye(len(moved), dtype=bool), 0.0, moved)
    strongest = np.argsort(-apart, axis=None)[:5]
    pairs = [np.unravel_index(place, apart.shape) for place in strongest]
    rows = [
      (
        told.names[i],
        told.names[j],
        *(f'{m[i, j]:.3f}' for m in matrices.values()),
      )
      for i, j in pairs
    ]
    columns = ('from', 'to', *(name.replace('_', ' ') for name in matrices))
    _print(console, columns, rows, '[dim]the five strongest pairs of labels')
  if 'searches' in found:
    rows = [
      (name, *(f'{np.mean(values):.4f}' for values in measured))
      for name, measured in in_order(found['searches'])
    ]
    word = told.exactness.get('mode', '')
    columns = ('search', 'equal to mode', 'gap in nats', 'subset accuracy')
    _print(console, columns, rows, f'[dim]the mode is {word}')
  if 'orders' in found:
    each = found['orders'].subset_accuracy
    print(
      f'Subset accuracy of single orders {each.mean():.4f} (from '
      f'{each.min():.4f} to {each.max():.4f}); two orders differ in '
      f'{found["orders"].disagreement.mean():.2%} of the decisions.'
    )
  for note in told.notes:
    print(f'Note: {note}')


def _print(
  console: Console,
  columns: Sequence[str],
  rows: Sequence[Sequence[str]],
  caption: str,
) -> None:
  drawn = Table(box=rich.box.SIMPLE_HEAD, caption=caption)
  for i, column in enumerate(columns):
    text = i == 0 or not any(character.isdigit() for character in rows[0][i])
    drawn.add_column(column, justify='left' if text else 'right')
  for row in rows[:_SHOWN]:
    drawn.add_row(*row)
  console.print(drawn)
  if len(rows) > _SHOWN:
    print(f'  and {len(rows) - _SHOWN} more in positions.csv')
