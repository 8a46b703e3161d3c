"""Thin actors: each builds one part where it runs and passes calls on. No decisions here."""
