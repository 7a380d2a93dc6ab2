"""What is said and kept of fitted thresholds."""

import numpy as np

from experiments import edge
from experiments.fitted import notes_of, thresholds_of

NAMES = np.asarray([f'label{j}' for j in range(8)])


def test_fitted_thresholds_are_kept_by_decoder():
  state = {'threshold': np.full((2, 8), 0.3), 'pooled': np.zeros((2, 8), bool)}
  state['threshold_low'] = state['threshold_high'] = state['threshold']
  kept = thresholds_of({'hamming': (), 'tuned_f1': state, 'rcut': {'k': 3}})
  kinds = 'threshold', 'threshold_low', 'threshold_high', 'pooled'
  assert {*kept} == {f'{kind}_tuned_f1' for kind in kinds}
  np.testing.assert_array_equal(kept['threshold_tuned_f1'], 0.3)


def test_labels_too_rare_to_fit_are_named():
  pooled = np.zeros((2, 8), bool)
  arrays = {'label_names': NAMES, 'pooled_tuned_f1': pooled}
  assert notes_of(arrays) == []
  # In one seed or another.
  pooled[0, 1] = pooled[1, 5] = True
  (note,) = notes_of(arrays)
  assert note.startswith('decoder tuned_f1: 2 of 8 labels (label1, label5) ')
  pooled[:] = True
  (note,) = notes_of(arrays)
  assert '8 of 8 labels (label0, label1, label2, label3, label4, ...)' in note


def test_labels_of_which_nothing_is_proved_are_named():
  never = np.arange(8)[None, :] == 2
  arrays = {
    'label_names': NAMES,
    'threshold_target_precision_0.8': np.where(never, 1.0, 0.5),
    'never_target_precision_0.8': never,
  }
  (note,) = notes_of(arrays)
  assert note.startswith('decoder target_precision_0.8: 1 of 8 labels (label2)')
  assert note.endswith('there they are never predicted')


def test_the_least_stable_thresholds_are_named():
  low = np.full((2, 8), 0.25)
  high = low + np.arange(8) / 100
  # A label that is never predicted in some resample.
  low[:, 4], high[:, 4] = -1.0, 0.5
  arrays = {
    'label_names': NAMES,
    'threshold_low_youden': low,
    'threshold_high_youden': high,
  }
  (note,) = notes_of(arrays)
  assert note.startswith('decoder youden: 95 % of the thresholds')
  assert 'within 0.04 for the median label' in note
  assert 'label4 0.00 to 0.50, label7 0.25 to 0.32, label6' in note


def test_labels_that_could_not_be_calibrated_are_named():
  kept = np.zeros((2, 8), bool)
  arrays = {'label_names': NAMES, 'calibration_kept': kept}
  assert notes_of(arrays) == []
  kept[1, 3] = True
  (note,) = notes_of(arrays)
  assert note.startswith('calibration: 1 of 8 labels (label3) ')


def test_a_risk_that_is_not_controlled_is_told():
  arrays = {
    'reached_fnr_control_0.05': np.array([True, True]),
    'least_fnr_control_0.05': np.array([0.02, 0.02]),
    'rows_fnr_control_0.05': np.array([49.0, 49.0]),
  }
  assert notes_of(arrays) == []
  arrays['reached_fnr_control_0.05'] = np.array([True, False])
  (note,) = notes_of(arrays)
  assert '1 of 2 seeds' in note
  assert 'with 49 validation rows it could for alpha from 0.02' in note


def test_more_decoders_than_fit_stand_below_each_other(capsys, monkeypatch):
  monkeypatch.setenv('COLUMNS', '60')
  decoders = [f'a_decoder_{i}' for i in range(6)]
  rows = [
    {'split': 'test', 'metric': 'a_metric', 'decoder': name, 'value': i / 8}
    for i, name in enumerate(decoders)
  ]
  edge.show_rows('title', rows)
  out = capsys.readouterr().out
  assert all(name in out for name in decoders)
  assert all(f'{i / 8:.4f}' in out for i in range(6))
  assert out.count('a_metric') == 2
