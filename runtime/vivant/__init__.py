"""Vivant: a visitor's portrait steps into a painting."""
