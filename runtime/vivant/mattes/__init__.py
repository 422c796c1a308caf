"""Matters: one model that separates people from what is behind them, one small file each."""
