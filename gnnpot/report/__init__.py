"""Errors of a model, told: metrics, tables, figures and pages, from files alone."""
