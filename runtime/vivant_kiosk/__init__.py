"""Vivant for visitors: a REST service, and the page of a kiosk in front of it."""
