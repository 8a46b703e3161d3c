"""The loops. They speak only protocols, so all of them run on fakes."""
