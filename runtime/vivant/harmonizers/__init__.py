"""Harmonizers: one file a method, each satisfying ``vivant.roles.Harmonizer``."""
