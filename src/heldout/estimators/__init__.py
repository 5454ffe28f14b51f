"""Estimators by the contract of scikit-learn."""
