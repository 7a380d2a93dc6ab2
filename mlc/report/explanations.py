"""What the numbers mean, in words: conventions, coverage, conditions, trouble.

Texts are HTML.
"""

from collections.abc import Mapping, Sequence

from mlc.report import comparison
from mlc.report.html_tables import escape
from mlc.report.records import Record, labels
from mlc.report.statistics import Sampling
from mlc.report.tables import trouble
from mlc.report.vocabulary import MEANINGS, mark

_CORRECTED = (
  'the usual interval is too narrow, since training parts overlap, and the '
  'variance is multiplied by 1 + n &times; {overlap:.3g}. It covers the chance '
  'in splitting and training, for training sets of this size from this data '
  'set.'
)
_COVERS = {
  'seeds': (
    'Student&rsquo;s t interval over {seeds} on one fixed test part. It covers '
    'the chance in training (initial values, order of batches, validation '
    'rows, sampling), and not the choice of the test rows: on another test '
    'part all numbers may shift together.'
  ),
  'holdouts': (
    'Corrected resampled t interval (Nadeau and Bengio 2003) over {seeds}, '
    'each with a test part of its own: ' + _CORRECTED
  ),
  'folds': (
    'Corrected resampled t interval (Nadeau and Bengio 2003) over {folds} '
    'folds &times; {seeds}: ' + _CORRECTED
  ),
}
# What is counted where a metric is undefined.
_POLICIES = {
  'mlc': (
    '<code>f1_<wbr>example</code> counts an empty prediction for an empty '
    'truth as 1. Elsewhere a division by zero counts as in scikit-learn: 1 for '
    'a row in metrics by example, 0 for a label in micro and macro averages '
    'and in mAP; a label without an AUC is left out.'
  ),
  'sklearn': (
    'scikit-learn&rsquo;s defaults: a division by zero counts 0, a row without '
    'a label 1 in LRAP, and a label without an AUC leaves macro AUC without a '
    'value.'
  ),
  'mulan': (
    'as MULAN 1.5: 1 where nothing is true and nothing predicted, else a '
    'division by zero counts 0; LRAP leaves out rows without a label, mAP '
    'labels without a row; coverage counts from 0; of equal scores the last '
    'label is ranked first; a label without an AUC leaves macro AUC without a '
    'value.'
  ),
  'skip': 'rows and labels for which a metric is undefined are left out.',
}
# Settings that differ between methods by design, or that name the run.
_OWN = ('study', 'dataset', 'method', 'loss', 'decoders', 'content_hash')


def covers(sampling: Sampling) -> str:
  """What the interval of a design covers, and what not."""
  if sampling.seeds * sampling.folds == 1:
    return 'A single seed: there is no interval.'
  seeds = f'{sampling.seeds} seeds' if sampling.seeds > 1 else 'one seed'
  return _COVERS[sampling.kind].format(
    seeds=seeds, folds=sampling.folds, overlap=sampling.overlap
  )


def intervals(records: Sequence[Record]) -> list[str]:
  """What the intervals of these runs cover, each design once."""
  kinds = sorted({r.sampling for r in records if r.rows})
  several = [kind for kind in kinds if kind.seeds * kind.folds > 1]
  return list(dict.fromkeys(covers(kind) for kind in several or kinds))


def conditions(records: Sequence[Record]) -> str:
  """Whether the methods of a data set were treated alike."""
  done = [r for r in records if r.status == 'ok']
  grids = {
    frozenset((c.learning_rate, c.l2, c.link_l2) for c in r.candidates)
    for r in done
  }
  seeds = {len(r.units) for r in done}
  differing = [
    key for key, values in _settings(done).items() if len(values) > 1
  ]
  if len(done) < 2:
    return ''
  if len(grids) == 1:
    told = [f'Every method had the same grid: {_grid(done[0])}']
  else:
    told = [
      '<b>The search was not the same for every method:</b> '
      + ' '.join(f'{escape(r.method)}: {_grid(r)}' for r in done)
    ]
  if len(seeds) > 1:
    told.append('<b>The number of seeds or folds differs between methods.</b>')
  if len({r.settings.get('content_hash') for r in done}) > 1:
    told.append(
      '<b>The runs saw different data under this name: their numbers cannot be '
      'compared.</b>'
    )
  told.append('The lowest validation loss was kept, for each seed and fold.')
  if differing:
    told.append(f'Settings that differ: {escape(", ".join(differing))}.')
  else:
    told.append('Encoder and all other settings are the same.')
  return ' '.join(told)


def _grid(record: Record) -> str:
  """learning rate 0.001, 0.003; l2 0, 0.01."""
  parts = []
  for field, name in (
    ('learning_rate', 'learning rate'),
    ('l2', 'l2'),
    ('link_l2', 'l2 of links'),
  ):
    values = {getattr(c, field) for c in record.candidates} - {None}
    if values:
      shown = ', '.join(f'{value:g}' for value in sorted(values))
      parts.append(f'{name} {shown}')
  return ('; '.join(parts) or 'nothing was searched') + '.'


def settings(records: Sequence[Record]) -> str:
  """The settings of a data set's runs, on demand."""
  found = _settings([r for r in records if r.status == 'ok'])
  if not found:
    return ''
  items = ''.join(
    f'<li><code>{escape(key)}</code> = {escape(" | ".join(values))}</li>'
    for key, values in sorted(found.items())
  )
  return (
    f'<details><summary>Settings</summary><ul class="list small">{items}</ul>'
    '</details>'
  )


