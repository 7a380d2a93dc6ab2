"""A slope and an offset for each label."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc import distribution
from mlc.base import Calibrator
from mlc.calibration.forms import Form, of_scores
from mlc.calibration.newton import maximise
from mlc.calibration.temperature import agreeing

# Keeps a system solvable whose scores are all equal; it moves no maximum.
_RIDGE = 1e-6


def vector() -> Calibrator:
  """A slope and an offset for each label, the joint kept where it is listed.

      independent labels   logit f_j      -> w_j f_j + b_j
      classes              log p(e_j | h) -> w_j log p(e_j | h) + b_j
      a listed joint       log p(y | h)   -> w log p(y | h) + sum_j b_j y_j

  each normalised again. The numbers are those of largest likelihood on the
  validation rows, with a penalty as if a row had told that w = 1 and b = 0:
  half the sum of squares of what they are away from it. A label without a
  positive there thus keeps finite numbers. A joint has one slope, since a
  label vector has one probability; without the offsets it is `temperature`.
  Any other head is calibrated in its marginals alone (see `forms`).

  Returns:
    The calibrator, named `vector`; its state is {'slope': [L], 'bias': [L]},
    of a listed joint {'slope': [], 'bias': [L]}.

  References:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
    ICML 2017, section 4.2.
    Alexandari, Kundaje, Shrikumar, Maximum likelihood with bias-corrected
    calibration is hard-to-beat at label shift adaptation, ICML 2020, section
    2.2 (one slope and an offset for each class).
  """
  return of_scores('vector', _learn_vector, _mend_vector, mends_joint=True)


def platt() -> Calibrator:
  """Each label on its own: a sigmoid of its log-odds.

      P'(y_j = 1 | h) = sigmoid(a_j f_j + b_j)

  The numbers of largest likelihood on the validation rows, with the targets
  (n+ + 1) / (n+ + 2) for a positive and 1 / (n- + 2) for a negative in place of
  1 and 0, n+ and n- being their weights. A label of which these rows hold no
  positive, or no negative, stays as it was: its targets would be all the same,
  and the order of the rows lost. Classes are calibrated one against the rest
  and normalised. A head of dependent labels keeps its marginals alone (see
  `forms`).

  Returns:
    The calibrator, named `platt`; its state is {'slope': [L], 'bias': [L],
    'kept': [L]}, the last true for labels that stay as they were.

  References:
    Platt, Probabilistic outputs for support vector machines and comparisons to
    regularized likelihood methods, Advances in large margin classifiers, 1999,
    section 2.2.
    Zadrozny, Elkan, Transforming classifier scores into accurate multiclass
    probability estimates, KDD 2002, section 3 (classes).
  """
  return of_scores('platt', _learn_platt, _mend_platt, mends_joint=False)


def _learn_vector(form: Form, scores, y, known, weight):
  if form == 'classes':
    return _of_classes(jax.nn.log_sigmoid(scores), y, known, weight)
  if form == 'table':
    return _of_table(scores, y, known, weight)
  slope, bias = fit_lines(scores, y, known * weight[:, None], penalty=1.0)
  return {'slope': slope, 'bias': bias}


def _mend_vector(form: Form, state, scores):
  slope, bias = state['slope'], state['bias']
  if form == 'table':
    return jax.nn.log_softmax(_tilted(scores, slope, bias))
  if form == 'classes':
    scores = jax.nn.log_sigmoid(scores)
  return slope[None, :] * scores + bias[None, :]


def _learn_platt(form: Form, scores, y, known, weight):
  del form
  counted = known * weight[:, None]
  positive = jnp.sum(counted * y, axis=0)
  negative = jnp.sum(counted * (1.0 - y), axis=0)
  high = (positive + 1.0) / (positive + 2.0)
  low = 1.0 / (negative + 2.0)
  target = jnp.where(y > 0, high[None, :], low[None, :])
  slope, bias = fit_lines(scores, target, counted)
  kept = (positive == 0) | (negative == 0)
  return {
    'slope': jnp.where(kept, 1.0, slope),
    'bias': jnp.where(kept, 0.0, bias),
    'kept': kept,
  }


def _mend_platt(form: Form, state, scores):
  mended = state['slope'][None, :] * scores + state['bias'][None, :]
  return jax.nn.log_sigmoid(mended) if form == 'classes' else mended


def fit_lines(
  scores: Float[Array, 'rows labels'],
  target: Float[Array, 'rows labels'],
  weight: Float[Array, 'rows labels'],
  *,
  penalty: float = 0.0,
) -> tuple[Float[Array, ' labels'], Float[Array, ' labels']]:
  """The lines whose sigmoids are likeliest, all labels at once.

      sum_i weight_i (t_i log p_i + (1 - t_i) log(1 - p_i))
        - penalty ((a - 1)^2 + b^2) / 2,   p_i = sigmoid(a f_i + b)

  Args:
    scores: f.
    target: t, in [0, 1].
    weight: 0 where a row does not count for a label.
    penalty: on the distance from the line that changes nothing.

  Returns:
    a and b.
  """

  def one(f, t, w):
    total = jnp.maximum(jnp.sum(w), 1.0)
    features = jnp.stack([f, jnp.ones_like(f)], axis=-1)
    start = jnp.array([1.0, 0.0], f.dtype)

    def value(theta):
      z = features @ theta
      log_sigmoid = jax.nn.log_sigmoid
      fitted = t * log_sigmoid(z) + (1.0 - t) * log_sigmoid(-z)
      away = 0.5 * penalty * jnp.sum((theta - start) ** 2)
      return (jnp.sum(w * fitted) - away) / total

    def derivatives(theta):
      p = jax.nn.sigmoid(features @ theta)
      gradient = features.T @ (w * (t - p)) - penalty * (theta - start)
      curvature = (features * (w * p * (1.0 - p))[:, None]).T @ features
      ridge = penalty + _RIDGE * total
      return gradient, curvature + ridge * jnp.eye(2)

    return maximise(value, derivatives, start)

  a, b = jax.vmap(one, in_axes=1, out_axes=1)(scores, target, weight)
  return a, b


def _of_classes(log_p, y, known, weight):
  """w_j log p_j + b_j, all classes in one softmax."""
  classes = log_p.shape[1]
  seen = agreeing(jnp.eye(classes), y, known)
  weight = jnp.where(jnp.any(seen, axis=-1), weight, 0.0)
  start = jnp.concatenate([jnp.ones(classes), jnp.zeros(classes)])

  def scores(theta):
    return theta[None, :classes] * log_p + theta[None, classes:]

  def moments(theta):
    z = scores(theta)
    p = jax.nn.softmax(z)
    seen_p = jax.nn.softmax(_only(z, seen))
    left = weight[:, None] * (seen_p - p)
    gradient = jnp.concatenate([jnp.sum(left * log_p, 0), jnp.sum(left, 0)])
    stacked = jnp.concatenate([p * log_p, p], axis=1)
    curvature = -(stacked * weight[:, None]).T @ stacked
    for i, first in enumerate((log_p, jnp.ones_like(p))):
      for k, second in enumerate((log_p, jnp.ones_like(p))):
        own = jnp.sum(weight[:, None] * p * first * second, axis=0)
        at = jnp.arange(classes)
        curvature = curvature.at[i * classes + at, k * classes + at].add(own)
    return gradient, curvature

  theta = _likeliest(scores, moments, seen, weight, start)
  return {'slope': theta[:classes], 'bias': theta[classes:]}


def _of_table(log_q, y, known, weight):
  """w log q(y) + b . y, all label vectors in one softmax."""
  vectors = distribution.label_vectors(y.shape[-1])
  seen = agreeing(vectors, y, known) & jnp.isfinite(log_q)
  weight = jnp.where(jnp.any(seen, axis=-1), weight, 0.0)
  finite = jnp.where(jnp.isfinite(log_q), log_q, 0.0)
  start = jnp.zeros(1 + y.shape[-1]).at[0].set(1.0)

  def scores(theta):
    return _tilted(log_q, theta[0], theta[1:])

  def moments(theta):
    z = scores(theta)
    p = jax.nn.softmax(z)
    left = weight[:, None] * (jax.nn.softmax(_only(z, seen)) - p)
    # Of numbers far below 0 the variance would be a difference of large ones.
    centred = finite - jnp.sum(p * finite, axis=-1, keepdims=True)
    of_slope = jnp.sum(left * centred)
    gradient = jnp.concatenate([of_slope[None], jnp.sum(left @ vectors, 0)])
    p = weight[:, None] * p
    mean = p @ vectors
    both = vectors.T @ (jnp.sum(p, axis=0)[:, None] * vectors)
    per_row = mean / jnp.maximum(weight, 1e-30)[:, None]
    cross = jnp.sum((p * centred) @ vectors, axis=0)
    own = jnp.sum(p * centred**2)
    return gradient, jnp.block(
      [
        [own[None, None], cross[None, :]],
        [cross[:, None], both - mean.T @ per_row],
      ]
    )

  theta = _likeliest(scores, moments, seen, weight, start)
  return {'slope': theta[0], 'bias': theta[1:]}


def _likeliest(scores, moments, seen, weight, start):
  """The numbers that make what was seen likeliest, penalised."""
  total = jnp.maximum(jnp.sum(weight), 1.0)

  def value(theta):
    z = scores(theta)
    logsumexp = jax.nn.logsumexp
    fitted = logsumexp(_only(z, seen), axis=-1) - logsumexp(z, axis=-1)
    fitted = jnp.sum(jnp.where(weight > 0, weight * fitted, 0.0))
    return (fitted - 0.5 * jnp.sum((theta - start) ** 2)) / total

  def derivatives(theta):
    gradient, curvature = moments(theta)
    return gradient - (theta - start), curvature + jnp.eye(len(theta))

  return maximise(value, derivatives, start)


def _only(z, seen: Bool[Array, 'rows values']):
  """Scores of what was seen; any where nothing is possible."""
  nothing = ~jnp.any(seen, axis=-1, keepdims=True)
  return jnp.where(seen | nothing, z, -jnp.inf)


def _tilted(log_q, slope, bias):
  """w log q(y) + b . y; impossible vectors stay so whatever the slope."""
  possible = jnp.isfinite(log_q)
  vectors = distribution.label_vectors(distribution.num_labels_of(log_q))
  tilted = slope * jnp.where(possible, log_q, 0.0) + (vectors @ bias)[None, :]
  return jnp.where(possible, tilted, -jnp.inf)
