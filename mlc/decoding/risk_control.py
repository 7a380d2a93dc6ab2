"""Label sets of a controlled risk: thresholds with a promise.

Both decoders name the labels whose marginal exceeds one threshold for all. The
threshold is found on validation rows so that something is promised of new
rows, whatever the model and however wrong its probabilities, if validation rows
and new rows are exchangeable *given the model*. Where the same validation rows
also chose the epoch, the hyperparameters or a calibration, they are a little
easier than new rows, and the promise holds but nearly.

What is promised is promised of final decisions: `controlled` takes whatever is
done to a label set before it counts (labels added that others imply, or dropped
that others exclude), and risks are those of the sets that come out. It need not
keep the sets nested.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mlc.base import Decoder
from mlc.decoding.marginals import of_marginals

# (label sets [..., L], marginals [..., L]) -> the label sets that count.
Finish = Callable[[Array, Array], Array]
# Position of the threshold, whether it is reached, the least level.
Choice = tuple[Array, Array, Array]
_BISECTIONS = 24


class Counts(NamedTuple):
  """Of each threshold and row; unknown labels do not count.

  Attributes:
    hits: true labels in the set.
    predicted: labels in the set.
    true: true labels, [1, rows].
  """

  hits: Float[Array, 'thresholds rows']
  predicted: Float[Array, 'thresholds rows']
  true: Float[Array, 'one rows']


class Control(NamedTuple):
  """Which risk, and how a threshold is chosen by it.

  Attributes:
    name: of the decoder.
    thresholds: tried, falling; sets grow from one to the next. They are fixed
      before any data are seen.
    loss: (Counts) -> [thresholds, rows], from 0 to 1.
    choose: (loss, rows that count [rows], their number) -> position of the
      threshold; whether the promise holds for it; the least level of risk that
      these rows could have promised.
  """

  name: str
  thresholds: Float[np.ndarray, ' thresholds']
  loss: Callable[[Counts], Array]
  choose: Callable[[Array, Array, Array], Choice]


def fnr_control(alpha: float) -> Decoder:
  """The smallest label sets that miss at most a share alpha of true labels.

      E[1 - |y and d| / |y|] <= alpha   (0 for a row without a true label)

  over the draw of validation rows and of a new row together, by conformal risk
  control: the highest threshold with

      n / (n + 1) R_n(t) + 1 / (n + 1) <= alpha,

  R_n being the mean over n validation rows of the greatest loss at t or at any
  lower threshold. Without post-processing the loss only falls with the
  threshold, and that is the loss itself. Fewer than 1 / alpha - 1 rows promise
  nothing: then every label is predicted, and the run says so.

  Args:
    alpha: the expected share of true labels that may be missed, in (0, 1).

  Returns:
    The decoder, named `fnr_control_<alpha>`. It needs `marginals`. Its state is
    {'threshold': [L], the same for all labels; 'reached': whether the promise
    holds; 'least': the least alpha that it could hold for; 'rows': n}.

  Raises:
    ValueError: alpha is not in (0, 1).

  References:
    Angelopoulos, Bates, Fisch, Lei, Schuster, Conformal risk control, ICLR
    2024, arXiv 2208.02814 (2022), equation 4 and theorem 1.
  """
  # Fewer thresholds: each is asked of every row, one after another.
  return controlled(fnr(alpha))._replace(
    finished=lambda finish: controlled(fnr(alpha, step=0.5), finish)
  )


def f1_control(alpha: float, delta: float = 0.1) -> Decoder:
  """The smallest label sets whose expected F1 loss is shown to be small.

      P(E[1 - F1(y, d)] <= alpha) >= 1 - delta

  the expectation being over new rows, the probability over the draw of the
  validation rows. The F1 loss falls and rises again as sets grow, so that
  conformal risk control does not apply: its largest set would have to have a
  loss below alpha. Learn then test does: each of 27 thresholds has an upper
  bound of its risk at level delta / 27 (Hoeffding-Bentkus, Bonferroni), and of
  those whose bound is at most alpha the highest is taken. Where there is none
  it takes the threshold of least loss on the validation rows, promises nothing,
  and the run says so.

  Args:
    alpha: the expected F1 loss that is allowed, in (0, 1).
    delta: the probability that the promise fails, in (0, 1).

  Returns:
    The decoder, named `f1_control_<alpha>`; see `fnr_control`.

  Raises:
    ValueError: alpha or delta is not in (0, 1).

  References:
    Angelopoulos, Bates, Candes, Jordan, Lei, Learn then test: calibrating
    predictive algorithms to achieve risk control, arXiv 2110.01052, 2021.
  """
  return controlled(f1(alpha, delta))._replace(
    finished=lambda finish: controlled(f1(alpha, delta), finish)
  )


def controlled(control: Control, finish: Finish | None = None) -> Decoder:
  """A decoder of controlled risk, of sets as they are finished.

  Args:
    control: `fnr(alpha)` or `f1(alpha, delta)`.
    finish: (label sets, marginals) -> the label sets that count, 0.0 and 1.0;
      such as a repair by rules. None leaves them as they are.
  """
  thresholds = jnp.asarray(control.thresholds, jnp.float32)

  def learn(sample):
    p, y = sample.p, sample.y
    known = jnp.ones_like(p)
    if sample.known is not None:
      known = sample.known.astype(p.dtype)
    # Exchangeable rows count alike: a weight says whether a row is there.
    counted = jnp.ones(len(p), p.dtype)
    if sample.weight is not None:
      counted = (sample.weight > 0).astype(p.dtype)
    rows = jnp.sum(counted)
    loss = control.loss(counts_of(p, y, known, thresholds, finish))
    chosen, reached, least = control.choose(loss, counted, rows)
    return {
      'threshold': jnp.full(p.shape[1], thresholds[chosen]),
      'reached': reached,
      'least': least,
      'rows': rows,
    }

  def rule(p, state):
    sets = (p > state['threshold'][None, :]).astype(p.dtype)
    return sets if finish is None else finish(sets, p)

  return of_marginals(control.name, rule, learn=learn)


def fnr(alpha: float, *, step: float = 0.0625) -> Control:
  """Conformal risk control of the false-negative rate; see `fnr_control`.

  Args:
    alpha: as there.
    step: between thresholds, in log-odds.
  """
  _check('fnr_control', alpha=alpha)

  def loss(counts: Counts) -> Array:
    some = counts.true > 0
    share = counts.hits / jnp.where(some, counts.true, 1.0)
    return jnp.where(some, 1.0 - share, 0.0)

  def choose(loss: Array, counted: Array, rows: Array) -> Choice:
    worst = jax.lax.cummax(loss, axis=0, reverse=True)
    bound = (worst @ counted + 1.0) / (rows + 1.0)
    reached = bound[-1] <= alpha
    first = jnp.argmax(bound <= alpha)
    return jnp.where(reached, first, len(bound) - 1), reached, bound[-1]

  return Control(f'fnr_control_{alpha:g}', _grid(12.0, step), loss, choose)


def f1(alpha: float, delta: float = 0.1) -> Control:
  """Learn then test for the expected F1 loss; see `f1_control`."""
  _check('f1_control', alpha=alpha, delta=delta)
  thresholds = _grid(6.0, 0.5)

  def loss(counts: Counts) -> Array:
    both = counts.true + counts.predicted
    return jnp.where(
      both > 0, 1.0 - 2.0 * counts.hits / jnp.where(both > 0, both, 1.0), 0.0
    )

  def choose(loss: Array, counted: Array, rows: Array) -> Choice:
    risk = loss @ counted / jnp.maximum(rows, 1.0)
    level = delta / len(thresholds)
    below = is_below(alpha, risk, rows, level)
    reached = jnp.any(below)
    chosen = jnp.where(reached, jnp.argmax(below), jnp.argmin(risk))
    return chosen, reached, risk_bound(jnp.min(risk), rows, level)

  return Control(f'f1_control_{alpha:g}', thresholds, loss, choose)


def counts_of(
  p: Float[Array, 'rows labels'],
  y: Float[Array, 'rows labels'],
  known: Float[Array, 'rows labels'],
  thresholds: Float[Array, ' thresholds'],
  finish: Finish | None = None,
) -> Counts:
  """What is in the set of every row at every threshold.

  Args:
    p: marginals.
    y: 0.0 or 1.0.
    known: 0 for a label that is unknown.
    thresholds: falling.
    finish: see `controlled`.
  """
  true = jnp.sum(known * y, axis=-1)[None, :]
  if finish is not None:

    def at(threshold):
      sets = known * finish((p > threshold).astype(p.dtype), p)
      return jnp.sum(sets * y, axis=-1), jnp.sum(sets, axis=-1)

    hits, predicted = jax.lax.map(at, thresholds)
    return Counts(hits, predicted, true)
  # The first threshold below a probability lets it in, and all after it; the
  # last lets everything in.
  rows, tried = len(p), len(thresholds)
  enters = jnp.searchsorted(-thresholds, -p, side='right')
  place = jnp.minimum(enters, tried - 1) + tried * jnp.arange(rows)[:, None]

  def entered(part):
    each = jax.ops.segment_sum(part.ravel(), place.ravel(), rows * tried)
    return jnp.cumsum(each.reshape(rows, tried), axis=1).T

  return Counts(entered(known * y), entered(known), true)


def is_below(
  alpha: Float[Array, '*#dims'] | float,
  risk: Float[Array, '*dims'],
  rows: Float[Array, ''],
  level: float,
) -> Bool[Array, '*dims']:
  """Whether rows show that the true risk is at most alpha.

      min(exp(-n h(R, alpha)), e P(Bin(n, alpha) <= ceil(n R))) <= level,
      h(a, b) = a log(a / b) + (1 - a) log((1 - a) / (1 - b))

  Args:
    alpha: what the risk is to be at most.
    risk: R, the mean of n losses from 0 to 1; nothing is shown from alpha on.
    rows: n.
    level: probability with which it is said of a risk above alpha.

  References:
    Bates, Angelopoulos, Lei, Malik, Jordan, Distribution-free, risk-controlling
    prediction sets, Journal of the ACM 68, 2021, section 3 (Hoeffding's and
    Bentkus' bounds together).
  """
  a = jnp.minimum(risk, alpha)
  divergence = jax.scipy.special.xlogy(a, a / alpha)
  divergence += jax.scipy.special.xlogy(1.0 - a, (1.0 - a) / (1.0 - alpha))
  count = jnp.minimum(jnp.ceil(rows * risk), rows)
  # P(Bin <= n) = 1, where the incomplete beta function is not defined.
  tail = jax.scipy.special.betainc(
    jnp.maximum(rows - count, 1e-6), count + 1.0, 1.0 - alpha
  )
  p_value = jnp.minimum(jnp.exp(-rows * divergence), math.e * tail)
  return (risk < alpha) & (p_value <= level)


def risk_bound(
  risk: Float[Array, ''], rows: Float[Array, ''], level: float
) -> Float[Array, '']:
  """The least alpha that `is_below` affirms, bisected from above.

  Args:
    risk: the mean of the losses.
    rows: how many there are.
    level: of error.

  Returns:
    The bound; 1 where nothing below can be shown.
  """

  def halve(ends, _):
    low, high = ends
    middle = 0.5 * (low + high)
    below = is_below(middle, risk, rows, level)
    return (
      jnp.where(below, low, middle),
      jnp.where(below, middle, high),
    ), None

  ends = jnp.zeros_like(risk), jnp.ones_like(risk)
  (_, high), _ = jax.lax.scan(halve, ends, length=_BISECTIONS)
  return high


def _grid(most: float, step: float) -> Float[np.ndarray, ' thresholds']:
  """No label, even steps of log-odds from `most` to -`most`, all labels."""
  odds = np.arange(most, -most - 0.5 * step, -step)
  return np.concatenate([[1.0], 1.0 / (1.0 + np.exp(-odds)), [-1.0]])


def _check(name: str, **levels: Any) -> None:
  for what, value in levels.items():
    if not 0.0 < value < 1.0:
      raise ValueError(
        f'{name}: {what} is {value}, expected a number between 0 and 1.'
      )
