"""Numbers of a run: how they reduce, where they go, and the page that shows them."""
