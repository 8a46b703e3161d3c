"""Task files and demonstrations: bytes in, values out."""