def troubles(records: Sequence[Record]) -> str:
  """Failed and unfinished runs, diverged seeds, and notes on the data."""
  names = labels(records)
  items = []
  for r in records:
    who = f'<b>{escape(r.dataset)}, {escape(names[r.run_id])}</b>'
    if r.status != 'ok':
      items.append(
        f'<li>{who} {escape(trouble(r))}<br><code>{escape(r.run_id)}</code>'
        '</li>'
      )
    lost = [c for c in r.candidates if c.diverged]
    if lost:
      units = ', '.join(
        f'{seed}' if fold < 0 else f'{seed} (fold {fold})'
        for seed, fold in r.diverged
      )
      out = (
        f'seed {units} has no result and is left out of the means, which '
        'flatters the method.'
        if r.diverged
        else 'another setting of the same seed was kept.'
      )
      items.append(
        f'<li>{who}: {len(lost)} of {len(r.candidates)} trained runs diverged; '
        f'{out}</li>'
      )
  seen: dict[str, list[str]] = {}
  for r in records:
    for note in r.notes:
      seen.setdefault(note, []).append(r.dataset)
  for note, sets in seen.items():
    where = ', '.join(dict.fromkeys(sets))
    items.append(f'<li><b>{escape(where)}</b>: {escape(note)}</li>')
  text = ''.join(items) or '<li>Nothing to note: every run finished.</li>'
  return (
    '<section id="notes"><h2>Notes and failed runs</h2>'
    f'<ul class="list">{text}</ul></section>'
  )


def conventions(records: Sequence[Record], baseline: str) -> str:
  """How every number on the page is defined."""
  name = escape(baseline.replace('_', ' '))
  words = {row.exactness for r in records for row in r.rows if row.exactness}
  exact = ''.join(
    f'<li><b>{escape(mark(word) or "no mark")}</b> {escape(word)}: '
    f'{escape(MEANINGS.get(word, ""))}</li>'
    for word in sorted(words, key=lambda w: (mark(w), w))
  )
  covered = ''.join(f'<li>{text}</li>' for text in intervals(records))
  policies = ''.join(
    f'<li>Convention <b>{escape(name)}</b>: {_POLICIES.get(name, "")}</li>'
    for name in comparison.conventions(records)
  )
  return f"""<section id="conventions"><h2>How to read the numbers</h2>
<h3>Comparison</h3><ul class="list">
<li>A gain is the difference to {name} in the same seed and fold, and its
interval is that of the paired differences. It is positive when the method is
better, also for a loss.</li>
<li>Both sides get the same choice of decoders. For the answer, method and
decoder are the best ones on validation rows, so that the test part is read
once. Where there are no validation rows, each metric takes the decoder that is
made for it.</li>
<li>Intervals hold for one comparison each; among twenty of them one is
expected to miss its true value.</li>
<li>“No clear difference” says that zero lies in the interval, not that the
methods are equal: the interval says how large a difference may still
be.</li></ul>
<h3>Intervals, 95 %</h3><ul class="list">{covered}
<li>No interval stands where there is a single value, or where all seeds agree
exactly: zero width would claim what was not measured.</li>
<li>A seed that diverged is left out of the means and counted below the name of
its method. Bold is given only among methods measured on every seed.</li></ul>
<h3>Metrics</h3><ul class="list">
<li>Shares are shown in points of 100; results.csv and summary.csv hold them as
they are, not rounded. ↑ higher is better, ↓ lower is better.</li>
{policies}
<li>For how many rows or labels a metric is undefined stands below the tables,
and in results.csv and summary.csv.</li>
<li>A number that is undefined (an average over nothing) is a dash here, with
its reason below the table, and <code>nan</code> in results.csv.</li>
<li>Scores such as mAP, LRAP and the likelihood do not depend on the decoder
and stand once a method.</li></ul>
<h3>How decisions were found</h3><ul class="list">{exact}</ul></section>"""


def reproduce(command: str, files: Mapping[str, str]) -> str:
  """The command and what lies beside the page."""
  parts = []
  if command:
    parts.append(
      '<p>The same command continues what is unfinished and repeats nothing '
      f'that is done:</p><pre>{escape(command)}</pre>'
    )
  if files:
    items = ''.join(
      f'<li><a href="{escape_link(name)}"><code>{escape(name)}</code></a>: '
      f'{escape(what)}</li>'
      for name, what in files.items()
    )
    parts.append(f'<ul class="list">{items}</ul>')
  if not parts:
    return ''
  return (
    '<section id="reproduce"><h2>Reproduce, and the files</h2>'
    f'{"".join(parts)}</section>'
  )


def escape_link(name: str) -> str:
  """A relative link to a file of this name."""
  safe = ''.join(c if c.isalnum() or c in '._-/' else '_' for c in name)
  return safe.lstrip('/')


def _settings(records: Sequence[Record]) -> dict[str, list[str]]:
  """Setting -> its different values over the runs."""
  found: dict[str, list[str]] = {}
  for key in dict.fromkeys(key for r in records for key in r.settings):
    if key in _OWN or '.' in key:
      continue
    values = [str(r.settings.get(key, '(not set)')) for r in records]
    found[key] = list(dict.fromkeys(values))
  if records:
    found['encoder'] = list(dict.fromkeys(r.encoder for r in records))
  return found
