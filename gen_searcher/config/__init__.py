"""Configuration: Hydra composes, pydantic validates, values never change after load."""
