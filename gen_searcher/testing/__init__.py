"""Fakes and contracts that plug-in authors can use: shipped, and named for what they are."""
