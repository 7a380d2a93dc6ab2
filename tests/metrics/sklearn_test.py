"""Every metric equals scikit-learn on 2,000 random cases.

With ties, rows without a label, absent labels, labels that are never predicted,
unknown labels, and rows of weight 0 that hold NaN.
"""

import contextlib
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import metrics

PRECISIONS = {
  'float32': (contextlib.nullcontext, jnp.float32, 1e-5),
  'x64': (functools.partial(jax.enable_x64, True), jnp.float64, 1e-9),
}


def stacked(cases, dtype):
  """The cases as one Predictions with a leading axis.

  Smaller ones are padded with rows of weight 0 and labels that no row knows,
  which must not matter, whatever they hold.
  """
  rows, labels = np.max([case.y.shape for case in cases], axis=0)

  def pad(field, fill):
    out = []
    for case in cases:
      n, num_labels = case.y.shape
      a = getattr(case, field)
      width = [(0, rows - n), (0, labels - num_labels)][: a.ndim]
      a = np.pad(a, width, constant_values=fill)
      out.append(a)
    return np.stack(out)

  weight, where = pad('weight', 0), pad('where', False)
  nan_rows = np.where(weight > 0, 0, np.nan)
  real = functools.partial(jnp.asarray, dtype=dtype)
  return metrics.Predictions(
    y=real(pad('y', 0)),
    decisions=real(pad('decisions', 1)),
    scores=real(pad('scores', 1) + nan_rows[..., None]),
    where=jnp.asarray(where),
    weight=real(weight),
  )


# Padding with unknown labels leaves no row with a joint probability.
ELSEWHERE = r'nll|ece_\w+|brier_label|reciprocal_rank|(recall|map|ps_\w+)_at_\d'


def check(table, cases, values, dtype, tolerance):
  table = {n: m for n, m in table.items() if not re.fullmatch(ELSEWHERE, n)}
  evaluate = jax.jit(jax.vmap(functools.partial(metrics.evaluate, table)))
  ours = evaluate(stacked(cases, dtype))
  assert set(values) == set(ours)
  for name in ours:
    assert ours[name].dtype == dtype
    np.testing.assert_allclose(
      np.asarray(ours[name], float),
      values[name],
      rtol=tolerance,
      atol=tolerance,
      err_msg=name,
    )


@pytest.mark.slow
@pytest.mark.parametrize('precision', PRECISIONS)
def test_default_convention(precision, cases, expected):
  context, dtype, tolerance = PRECISIONS[precision]
  with context():
    check(metrics.multilabel(), cases, expected, dtype, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize('precision', PRECISIONS)
def test_skip_convention(precision, cases, expected_skip):
  context, dtype, tolerance = PRECISIONS[precision]
  with context():
    table = metrics.multilabel('skip')
    check(table, cases[::4], expected_skip, dtype, tolerance)


def test_the_cases_are_as_hard_as_they_claim(cases):
  assert len(cases) in (250, 2000)
  share = lambda test: np.mean([test(case) for case in cases])
  assert share(lambda c: ((c.y.sum(1) == 0) & (c.weight > 0)).any()) > 0.5
  assert share(lambda c: (c.y.sum(0) == 0).any()) > 0.3
  assert share(lambda c: (c.decisions.sum(0) == 0).any()) > 0.3
  assert share(lambda c: len(np.unique(c.scores[0])) < c.y.shape[1]) > 0.4
  assert share(lambda c: (c.weight == 0).any()) > 0.3
  assert share(lambda c: ~c.where.all()) > 0.15
