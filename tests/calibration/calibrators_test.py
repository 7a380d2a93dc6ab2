"""What each calibrator fits, and the heads that come out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from sklearn.calibration import _sigmoid_calibration

from mlc import calibration, decoding, distribution
from mlc.base import Head, MissingCapabilityError
from mlc.calibration.scaling import fit_lines
from mlc.heads.categorical import categorical
from mlc.heads.enumerated import enumerated
from mlc.heads.product import product

ROWS, LABELS = 60, 3
VECTORS = np.asarray(distribution.label_vectors(LABELS))
CALIBRATORS = {
  made.name: made
  for made in (
    calibration.none(),
    calibration.temperature(),
    calibration.vector(),
    calibration.platt(),
    calibration.isotonic(),
  )
}
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def real(x):
  return jnp.asarray(x, jnp.float32)


def given(params, h, *, key=None):
  """Scores that are parameters: h holds the numbers of the rows."""
  del key
  return params[h[:, 0].astype(jnp.int32)]


def head_of(form: str) -> Head:
  """A head whose parameters are its scores."""
  init = lambda key, h, y, **_: ()
  if form == 'classes':
    return categorical('classes', LABELS, init, given)
  if form == 'product':
    return product('product', LABELS, init, given)
  table = enumerated('table', LABELS, init, given)
  if form == 'table':
    return table
  return Head(
    'marginals',
    LABELS,
    {'marginals': 'estimated'},
    init,
    marginals=table.marginals,
  )


FORMS = ('classes', 'product', 'table', 'marginals')


@functools.cache
def world(form: str, sure: float = 2.5, seed: int = 0):
  """Scores that are too sure by a factor, and labels drawn without it.

  Some labels are unknown, some rows padding that would change everything.
  """
  rng = np.random.default_rng(seed)
  columns = 8 if form in ('table', 'marginals') else LABELS
  scores = rng.normal(size=(ROWS, columns))
  if form == 'product':
    y = rng.random((ROWS, LABELS)) < scipy.special.expit(scores)
  else:
    p = scipy.special.softmax(scores, axis=-1)
    drawn = np.array([rng.choice(columns, p=row) for row in p])
    y = np.eye(LABELS)[drawn] if form == 'classes' else VECTORS[drawn]
    scores = np.log(p)
  scores = sure * scores
  if form in ('table', 'marginals'):
    scores = scipy.special.log_softmax(scores, axis=-1)
  where = rng.random((ROWS, LABELS)) < 0.9
  weight = np.array([1.0, 2.0, 1.0, 0.0])[np.arange(ROWS) % 4]
  y = np.where(weight[:, None] > 0, y, 1.0 - y)
  h = np.arange(ROWS)[:, None]
  y = np.where(where, y, 0.0)
  return tuple(map(real, (scores, h, y))), jnp.asarray(where), real(weight)


@functools.cache
def fitted(name: str, form: str):
  """The calibrated head and its parameters."""
  (scores, h, y), where, weight = world(form)
  calibrator, head = CALIBRATORS[name], head_of(form)
  fit = quick_jit(functools.partial(calibrator.fit, head))
  state = fit(scores, h, y, where=where, weight=weight)
  return calibrator.apply(head), {'head': scores, 'calibration': state}


def log_likelihood(form, mend, scores=None):
  """sum of weight log p(the known labels) in float64, by enumeration."""
  (given_scores, _, y), where, weight = world(form)
  scores = np.asarray(given_scores if scores is None else scores, float)
  y, where, weight = (np.asarray(a, float) for a in (y, where, weight))
  values = np.eye(LABELS) if form == 'classes' else VECTORS
  if form in ('product', 'marginals'):
    z = mend(scores)
    each = np.where(y > 0, -np.logaddexp(0, -z), -np.logaddexp(0, z))
    return np.sum(weight[:, None] * where * each)
  differs = (values[None] != y[:, None]) & (where[:, None] > 0)
  agrees = ~differs.any(axis=-1)
  counted = (weight > 0) & agrees.any(axis=-1)
  z = mend(scores)[counted]
  seen = scipy.special.logsumexp(z, axis=-1, b=agrees[counted])
  return weight[counted] @ (seen - scipy.special.logsumexp(z, axis=-1))


def log_odds_of_marginals():
  (scores, _, _), _, _ = world('marginals')
  return scipy.special.logit(np.exp(np.asarray(scores, float)) @ VECTORS)


@pytest.mark.slow
@pytest.mark.parametrize('form', FORMS)
def test_temperature_is_that_of_a_search_in_double_precision(form):
  scores = log_odds_of_marginals() if form == 'marginals' else None
  if form == 'classes':
    scores = scipy.special.log_softmax(np.asarray(world(form)[0][0], float))
  found = scipy.optimize.minimize_scalar(
    lambda log_t: -log_likelihood(form, lambda z: z * np.exp(-log_t), scores),
    bounds=(-2, 2),
    method='bounded',
    options={'xatol': 1e-8},
  )
  _, params = fitted('temperature', form)
  ours = params['calibration']['temperature']
  assert ours == pytest.approx(np.exp(found.x), rel=1e-4)
  assert 1.2 < ours < 6.0


@pytest.mark.slow
@pytest.mark.parametrize('form', ['classes', 'table', 'product'])
def test_vector_scaling_is_the_penalised_maximum(form):
  scores = np.asarray(world(form)[0][0], float)
  if form == 'classes':
    scores = scipy.special.log_softmax(scores, axis=-1)
  slopes = 1 if form == 'table' else LABELS
  start = np.r_[np.ones(slopes), np.zeros(LABELS)]

  def lost(theta):
    slope, bias = theta[:slopes], theta[slopes:]
    offset = VECTORS @ bias if form == 'table' else bias
    fit = log_likelihood(form, lambda z: slope * z + offset, scores)
    return 0.5 * np.sum((theta - start) ** 2) - fit

  best = scipy.optimize.minimize(lost, start, method='BFGS')
  _, params = fitted('vector', form)
  state = params['calibration']
  ours = np.r_[np.atleast_1d(state['slope']), state['bias']]
  np.testing.assert_allclose(ours, best.x, atol=2e-3)
  assert lost(ours) == pytest.approx(best.fun, abs=1e-5)


@pytest.mark.slow
def test_platt_is_that_of_scikit_learn():
  (scores, _, y), where, weight = world('product')
  _, params = fitted('platt', 'product')
  state = params['calibration']
  for j in range(LABELS):
    here = np.asarray(where)[:, j]
    f, t, w = (np.asarray(a, float) for a in (scores[:, j], y[:, j], weight))
    a, b = _sigmoid_calibration(f[here], t[here], w[here])
    # Theirs is 1 / (1 + exp(a f + b)).
    np.testing.assert_allclose(state['slope'][j], -a, rtol=2e-3)
    np.testing.assert_allclose(state['bias'][j], -b, atol=2e-3)
  assert not np.any(state['kept'])


@pytest.mark.slow
def test_a_label_without_a_positive_or_a_negative_stays_as_it_was():
  (scores, h, y), _, _ = world('product')
  y = y.at[:, 0].set(0.0).at[:, 2].set(1.0)
  head = head_of('product')
  before = head.marginals(scores, h)
  for name in ('platt', 'isotonic'):
    state = quick_jit(functools.partial(CALIBRATORS[name].fit, head))(
      scores, h, y
    )
    assert state['kept'].tolist() == [True, False, True]
    after = (
      CALIBRATORS[name]
      .apply(head)
      .marginals({'head': scores, 'calibration': state}, h)
    )
    moved = np.abs(np.asarray(after - before)).max(axis=0)
    assert moved[[0, 2]].max() < 1e-6
    assert moved[1] > 0.05


def test_a_line_through_equal_scores_is_found():
  """Nothing tells the slope; the offset is the log-odds of the share."""
  target = real(np.arange(10) < 3)[:, None]
  a, b = quick_jit(fit_lines)(jnp.full((10, 1), 2.0), target, jnp.ones((10, 1)))
  p = scipy.special.expit(2.0 * a + b)
  assert p == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
  'name',
  [
    name if name == 'vector' else pytest.param(name, marks=pytest.mark.slow)
    for name in CALIBRATORS
  ],
)
@pytest.mark.slow
def test_what_a_calibrated_head_tells_agrees_with_itself(name, form):
  head, params = fitted(name, form)
  (_, h, _), _, _ = world(form)

  @quick_jit
  def answers(params, h):
    everyone = jnp.broadcast_to(h[None], (8, *h.shape))
    return (
      head.marginals(params, h),
      jax.vmap(head.log_prob, (None, 0, 0))(
        params,
        everyone,
        jnp.broadcast_to(VECTORS[:, None], (8, len(h), LABELS)),
      ).T,
      head.mode(params, h),
      head.cardinality_marginals(params, h),
      head.conditional(params, h, jnp.zeros((len(h), LABELS))),
      head.joint(params, h),
    )

  if name != 'none' and (
    form == 'marginals' or (form == 'table' and name in ('platt', 'isotonic'))
  ):
    marginals = np.asarray(quick_jit(head.marginals)(params, h))
    assert ((marginals > 0) & (marginals < 1)).all()
    gives = [f for f in Head._fields[4:-3] if getattr(head, f) is not None]
    assert gives == ['marginals']
    assert dict(head.exactness) == {
      'marginals': head_of(form).exactness['marginals']
    }
    with pytest.raises(MissingCapabilityError, match=f'{name}, of its marg'):
      decoding.joint_mode().exactness(head)
    return
  if form == 'marginals':
    return
  marginals, table, mode, sizes, conditional, joint = answers(params, h)
  np.testing.assert_allclose(np.exp(table).sum(-1), 1.0, atol=1e-5)
  np.testing.assert_allclose(joint, table, atol=1e-5)
  np.testing.assert_allclose(np.exp(table) @ VECTORS, marginals, atol=1e-5)
  np.testing.assert_allclose(
    sizes, distribution.table_cardinality_marginals(table), atol=1e-5
  )
  reached = np.take_along_axis(
    table, np.asarray(distribution.code(mode))[:, None], axis=1
  )
  np.testing.assert_allclose(reached[:, 0], table.max(axis=1), atol=1e-5)
  np.testing.assert_allclose(
    conditional,
    distribution.table_conditional(table, jnp.zeros((len(h), LABELS))),
    atol=1e-5,
  )


@pytest.mark.parametrize('form', ['classes', 'product', 'table'])
@pytest.mark.slow
def test_temperature_leaves_the_mode(form):
  head, params = fitted('temperature', form)
  (scores, h, _), _, _ = world(form)
  np.testing.assert_array_equal(
    head.mode(params, h), head_of(form).mode(scores, h)
  )


@pytest.mark.slow
def test_impossible_label_vectors_stay_so():
  (scores, h, y), _, _ = world('table')
  scores = jax.nn.log_softmax(scores.at[:, 5].set(-jnp.inf))
  for name in ('temperature', 'vector'):
    calibrator, head = CALIBRATORS[name], head_of('table')
    fit = quick_jit(functools.partial(calibrator.fit, head))
    params = {'head': scores, 'calibration': fit(scores, h, y)}
    joint = np.asarray(calibrator.apply(head).joint(params, h))
    assert np.isneginf(joint[:, 5]).all()
    np.testing.assert_allclose(np.exp(joint).sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize('name', sorted(set(CALIBRATORS) - {'none'}))
def test_without_a_validation_row_nothing_can_be_fitted(name):
  (scores, h, y), _, _ = world('product')
  with pytest.raises(ValueError, match=f'{name}.*--validation_fraction'):
    CALIBRATORS[name].fit(head_of('product'), scores, h[:0], y[:0])


def test_no_calibration_is_the_head_as_it_was():
  (scores, h, _), _, _ = world('product')
  before, after = (
    head_of('product'),
    CALIBRATORS['none'].apply(head_of('product')),
  )
  params = {'head': scores, 'calibration': ()}
  np.testing.assert_array_equal(
    after.marginals(params, h), before.marginals(scores, h)
  )
  assert after.greedy is after.mode
  assert after.exactness == before.exactness
