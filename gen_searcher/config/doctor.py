"""Settings of `gen-searcher doctor`."""

from __future__ import annotations

from gen_searcher.config.base import Config


class DoctorConfig(Config):
    """How far the doctor looks."""

    online: bool = False
    """Ask every hosted service of the configuration once whether it accepts key and model, and what is left. Only requests
    that cost nothing are sent. Also `--online`."""
