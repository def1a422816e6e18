"""Cohorts: their file layouts, tables and folds, and simulated cohorts in the same layouts."""

from __future__ import annotations
