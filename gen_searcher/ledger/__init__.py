"""The run's books: where every task instance stands, on disk, written by one process at a time.

`states` (what may follow what), `schema` (tables), `payload` (attempts as bytes), `book` (transactions),
`recovery` (what a new start of the same run does first), `lease` (who may write).
"""
