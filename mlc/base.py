"""Contracts: NamedTuples of pure functions, made by lower-case factories.

Shapes are written in the signatures. Labels stand on the last axis, in the
data set's own order, always. `key=None` means deterministic. Parameters are
pytrees of arrays; a leaf below the dictionary key `frozen` is data that the
head carries (a label order, a table of label sets) and is never trained. A
leaf below the key `links` weighs what labels do to labels, and may be given a
penalty of its own.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int

Params = Any
Key = Array
FROZEN = 'frozen'
LINKS = 'links'

# How a number came about. The word reaches the results table.
Exactness = Literal['closed-form', 'enumerated', 'searched', 'estimated']


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SparseRows:
  """Rows of a sparse matrix, each padded to the same number of entries.

  Row i holds `values[i, t]` in column `indices[i, t]`; padding has value 0.

  Attributes:
    indices: column of each entry, [..., entries].
    values: value of each entry, [..., entries].
    num_features: number of columns D of the matrix.
  """

  indices: Int[Array, '*batch entries']
  values: Float[Array, '*batch entries']
  num_features: int = dataclasses.field(metadata={'static': True})


Features = Float[Array, 'batch features'] | SparseRows


class Batch(NamedTuple):
  """Examples that a step or an evaluation sees together.

  Attributes:
    x: features, an array or a pytree with the batch on the leading axis.
    y: labels, 0.0 or 1.0, [batch, labels]; 0 where unknown.
    where: True where the label is known; None when every label is.
    weight: weight of each example, 0 for padding; None when all are 1.
    row: position of each example in the data set, by which cross-fitting tells
      apart what a model has seen and what not; None where nobody asks.
  """

  x: Features
  y: Float[Array, 'batch labels']
  where: Bool[Array, 'batch labels'] | None = None
  weight: Float[Array, ' batch'] | None = None
  row: Int[Array, ' batch'] | None = None


class Encoder(NamedTuple):
  """Features x to the representation h on which a head stands.

  Attributes:
    name: as in the results table.
    init: (key, x, *, weight=None) -> params, from the run's training rows;
      a row of weight 0 is padding.
    apply: (params, x, *, key=None) -> h [batch, dim].
  """

  name: str
  init: Callable[..., Params]
  apply: Callable[..., Array]


class Head(NamedTuple):
  """A conditional distribution p(y | h) over label vectors y in {0,1}^L.

  A capability that the head lacks is None; see `require`.

  Attributes:
    name: as in the results table.
    num_labels: L.
    exactness: for each capability that could be approximate (`marginals`,
      `mode`, `joint`, `cardinality_marginals`, `conditional`, `partial`) how
      it is obtained.
    init: (key, h [N,D], y [N,L], *, where=None, weight=None) -> params, from
      the run's training rows, off which structure (label sets, frequencies)
      is read; `where` as in Batch, a row of weight 0 is padding. Jitted.
    logits: (params, h, y [B,L], *, key=None) -> [B,L], what a pointwise loss
      trains; a chain is teacher-forced by y.
    log_prob: (params, h, y, *, key=None) -> [B], log p(y | h) in nats.
    marginals: (params, h, *, key=None) -> [B,L], P(y_j = 1 | h).
    sample: (params, key, h, n) -> [n,B,L].
    mode: (params, h) -> [B,L], argmax_y p(y | h).
    mode_certificate: (params, h) -> [B], True where the search for the mode
      proves that it found it; None where nothing is searched or proved.
    greedy: (params, h) -> [B,L], one pass over the labels in the head's order,
      each the likelier value given the decisions before it.
    conditional: (params, h, y) -> [B,L], P(y_j = 1 | h, y without j).
    joint: (params, h) -> [B,2^L], log p(y | h) of every label vector, in the
      order of `distribution.label_vectors`.
    cardinality_marginals: (params, h) -> [B,L,L], entry [b,j,s-1] is
      P(y_j = 1, |y| = s | h): all that the expected F-measure asks.
    partial: (params, h, y, known [B,L]) -> [B,L], P(y_j = 1 | h, the known part
      of y): of a known label its value, of the others what is left to predict.
    objective: (params, h, batch, *, key=None) -> [B], what training minimises
      where that is not -log p(y | h): a composite or pairwise likelihood, a
      masked or staged criterion. The loss `own` asks for it.
    support: (y [N,L]) -> [N], False for label vectors that have probability 0
      under any parameters, so that no likelihood can be fitted to them; None
      where all are possible, or there is no joint. Of numpy or jax arrays.
    independent: True when the labels are independent given h, so that the
      marginals tell everything.
    one_hot: True when only vectors with exactly one 1 have probability: the
      multi-class case.
    member: of an ensemble, the head of which it holds several; its parameters
      are stacked on the leading axis. None otherwise.
  """

  name: str
  num_labels: int
  exactness: Mapping[str, Exactness]
  init: Callable[..., Params]
  logits: Callable[..., Array] | None = None
  log_prob: Callable[..., Array] | None = None
  marginals: Callable[..., Array] | None = None
  sample: Callable[..., Array] | None = None
  mode: Callable[..., Array] | None = None
  mode_certificate: Callable[..., Array] | None = None
  greedy: Callable[..., Array] | None = None
  conditional: Callable[..., Array] | None = None
  joint: Callable[..., Array] | None = None
  cardinality_marginals: Callable[..., Array] | None = None
  partial: Callable[..., Array] | None = None
  objective: Callable[..., Array] | None = None
  support: Callable[..., Array] | None = None
  independent: bool = False
  one_hot: bool = False
  member: 'Head | None' = None


class Loss(NamedTuple):
  """How the parameters of a head are fitted.

  Attributes:
    name: as in the results table.
    apply: (head, params, h, batch, *, state=(), key=None) -> [B], one value an
      example, never reduced: the objective takes the weighted mean.
    fit: (y [N,L], *, where=None, weight=None) -> state, what the loss reads off
      the run's training rows (how frequent each label is), once, before the
      first step; it is carried with the parameters and never trained. None
      when there is nothing to learn: the state is () then.
  """

  name: str
  apply: Callable[..., Array]
  fit: Callable[..., Any] | None = None


class Calibrator(NamedTuple):
  """How probabilities are mended once a head is trained, before it decides.

  Attributes:
    name: as in the results table.
    fit: (head, params, h, y, *, where=None, weight=None, key=None) -> state,
      called on validation rows only; a calibrator that needs them raises
      ValueError when there are none.
    apply: (head) -> the calibrated Head, whose parameters are {'head': params,
      'calibration': state}. What it cannot tell any more is None.
  """

  name: str
  fit: Callable[..., Any]
  apply: Callable[[Head], Head]


class Decoder(NamedTuple):
  """How a distribution becomes a decision.

  Attributes:
    name: as in the results table, after what the decision optimises.
    fit: (head, params, h, y, *, where=None, weight=None, key=None) -> state,
      called on validation data only; () for a decoder with nothing to fit. A
      decoder that needs data raises ValueError when there is no row.
    decide: (head, params, h, state, *, key=None) -> [B,L], 0.0 or 1.0.
    exactness: (head) -> the word for how the decision is obtained; raises
      MissingCapabilityError when the head cannot serve this decoder.
    within: (head, params, h, state, rules, *, key=None) -> [B,L], the decision
      that is best by the same criterion among the label vectors that
      `rules.Rules` allow; None where there is no such search.
    within_exactness: (head) -> the word for it, as `exactness`.
    learn: (decoding sample) -> state, of a decoder for which `fit` needs no
      more of the head than its marginals: several then learn from one sample,
      which is sorted once. None for others.
    finished: (finish) -> the same decoder, fitted to decisions as `finish`
      (label sets [B,L], marginals [B,L]) -> [B,L] completes them. Of a decoder
      that promises something of its final decisions; None of others.
    fit_ruled: (rules, ...) -> state, in place of `fit` where rules are known
      whose keeping changes what there is to learn; None where it does not.
  """

  name: str
  fit: Callable[..., Any]
  decide: Callable[..., Array]
  exactness: Callable[[Head], Exactness]
  within: Callable[..., Array] | None = None
  within_exactness: Callable[[Head], Exactness] | None = None
  learn: Callable[..., Any] | None = None
  finished: Callable[[Callable[..., Array]], 'Decoder'] | None = None
  fit_ruled: Callable[..., Any] | None = None


class Method(NamedTuple):
  """A way to model label dependence: what is compared with what.

  Attributes:
    head: factory. Its positional arguments are facts of the data, given by
      name (num_labels, num_label_sets); its keyword-only arguments are options
      and become flags.
    loss: name of the default loss.
    decoder: name of the default decoder.
  """

  head: Callable[..., Head]
  loss: str
  decoder: str


class TrainState(NamedTuple):
  """All that changes during training, arrays only.

  Attributes:
    step: number of updates done.
    params: {'encoder': ..., 'head': ...}.
    opt_state: the optimiser's state over the trained leaves.
    key: the run's key; a step derives its own by fold_in(key, step).
  """

  step: Int[Array, '']
  params: Params
  opt_state: Any
  key: Key


class MissingCapabilityError(ValueError):
  """A consumer asked a head for what it cannot give."""


def require(head: Head, capability: str, consumer: str) -> Callable[..., Array]:
  """Returns `head.<capability>`, or says who lacks what for whom."""
  function = getattr(head, capability)
  if function is None:
    has = [f for f in Head._fields[3:-3] if getattr(head, f) is not None]
    raise MissingCapabilityError(
      f'{consumer} needs `{capability}`, which head {head.name} with '
      f'{head.num_labels} labels does not have (it has: {", ".join(has)}). '
      'Choose another head or another decoder.'
    )
  return function


def lookup(name: str, table: Mapping[str, Any], what: str) -> Any:
  """Returns `table[name]`, or an error with the nearest name and all names."""
  if name in table:
    return table[name]
  near = difflib.get_close_matches(name, table, n=1)
  hint = f' Did you mean {near[0]!r}?' if near else ''
  raise ValueError(
    f'unknown {what} {name!r}.{hint} Known: {", ".join(sorted(table))}.'
  )
