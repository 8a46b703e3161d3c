"""What the agent can call: search, image_search and browse, behind one door."""
