"""Which rows train, validate and test, as a function of the seed alone."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mlc.base import lookup
from mlc.data.dataset import TEST, TRAIN, VALIDATION, Dataset, DatasetError

_NO_FOLD = -1


class Split(NamedTuple):
  """Rows of a data set, ascending, no row in two parts.

  Attributes:
    train: rows that parameters are fitted on.
    validation: rows that hyperparameters are chosen on; may be empty.
    test: rows that are read once.
    seed: of the split.
    fold: 0 to folds - 1; -1 unless the scheme is kfold.
  """

  train: Int[np.ndarray, ' train']
  validation: Int[np.ndarray, ' validation']
  test: Int[np.ndarray, ' test']
  seed: int
  fold: int


def make(
  dataset: Dataset,
  scheme: str,
  *,
  seed: int,
  folds: int = 10,
  test_fraction: float = 0.2,
  validation_fraction: float = 0.2,
  stratify: bool = True,
) -> list[Split]:
  """Splits the rows.

  `given` takes the split that the data set brings; `holdout` one random test
  part; `kfold` makes each row a test row once. Validation rows are taken from
  the training part; a validation part that the data set brings is used as it
  is, whatever `validation_fraction` says.

  Stratified parts have about the same share of each label (with one label a
  row: of each class), and therefore sizes that differ a little; a label that
  is unknown counts as 0. It takes 0.3 s on movies and 5 s on delicious (983
  labels), and again for the validation part of each fold. Without
  stratification the test parts of kfold are those of scikit-learn's
  KFold(folds, shuffle=True, random_state=seed).

  Args:
    dataset: the data set.
    scheme: 'given', 'holdout' or 'kfold'.
    seed: of all random choices, 0 or more.
    folds: number of folds of kfold.
    test_fraction: share of the rows that holdout tests on.
    validation_fraction: share of the training part that validates; 0 for none.
    stratify: by iterative stratification (the extra `data`).

  Returns:
    One split, or one a fold.

  Raises:
    DatasetError: a split that the data cannot give, or a package is missing.

  References:
    Sechidis, Tsoumakas, Vlahavas, On the stratification of multi-label data,
    ECML PKDD 2011, figure 1.
  """
  made = []
  outer = lookup(scheme, _SCHEMES, 'split scheme')
  _check(dataset, scheme, folds, test_fraction, validation_fraction)
  for fold, code in outer(dataset, seed, folds, test_fraction, stratify):
    train = np.flatnonzero(code == TRAIN)
    validation = np.flatnonzero(code == VALIDATION)
    if validation_fraction > 0 and not len(validation):
      stream = _seed(seed, 2 + fold)
      carved = _random_part(
        dataset.y[train], validation_fraction, stream, stratify
      )
      train, validation = train[~carved], train[carved]
    test = np.flatnonzero(code == TEST)
    parts = {'training': train, 'test': test}
    if validation_fraction > 0:
      parts['validation'] = validation
    for name, rows in parts.items():
      if not len(rows):
        raise DatasetError(
          f'{dataset.name}: {dataset.num_examples} rows are too few for this '
          f'split, no row is left for the {name} part. Change the fractions '
          'or the number of folds.'
        )
    made.append(
      Split(
        train=train.astype(np.int32),
        validation=validation.astype(np.int32),
        test=test.astype(np.int32),
        seed=seed,
        fold=fold,
      )
    )
  return made


# A scheme gives for each split the fold and the part of each row.


def _given(dataset, seed, folds, test_fraction, stratify):
  del seed, folds, test_fraction, stratify
  if dataset.split is None:
    raise DatasetError(
      f'data set {dataset.name!r} brings no split. Use holdout or kfold.'
    )
  return [(_NO_FOLD, dataset.split)]


def _holdout(dataset, seed, folds, test_fraction, stratify):
  del folds
  test = _random_part(dataset.y, test_fraction, _seed(seed, 0), stratify)
  return [(_NO_FOLD, np.where(test, TEST, TRAIN))]


def _kfold(dataset, seed, folds, test_fraction, stratify):
  del test_fraction
  if stratify:
    fold_of = _stratified_folds(dataset.y, folds, _seed(seed, 0))
  else:
    # scikit-learn's own generator and order, so that its folds come out.
    order = np.arange(dataset.num_examples)
    np.random.RandomState(seed).shuffle(order)
    fold_of = np.empty(dataset.num_examples, np.int32)
    for fold, rows in enumerate(np.array_split(order, folds)):
      fold_of[rows] = fold
  return [
    (fold, np.where(fold_of == fold, TEST, TRAIN)) for fold in range(folds)
  ]


_SCHEMES = {'given': _given, 'holdout': _holdout, 'kfold': _kfold}


def _random_part(y, fraction, seed, stratify) -> Bool[np.ndarray, ' rows']:
  """Marks about `fraction` of the rows."""
  count = y.shape[0]
  part = np.zeros(count, bool)
  if count < 2:
    return part
  if not stratify:
    size = round(fraction * count)
    part[np.random.default_rng(seed).permutation(count)[:size]] = True
    return part
  splitter = _stratifiers().MultilabelStratifiedShuffleSplit(
    1, test_size=fraction, random_state=seed
  )
  [(_, rows)] = splitter.split(np.zeros(count), _two_columns(y))
  part[rows] = True
  return part


def _stratified_folds(y, folds, seed) -> Int[np.ndarray, ' rows']:
  splitter = _stratifiers().MultilabelStratifiedKFold(
    folds, shuffle=True, random_state=seed
  )
  fold_of = np.empty(y.shape[0], np.int32)
  for fold, (_, rows) in enumerate(
    splitter.split(np.zeros(y.shape[0]), _two_columns(y))
  ):
    fold_of[rows] = fold
  return fold_of


def _stratifiers():
  try:
    from iterstrat import ml_stratifiers
  except ImportError:
    raise DatasetError(
      'stratified splits need the package iterative-stratification, which is '
      "not installed. Install the extra `data`: pip install 'mlc[data]', or "
      'split without stratification.'
    ) from None
  return ml_stratifiers


def _check(dataset, scheme, folds, test_fraction, validation_fraction):
  say = f'data set {dataset.name!r}: '
  if scheme == 'kfold' and not 2 <= folds <= dataset.num_examples:
    raise DatasetError(
      f'{say}{folds} folds of {dataset.num_examples} rows; 2 to '
      f'{dataset.num_examples} are possible.'
    )
  if scheme == 'holdout' and not 0.0 < test_fraction < 1.0:
    raise DatasetError(
      f'{say}test_fraction {test_fraction}; a share of the rows between 0 and '
      '1 is expected.'
    )
  if not 0.0 <= validation_fraction < 1.0:
    raise DatasetError(
      f'{say}validation_fraction {validation_fraction}; 0, or a share of the '
      'training rows below 1, is expected.'
    )


def _two_columns(y):
  # A single column would not be taken for multi-label.
  return y if y.shape[1] > 1 else np.concatenate([y, 1 - y], axis=1)


def _seed(seed: int, stream: int) -> int:
  """An independent seed of 32 bits for each use of the one given."""
  return int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])
