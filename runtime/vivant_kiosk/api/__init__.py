"""The routes of the REST service: one file a subject, put together in ``vivant_kiosk.app``."""
