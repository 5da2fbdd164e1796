"""The stages as the pipeline sees them: messages stop here."""
