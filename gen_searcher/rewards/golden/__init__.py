"""A frozen set of attempts whose scores are known, and how far a judge agrees with them."""
