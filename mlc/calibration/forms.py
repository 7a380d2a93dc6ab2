"""Which scores of a head are mended, and the head that they make again.

A head is calibrated in one of four forms.

- `classes`: only one-hot vectors are possible; the scores are the log-odds of
  the classes, and what is mended are class probabilities that sum to 1.
- `product`: independent labels; the scores are their logits. A product stays a
  product, so that log_prob, samples, mode and sizes follow from the logits.
- `table`: the head lists log p(y | h) of every label vector, and the
  calibrator mends that; everything is summed from the mended table.
- `marginals`: any other head. The scores are the log-odds of its marginals. No
  joint distribution goes with mended marginals: the head that comes out has
  `marginals` and nothing else, and whoever asks for more is told so.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Calibrator, Exactness, Head, Params, require
from mlc.heads.categorical import categorical
from mlc.heads.enumerated import enumerated
from mlc.heads.product import product

Form = Literal['classes', 'product', 'table', 'marginals']
# Marginals nearer to 0 or 1 count as this near: log-odds have to be finite.
_NEAREST = 1e-6

# (form, scores, y [N,L], known [N,L], weight [N]) -> state.
Learn = Callable[[Form, Array, Array, Array, Array], Any]
# (form, state, scores) -> scores that `rebuilt` takes.
Mend = Callable[[Form, Any, Array], Array]


def of_scores(
  name: str, learn: Learn, mend: Mend, *, mends_joint: bool
) -> Calibrator:
  """A calibrator that maps the scores of a head to better ones.

  Args:
    name: as in the results table.
    learn: (form, scores, y, known, weight) -> state. A 0 in `known` says that
      the label is unknown; it is 0 in rows that are padding, too.
    mend: (form, state, scores) -> mended scores. Of `classes` they are
      unnormalised log-probabilities, of `table` log-probabilities, else
      log-odds.
    mends_joint: whether it can mend a table.
  """

  def fit(head, params, h, y, *, where=None, weight=None, key=None):
    if not len(y):
      raise ValueError(
        f'calibration {name} is fitted on validation rows, and there are none: '
        'set --validation_fraction above 0, or choose --calibration=none.'
      )
    form = form_of(head, mends_joint=mends_joint)
    scores = scores_of(head, form)(params, h, key=key)
    weight = jnp.ones_like(y[:, 0]) if weight is None else weight
    known = jnp.ones_like(y) if where is None else where.astype(y.dtype)
    known = jnp.where((weight > 0)[:, None], known, 0.0)
    return learn(form, scores, jnp.where(known > 0, y, 0.0), known, weight)

  def apply(head: Head) -> Head:
    form = form_of(head, mends_joint=mends_joint)
    scores = scores_of(head, form)

    def mended(params, h, *, key=None):
      found = scores(params['head'], h, key=key)
      return mend(form, params['calibration'], found)

    return rebuilt(head, form, name, mended)

  return Calibrator(name, fit, apply)


def form_of(head: Head, *, mends_joint: bool) -> Form:
  """The form in which a head is calibrated."""
  if head.one_hot:
    return 'classes'
  if head.independent:
    return 'product'
  return 'table' if mends_joint and head.joint is not None else 'marginals'


def scores_of(head: Head, form: Form) -> Callable[..., Array]:
  """(params, h, *, key=None) -> the scores of a form, see the module."""
  if form == 'table':
    joint = require(head, 'joint', 'calibration')

    def log_joint(params, h, *, key=None):
      del key
      return joint(params, h)

    return log_joint
  logits = head.logits
  if form in ('classes', 'product') and logits is not None:
    return lambda params, h, *, key=None: logits(params, h, None, key=key)
  marginals = require(head, 'marginals', 'calibration')
  return lambda params, h, *, key=None: log_odds(marginals(params, h, key=key))


def rebuilt(
  head: Head, form: Form, name: str, scores: Callable[..., Array]
) -> Head:
  """The head that mended scores make: all that follows from them, no more.

  Args:
    head: the head before.
    form: of the scores.
    name: of the calibrator.
    scores: (params, h, *, key=None) -> mended scores.
  """
  num_labels, init = head.num_labels, head.init
  if form == 'classes':
    made = categorical(head.name, num_labels, init, scores)
    return _as_exact_as(head, made)
  if form == 'product':
    made = product(head.name, num_labels, init, scores)
    return _as_exact_as(head, made)
  if form == 'table':
    made = enumerated(head.name, num_labels, init, scores)
    return made._replace(support=head.support)

  def marginals(params: Params, h: Array, *, key=None) -> Array:
    return jax.nn.sigmoid(scores(params, h, key=key))

  return Head(
    name=f'{head.name} ({name}, of its marginals alone)',
    num_labels=num_labels,
    exactness={'marginals': head.exactness['marginals']},
    init=init,
    marginals=marginals,
  )


def _as_exact_as(head: Head, made: Head) -> Head:
  """A closed form of estimated marginals is an estimate."""
  word = head.exactness['marginals']
  words: dict[str, Exactness] = {
    name: word if found == 'closed-form' else found
    for name, found in made.exactness.items()
  }
  return made._replace(exactness=words)


def log_odds(p: Float[Array, '*dims']) -> Float[Array, '*dims']:
  """log p / (1 - p), of probabilities kept a little away from 0 and 1."""
  p = jnp.clip(p, _NEAREST, 1.0 - _NEAREST)
  return jnp.log(p) - jnp.log1p(-p)
