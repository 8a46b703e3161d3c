"""Image models behind HTTP: one file per protocol, and a server that speaks the reference's."""
