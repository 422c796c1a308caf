"""Scorers: one file a method, each satisfying ``vivant.roles.Scorer``."""
