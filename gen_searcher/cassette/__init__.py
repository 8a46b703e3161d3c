"""Every outside answer, kept by what was asked and given again."""
