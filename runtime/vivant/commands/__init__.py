"""The commands of ``vivant``: one file a subject, put together in ``vivant.cli``."""
