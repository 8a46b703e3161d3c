"""One task in, one trajectory out: the policy writes, tools answer, until there is a grounding."""
