"""One adapter per heavy library; each implements one protocol."""
