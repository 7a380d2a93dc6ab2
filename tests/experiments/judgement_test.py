"""What is said and kept of fitted thresholds."""

import numpy as np

from experiments import edge
from experiments.judgement import notes_of, thresholds_of

NAMES = np.asarray([f'label{j}' for j in range(8)])


def test_fitted_thresholds_are_kept_by_decoder():
  state = {'threshold': np.full((2, 8), 0.3), 'pooled': np.zeros((2, 8), bool)}
  kept = thresholds_of({'hamming': (), 'tuned_f1': state, 'rcut': {'k': 3}})
  assert {*kept} == {'threshold_tuned_f1', 'pooled_tuned_f1'}
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
