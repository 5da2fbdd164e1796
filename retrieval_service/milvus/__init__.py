"""Milvus as the index of a generation's item vectors, for catalogues past one machine."""
