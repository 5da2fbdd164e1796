"""The gateway's pure parts: arrays and dataclasses, no transport and no settings."""
