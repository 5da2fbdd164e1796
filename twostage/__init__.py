"""What every Twostage service shares; free of TensorFlow and faiss."""
