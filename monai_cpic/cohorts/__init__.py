"""Cohorts: how to read them, what to predict, and what a run leaves behind."""
