"""What the sources of candidates beside the user vector read, and which of them a generation uses by default."""
