"""Turns published networks into engines that Vivant's runtime can trust."""
