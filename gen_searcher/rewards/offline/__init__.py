"""Judges for the embedded world: they know its pictures, so they need no model that must be asked."""
