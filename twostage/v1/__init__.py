"""Messages and stubs generated from protos/; never edited by hand."""
