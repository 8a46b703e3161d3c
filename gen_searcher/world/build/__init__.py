"""Rebuilds the package data; needs the packages of the `build` extra and a registry, and nothing else imports it."""
