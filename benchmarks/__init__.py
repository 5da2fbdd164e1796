"""How fast, against the floor: FAISS, LiteRT and TensorFlow alone."""
