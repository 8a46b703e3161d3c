"""Pictures and evidence become numbers."""
