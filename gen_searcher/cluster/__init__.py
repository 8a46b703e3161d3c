"""Where things run. The only importer of ray."""
